from memlake.tests.ingest.counting.indexes import serve  # noqa: F401  (a fixture)
from memlake.tests.ingest.counting.made_up import empty, made, template  # noqa: F401  (fixtures)
from memlake.tests.lakes import lake  # noqa: F401  (a fixture)
