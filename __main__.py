"""`python -m memlake` is the command `memlake`."""

import sys


def main() -> None:
    """Run the command. Ctrl-C ends it without a traceback also while its parts are imported."""
    try:
        from memlake.cli import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
