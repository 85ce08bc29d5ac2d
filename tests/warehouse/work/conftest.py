from memlake.tests.lakes import lake  # noqa: F401  (a fixture)
