"""`python -m memlake` is the command `memlake`."""

from memlake.cli import main

if __name__ == "__main__":
    main()
