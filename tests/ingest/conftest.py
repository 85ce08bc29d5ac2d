from .here import lake  # noqa: F401  (a fixture)
