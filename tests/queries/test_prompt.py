"""The prompt and the command in a pseudo-terminal: keys, history, Ctrl-C."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pexpect
import pytest

from memlake.queries.statements import is_whole, split
from memlake.tests.small import ENDLESS, N

PROMPT = "memlake>"
UNSTOPPABLE = "select list_sum(list_transform(range(1000000000), lambda x: x + 1))"


@contextmanager
def terminal(lake, state: Path, *words: str, size: tuple[int, int] = (30, 100), **more: str) -> Iterator[pexpect.spawn]:
    """`memlake sql` in a terminal of so many lines and columns."""
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment |= {"TERM": "xterm", "XDG_STATE_HOME": str(state), "PROMPT_TOOLKIT_NO_CPR": "1"} | more
    child = pexpect.spawn(
        sys.executable,
        ["-m", "memlake", "sql", "--lake", str(lake.path), *words],
        env=environment,
        encoding="utf-8",
        dimensions=size,
        timeout=60,
    )
    try:
        yield child
    finally:
        child.close(force=True)


def leave(child: pexpect.spawn) -> None:
    child.expect_exact(PROMPT)
    child.sendeof()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


def test_names_are_completed(lake, tmp_path):
    with terminal(lake, tmp_path, NO_COLOR="1") as child:
        child.expect_exact(PROMPT)
        child.sendline("select 1 as warm;")  # then the columns are known
        child.expect(r"\(1 row\)")
        for typed, known in (
            ("from match_p", "match_positions"),
            ("select forced_n_m", "forced_n_match"),
            ("from memorization_", "memorization_rate("),
            ("select tokens_win", "tokens_window("),
            ("from lab", "labelled("),
            ("summ", "summarize"),
            (".sch", ".schema"),
        ):
            child.expect_exact(PROMPT)
            child.send(f"{typed}\t")
            child.expect_exact(known[len(typed.split()[-1]) :])
            child.sendintr()
            child.expect("interrupted")
        leave(child)


def test_ctrl_c_ends_a_statement_and_the_prompt_goes_on(lake, tmp_path):
    with terminal(lake, tmp_path) as child:
        for statement in (ENDLESS, "select sleep_ms(1000000)", ENDLESS, UNSTOPPABLE, ENDLESS):
            child.expect_exact(PROMPT)
            child.sendline(f"{statement};")
            sleep(2.5)
            child.sendintr()
            child.expect("interrupted")
        child.expect_exact(PROMPT)
        child.sendline("select count(*) as n from matches;")
        child.expect(f"{2 * N}")
        leave(child)


def test_ctrl_c_drops_what_is_typed(lake, tmp_path):
    with terminal(lake, tmp_path) as child:
        child.expect_exact(PROMPT)
        child.sendline("select 1,")
        child.expect_exact("...>")
        child.sendintr()
        child.expect("interrupted")
        child.expect_exact(PROMPT)
        child.sendline("select ';' as x,")
        child.expect_exact("...>")
        child.sendline("  2 as y -- ;")
        child.expect_exact("...>")
        child.sendline(";")
        child.expect(r";  2\r\n\(1 row\)")
        leave(child)


def test_history_survives_and_is_nobody_elses(lake, tmp_path):
    state = tmp_path / "state"
    with terminal(lake, state) as child:
        child.expect_exact(PROMPT)
        child.sendline("select 'of yesterday' as x;")
        child.expect(r"\(1 row\)")
        leave(child)
    kept = state / "memlake" / "sql_history"
    assert "of yesterday" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600 and kept.parent.stat().st_mode & 0o777 == 0o700
    with terminal(lake, state) as child:
        child.expect_exact(PROMPT)
        child.send("\x1b[A")
        child.expect("of yesterday")
        child.send("\r")
        child.expect(r"\(1 row\)")
        leave(child)
    (tmp_path / "file").write_text("no folder")
    with terminal(lake, tmp_path / "file") as child:  # where it cannot be kept nobody minds
        leave(child)


@pytest.mark.parametrize("word", ["quit", "exit;", ".quit"])
def test_words_that_leave(lake, tmp_path, word):
    with terminal(lake, tmp_path) as child:
        child.expect_exact(PROMPT)
        child.sendline(word)
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0


def test_colours_are_for_who_wants_them(lake, tmp_path):
    coloured = re.compile(r"\x1b\[0;(1;)?3\d")
    for more, expected in (({}, True), ({"NO_COLOR": "1"}, False)):
        with terminal(lake, tmp_path, **more) as child:
            child.expect_exact(PROMPT)
            child.sendline("select 'text' as x;")
            child.expect(r"\(1 row\)")
            assert bool(coloured.search(child.before)) == expected
            leave(child)


def test_an_answer_fits_the_terminal(lake, tmp_path):
    with terminal(lake, tmp_path, "from matches", size=(30, 60)) as child:
        child.expect(pexpect.EOF)
        lines = child.before.splitlines()
    assert len(lines) == 43 and all(len(line) <= 60 for line in lines[:-1])
    assert re.fullmatch(
        rf"\({2 * N} rows, first 40 shown, \d of 25 columns; --all or --format csv gives all\)", lines[-1]
    )


def test_all_of_an_answer_goes_through_the_pager(lake, tmp_path):
    with terminal(lake, tmp_path, "from matches", "--all", PAGER="wc -l", size=(30, 60)) as child:
        child.expect(pexpect.EOF)
        assert child.before.split() == [str(2 * N + 3)] or child.before.split() == [str(2 * N + 2)]


@pytest.mark.parametrize("statement", [ENDLESS, "select sleep_ms(1000000)", UNSTOPPABLE, "from range(10000000000)"])
def test_ctrl_c_ends_the_command(lake, tmp_path, statement):
    words = ["--format", "csv"] if statement.startswith("from") else []
    for _ in range(2):
        with terminal(lake, tmp_path, statement, *words) as child:
            if words:
                child.expect("range")  # it is being printed
            else:
                sleep(2.5)
            child.sendintr()
            child.expect(pexpect.EOF, timeout=30)
            child.wait()
            assert child.exitstatus == 130 and "Traceback" not in child.before


STATEMENTS = {
    "": (1, False),
    "select 1": (1, False),
    "select 1;": (1, True),
    "select 1; select 2; -- and": (2, True),
    "select 1; select 2": (2, False),
    "select ';'": (1, False),
    "select ';'';' || \";\";": (1, True),
    "select 'it is open;": (1, False),
    r"select e'\';' ;": (1, True),
    r"select '\'; select 2;": (2, True),
    "select $$;$$;": (1, True),
    "select $a$;$b$;": (1, False),
    "select $1; select a$b$;": (2, True),
    "/* ; /* ; */ ; */ select 1;": (1, True),
    "select 1 /* ;": (1, False),
    "-- only ;": (1, False),
    "-- one;\nselect 1;": (1, True),
    ";;select 1;;": (1, True),
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_where_statements_end(text):
    assert (len(split(text)), is_whole(text)) == STATEMENTS[text]
