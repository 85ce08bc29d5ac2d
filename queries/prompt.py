"""The interactive prompt of `memlake sql`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pyarrow as pa

from memlake.warehouse.connections import interruptible
from memlake.warehouse.errors import MemlakeError

HELP = "End a statement with ; - .tables lists what there is, .quit (or Ctrl-D) leaves."


def converse(
    ask: Callable[[str], pa.Table],
    tables: list[str],
    show: Callable[[pa.Table], None],
    say: Callable[[str], None],
    read: Callable[[str], str] = input,
) -> None:
    """Read statements line by line and show their answers until the end of the input. What the user can mend is said in
    one line, then the prompt goes on; Ctrl-C drops what was typed so far."""
    with suppress(ImportError):  # line editing and history, where Python has it
        import readline  # noqa: F401
    say(HELP)
    lines: list[str] = []
    while True:
        try:
            with interruptible():
                line = read("    ...> " if lines else "memlake> ").strip()
                if not lines and line in (".quit", ".exit"):
                    return
                if not lines and line == ".tables":
                    say("  ".join(tables))
                elif not lines and line.startswith("."):
                    say(HELP)
                elif line:
                    lines.append(line)
                if lines and line.endswith(";"):
                    text, lines = "\n".join(lines), []
                    show(ask(text))
        except MemlakeError as e:
            say(str(e))
        except KeyboardInterrupt:
            lines = []
            say("")
        except EOFError:
            say("")
            return
