"""`memlake query`, `memlake sql` and the prompt."""

from __future__ import annotations

import json
import signal

import pytest
import typer
from typer.testing import CliRunner

from memlake.queries import cli, findings
from memlake.queries.finding import find, names
from memlake.queries.only import SHARED
from memlake.queries.prompt import HELP, converse
from memlake.tests.small import MODEL, N
from memlake.warehouse.connections import interruptible
from memlake.warehouse.errors import BadInput, MemlakeError, UnknownName

app = typer.Typer()
app.add_typer(cli.app, name="query")
app.command("sql")(cli.sql)
warehouse = typer.Typer()
warehouse.command("catalog")(cli.catalog)
app.add_typer(warehouse, name="warehouse")


def run(lake, *words: str, **more):
    result = CliRunner().invoke(app, [*words], env={"MEMLAKE_LAKE": str(lake.path)}, **more)
    if result.exception:
        raise result.exception
    return result.stdout


def test_list_names_every_finding(lake):
    rows = [json.loads(line) for line in run(lake, "query", "list", "--format", "json").splitlines()]
    assert [row["finding"] for row in rows] == names()
    assert all(row["rows"].startswith("One row is ") for row in rows)


def test_show_prints_the_file(lake):
    assert run(lake, "query", "show", "scaling_law") == find("scaling_law").text


@pytest.fixture
def added(tmp_path, monkeypatch) -> str:
    """A finding that is one file more on the shelf: neither a list nor a module knows of it."""
    monkeypatch.setattr(findings, "__path__", [*findings.__path__, str(tmp_path)])
    file = tmp_path / "a_made_up_finding.sql"
    file.write_text(
        "-- One row is one model: how often it reproduces its text.\n--\n-- Columns:\n--   family, model\n"
        "--   share  of the sequences\n"
        "with parameters as (select\n    0.0 as at_least    -- the least share\n), rates as (\n"
        "    select model, corpus, share(memorized) as share from matches group by all\n)\n"
        "select family, model, share from labelled(rates), parameters where share >= at_least\n"
    )
    return file.stem


def test_a_finding_is_added_by_its_file(lake, added):
    assert added in [
        json.loads(line)["finding"] for line in run(lake, "query", "list", "--format", "json").splitlines()
    ]
    answer = {"family": MODEL["family"], "model": MODEL["model"], "share": 28 / (2 * N)}
    assert json.loads(run(lake, "query", "run", added, "--format", "json")) == answer
    assert run(lake, "query", "run", added, "-p", "at_least=0.9", "--format", "json") == ""
    shown = run(lake, "query", "show", added)
    assert "--   family  training line\n" in shown
    assert json.loads(run(lake, "sql", "--format", "json", input=shown)) == answer


@pytest.mark.parametrize("name", names())
def test_what_is_shown_pastes_into_sql(lake, name):
    shown = run(lake, "query", "show", name)
    pasted = [*map(json.loads, run(lake, "sql", "--format", "json", input=shown).splitlines())]
    rows = [*map(json.loads, run(lake, "query", "run", name, "--format", "json").splitlines())]
    assert pasted == [pytest.approx(row) for row in rows]


def test_run_answers(lake):
    rows = [
        json.loads(line) for line in run(lake, "query", "run", "memorization_rate", "--format", "json").splitlines()
    ]
    assert [(row["domain"], row["n"], row["memorized"]) for row in rows] == [("Wikipedia (en)", N, 14), ("c++", N, 14)]


def test_run_takes_parameters(lake):
    words = (
        "query",
        "run",
        "extraction_probability",
        "-p",
        "attempts=[1]",
        "-p",
        "probabilities=[0.5]",
        "--format",
        "json",
    )
    (row,) = map(json.loads, run(lake, *words).splitlines())
    assert (row["attempts"], row["probability"], row["n"], row["impossible"]) == (1, 0.5, 2 * N, 16)


@pytest.mark.parametrize(
    ("pairs", "n"), [(("sample_window=4+12", "sample_rule=space"), [N, N]), (("condition=noisy",), [N]), ((), [N, N])]
)
def test_run_takes_what_every_finding_can_be_asked_for(lake, pairs, n):
    words = [word for pair in pairs for word in ("-p", pair)]
    rows = map(json.loads, run(lake, "query", "run", "memorization_rate", *words, "--format", "json").splitlines())
    assert [row["n"] for row in rows] == n


def test_list_and_help_tell_what_every_finding_can_be_asked_for(lake):
    for words in (("query", "list", "--help"), ("query", "run", "--help")):
        assert all(name in " ".join(run(lake, *words).split()) for name in SHARED)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("query", "run", "scaling_law", "-p", "sample_window=4+13"), UnknownName),
        (("query", "run", "scaling_law", "-p", "condition="), UnknownName),
        (("query", "run", "scaling_law", "-p", "sample_windw=4+12"), UnknownName),
        (("query", "run", "scaling_laws"), UnknownName),
        (("query", "show", "scaling_laws"), UnknownName),
        (("query", "run", "scaling_law", "-p", "minimum=3"), UnknownName),
        (("query", "run", "scaling_law", "-p", "minimum_sizes=x"), BadInput),
        (("query", "run", "extraction_probability", "-p", "probabilities=[1]"), BadInput),
        (("sql", "drop view matches"), BadInput),
        (("sql", "select 1", "--lake", "/nowhere"), MemlakeError),
    ],
)
def test_what_can_be_mended_is_one_line(lake, words, error):
    with pytest.raises(error) as raised:
        run(lake, *words)
    assert "\n" not in str(raised.value)


def test_sql_takes_an_argument_or_standard_input(lake):
    question = "select count(*) as n from matches"
    assert json.loads(run(lake, "sql", question, "--format", "json")) == {"n": 2 * N}
    assert json.loads(run(lake, "sql", "--format", "json", input=question)) == {"n": 2 * N}


def talk(*typed: str | type[BaseException]) -> tuple[list[str], list[str], list[str]]:
    """Type lines at the prompt, then end: (statements asked, lines said, prompts shown). "bad;" fails."""
    asked, said, prompts, lines = [], [], [], iter((*typed, EOFError))

    def read(prompt: str) -> str:
        prompts.append(prompt)
        line = next(lines)
        if isinstance(line, str):
            return line
        if line is KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
        raise line

    def ask(text: str):
        asked.append(text)
        if text == "bad;":
            raise BadInput("no such table")

    with interruptible():
        converse(ask, ["matches", "models"], lambda rows: None, said.append, read)
    return asked, said, prompts


def test_the_prompt_asks_when_a_statement_ends():
    asked, _, prompts = talk("select", "", "1;", "select 2;")
    assert asked == ["select\n1;", "select 2;"]
    assert prompts[:3] == ["memlake> ", "    ...> ", "    ...> "] and prompts[3] == "memlake> "


def test_the_prompt_says_an_error_and_goes_on():
    asked, said, _ = talk("bad;", "select 1;")
    assert asked == ["bad;", "select 1;"] and "no such table" in said


def test_the_prompt_drops_what_ctrl_c_interrupts():
    assert talk("select", KeyboardInterrupt, "select 2;")[0] == ["select 2;"]


def test_the_prompt_knows_three_words():
    asked, said, prompts = talk(".tables", ".what", ".quit", "select 1;")
    assert asked == [] and len(prompts) == 3
    assert said == [HELP, "matches  models", HELP]
