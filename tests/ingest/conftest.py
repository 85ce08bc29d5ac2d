from .counting import empty, made, template  # noqa: F401  (fixtures)
from .here import lake  # noqa: F401  (a fixture)
from .indexes import serve  # noqa: F401  (a fixture)
