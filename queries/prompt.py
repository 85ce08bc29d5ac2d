"""The interactive prompt of `memlake sql`, by prompt_toolkit."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, has_completions, is_done
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output

from memlake.warehouse import schema
from memlake.warehouse.connections import interruptible
from memlake.warehouse.errors import MemlakeError, UnknownName
from memlake.warehouse.show.formats import FormatName
from memlake.warehouse.show.terminal import printable, say, show

from .catalog import things
from .finding import names as findings
from .names import all_findings, all_names, show_name
from .statements import is_whole, split

if TYPE_CHECKING:
    from prompt_toolkit.lexers import Lexer

    from .session import Conversation, Output

HELLO = "End a statement with ; - .help tells what else there is, Ctrl-D leaves."
HELP = """\
statement ;       its answer; Ctrl-C ends it, or drops what is typed
.tables           tables and views; from each of them one can select
.schema [NAME]    what all of them hold, or the columns of one, a macro's or a finding's text
.findings         the findings: from scaling_law(minimum_sizes := 2);
.format FORMAT    print as table, csv, json or jsonl
.once FILE        the next answer goes into the file: .csv, .json, .jsonl (.gz, .zst), .parquet
.timer on|off     tell how long a statement took
.quit             leave, as quit, exit and Ctrl-D do"""
COMMANDS = [".exit", ".findings", ".format", ".help", ".once", ".quit", ".schema", ".tables", ".timer"]
KEYWORDS = """
    all and as asc between by case cast count cross desc describe distinct else end except exists explain
    extract filter from full group having in inner intersect interval is join lateral left like limit not null nulls
    offset on or order over partition pivot qualify replace right row_number select semi similar summarize then union
    unnest unpivot using values when where window with"""


class Prompt:
    """Reads statements until somebody leaves. What the user can mend is said, then it goes on."""

    def __init__(self, session: Conversation, answers: Output, read: Callable[[], str] | None = None):
        """read: gives what is typed at a prompt; raises EOFError at the end, and KeyboardInterrupt for Ctrl-C."""
        self._session, self._answers = session, answers
        self._read = read or self._editor.prompt
        self._timed = False

    def converse(self) -> None:
        """Until the end of the input, or `.quit`."""
        say(HELLO)
        try:
            self._converse()
        finally:
            self._session.close()

    def _converse(self) -> None:
        while True:
            try:
                with interruptible():
                    text = self._read().strip()
                    if text.rstrip(";").strip().lower() in (".quit", ".exit", "quit", "exit"):
                        return
                    if text.startswith("."):
                        self._obey(*text.rstrip(";").split(None, 1))
                    elif text:
                        self._answer(text)
            except MemlakeError as e:
                say(printable(str(e)))
                for note in getattr(e, "__notes__", ()):
                    say(note)
            except KeyboardInterrupt:
                say("interrupted")
            except EOFError:
                return

    def _answer(self, text: str) -> None:
        for statement in split(text):
            began = perf_counter()
            try:
                self._answers.give(self._session, statement)
            finally:
                self._session.leave_stuck()
            sys.stdout.flush()
            if self._timed:
                say(f"{perf_counter() - began:.3f} s")

    def _obey(self, command: str, given: str = "") -> None:
        given = given.strip()
        if command == ".tables":
            say("  ".join([*schema.names(), *(d.name for d in things() if "macro" not in d.kind)]))
        elif command == ".findings":
            show(all_findings())
        elif command == ".schema" and given:
            show_name(given.partition("(")[0])
        elif command == ".schema":
            show(all_names())
        elif command == ".once" and given:
            self._answers.place(Path(given))
        elif command == ".timer" and given in ("on", "off"):
            self._timed = given == "on"
        elif command == ".format" and given in ("table", "csv", "json", "jsonl"):
            self._answers.form = FormatName(given)
        elif command in (".help", ".once", ".timer", ".format"):
            say(HELP)
        else:
            raise UnknownName("command", command, COMMANDS)

    @cached_property
    def _editor(self) -> PromptSession[str]:
        keys = KeyBindings()

        @keys.add("enter", filter=~is_done & ~_choosing)
        def _(event: KeyPressEvent) -> None:
            text = event.current_buffer.text
            if _is_finished(text):
                event.current_buffer.validate_and_handle()
            else:
                event.current_buffer.insert_text("\n")

        return PromptSession(
            "memlake> ",
            prompt_continuation="    ...> ",
            multiline=True,
            key_bindings=keys,
            history=_history(),
            completer=Names(self._session),
            complete_while_typing=False,
            lexer=_colours(),
            output=create_output(always_prefer_tty=True),  # where the answers go elsewhere
        )


@Condition
def _choosing() -> bool:
    """Is one of several completions chosen at the moment?"""
    from prompt_toolkit.application import get_app

    state = get_app().current_buffer.complete_state
    return bool(has_completions() and state and state.current_completion)


def _is_finished(text: str) -> bool:
    return (
        is_whole(text) or not text.strip() or text.lstrip().startswith(".") or text.strip().lower() in ("quit", "exit")
    )


class Names(Completer):
    """Completes what SQL can name: tables, columns, macros, findings and keywords."""

    def __init__(self, session: Conversation):
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        line = document.text_before_cursor
        if re.fullmatch(r"\s*\.\w*", line):
            yield from self._of(line.strip(), dict.fromkeys(COMMANDS, ""))
        else:
            word = re.search(r"\w*$", line)
            yield from self._of(word[0] if word else "", self._known())

    def _of(self, word: str, known: dict[str, str]) -> Iterable[Completion]:
        for name, kind in known.items():
            if name.lower().startswith(word.lower()) and (word or kind != "keyword"):
                yield Completion(name, -len(word), display_meta=kind)

    def _known(self) -> dict[str, str]:
        """What each name is; of several of one name the first, findings with the parenthesis that they need."""
        of_tables = dict.fromkeys(schema.names(), "table")
        made = {d.name + ("(" if "macro" in d.kind else ""): d.kind for d in things()}
        found = {f"{name}(": "finding" for name in findings()}
        return (
            dict.fromkeys(KEYWORDS.split(), "keyword")
            | dict.fromkeys(self._session.columns, "column")
            | found
            | made
            | of_tables
        )


def _history() -> History:
    """What was typed before, also by other prompts; where it cannot be kept, of this prompt only."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    file = Path(state).expanduser() / "memlake" / "sql_history"
    with suppress(OSError, RuntimeError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        return FileHistory(str(file))
    return InMemoryHistory()


def _colours() -> Lexer | None:
    """SQL in colours, unless nobody wants any."""
    if os.environ.get("NO_COLOR"):
        return None
    from prompt_toolkit.lexers import PygmentsLexer
    from pygments.lexers.sql import SqlLexer  # type: ignore[import-untyped]

    return PygmentsLexer(SqlLexer)
