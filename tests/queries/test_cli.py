"""`memlake query`, `memlake sql` and the prompt."""

from __future__ import annotations

import json
import os
import re
import signal

import duckdb
import pytest
import typer
from typer.testing import CliRunner

from memlake.queries import cli, findings
from memlake.queries.finding import find, names
from memlake.queries.names import show_name
from memlake.queries.only import SHARED
from memlake.queries.prompt import HELLO, HELP, Prompt
from memlake.queries.session import Conversation, Limits, Output
from memlake.tests.small import DOMAINS, ENDLESS, MODEL, N, ctrl_c
from memlake.warehouse import connections
from memlake.warehouse.connections import interruptible
from memlake.warehouse.errors import BadInput, MemlakeError, UnknownName

app = typer.Typer()
app.add_typer(cli.app, name="query")
app.command("sql")(cli.sql)
warehouse = typer.Typer()
warehouse.command("catalog")(cli.catalog)
warehouse.command("tables")(cli.tables)
warehouse.command("show")(cli.show_table)
app.add_typer(warehouse, name="warehouse")
RECURSION = "with recursive t(n) as (select 1 union all select n + 1 from t) select count(*) from t"


def run(lake, *words: str, **more):
    result = CliRunner().invoke(app, [*words], env={"MEMLAKE_LAKE": str(lake.path)}, **more)
    if result.exception:
        raise result.exception
    return result.stdout


def test_list_names_every_finding(lake):
    rows = json.loads(run(lake, "query", "list", "--format", "json"))
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
    assert added in [row["finding"] for row in json.loads(run(lake, "query", "list", "--format", "json"))]
    answer = {"family": MODEL["family"], "model": MODEL["model"], "share": 28 / (2 * N)}
    assert json.loads(run(lake, "query", "run", added, "--format", "json")) == [answer]
    assert run(lake, "query", "run", added, "-p", "at_least=0.9", "--format", "jsonl") == ""
    shown = run(lake, "query", "show", added)
    assert "--   family  training line\n" in shown
    assert json.loads(run(lake, "sql", "--format", "json", input=shown)) == [answer]
    assert json.loads(run(lake, "sql", f"from {added}(at_least := 0.1)", "--format", "json")) == [answer]
    assert json.loads(run(lake, "sql", f"from {added}(at_least := 0.9)", "--format", "json")) == []


@pytest.mark.parametrize("name", names())
def test_what_is_shown_pastes_into_sql(lake, name):
    shown = run(lake, "query", "show", name)
    pasted = json.loads(run(lake, "sql", "--format", "json", input=shown))
    called = json.loads(run(lake, "sql", "--format", "json", f"from {name}()"))
    rows = json.loads(run(lake, "query", "run", name, "--format", "json"))
    assert pasted == [pytest.approx(row) for row in rows] and called == [pytest.approx(row) for row in rows]


def test_run_answers(lake):
    rows = json.loads(run(lake, "query", "run", "memorization_rate", "--format", "json"))
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
    (row,) = json.loads(run(lake, *words))
    assert (row["attempts"], row["probability"], row["n"], row["impossible"]) == (1, 0.5, 2 * N, 16)


@pytest.mark.parametrize(
    ("pairs", "n"), [(("sample_window=4+12", "sample_rule=space"), [N, N]), (("condition=noisy",), [N]), ((), [N, N])]
)
def test_run_takes_what_every_finding_can_be_asked_for(lake, pairs, n):
    words = [word for pair in pairs for word in ("-p", pair)]
    rows = json.loads(run(lake, "query", "run", "memorization_rate", *words, "--format", "json"))
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
    assert json.loads(run(lake, "sql", question, "--format", "json")) == [{"n": 2 * N}]
    assert json.loads(run(lake, "sql", "--format", "json", input=question)) == [{"n": 2 * N}]


def test_statements_are_answered_one_after_the_other(lake):
    text = "select 'a;b' as x; -- the first\nselect 2 as y;"
    assert run(lake, "sql", text) == run(lake, "sql", input=text) == "x\n---\na;b\n(1 row)\ny\n-\n2\n(1 row)\n"
    with pytest.raises(BadInput, match="2 statements have 2 answers"):
        run(lake, "sql", text, "--format", "json")


def test_findings_join_with_tables(lake):
    text = """select r.domain, r.n, d.n_documents from memorization_rate() r join domains d using (corpus, domain)
        join models using (model) order by domain"""
    rows = json.loads(run(lake, "sql", text, "--format", "json"))
    assert rows == [{"domain": d, "n": N, "n_documents": N} for d in sorted(DOMAINS)]


def test_a_finding_that_is_none_has_one_near(lake):
    for text in ("from memorisation_rate()", "select 1 from memorization_rat(1)"):
        with pytest.raises(BadInput, match="did you mean 'memorization_rate'"):
            run(lake, "sql", text)


def test_an_error_keeps_the_place_in_the_text(lake):
    with pytest.raises(BadInput) as refused:
        run(lake, "sql", "select model,\n  memorised from matches")
    assert "\n" not in str(refused.value)
    assert refused.value.__notes__ == ["LINE 2:   memorised from matches\n          ^"]


@pytest.mark.parametrize("text", [ENDLESS, "select sleep_ms(100000)", RECURSION])
def test_what_takes_too_long_is_one_line(lake, text):
    with pytest.raises(BadInput, match=r"took longer than 0\.3 s: --timeout"):
        run(lake, "sql", text, "--timeout", "0.3")


def test_time_is_up_while_rows_are_read_too(lake, tmp_path):
    many = "select a.range from range(1000000000) a, range(1000) b"
    for words in (["--format", "csv"], ["--out", str(tmp_path / "a.csv")]):
        with pytest.raises(BadInput, match=r"took longer than 0\.5 s"):
            run(lake, "sql", many, "--timeout", "0.5", *words)
    assert not list(tmp_path.iterdir())


def test_what_takes_too_much_memory_is_one_line(lake):
    with pytest.raises(BadInput, match=r"Out of Memory Error.*--memory") as refused:
        run(lake, "sql", "select len(list(range::varchar)) from range(100000000)", "--memory", "60MB")
    assert "\n" not in str(refused.value)
    with pytest.raises(BadInput, match="--memory wants a size like 8GB, not 'much'"):
        run(lake, "sql", "select 1", "--memory", "much")


OUT = ["a.csv", "a.csv.gz", "a.csv.zst", "a.json", "a.jsonl", "a.ndjson.gz", "a.parquet"]


@pytest.mark.parametrize("name", OUT)
def test_an_answer_goes_into_a_file(lake, tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    text = "select sequence_id, domain, score, forced_match, n_match > 3 as more from matches order by all"
    assert run(lake, "sql", text, "--out", str(path)) == ""
    assert [p.name for p in tmp_path.iterdir()] == [name]
    found = duckdb.sql(f"from '{path}'").df()
    rows = json.loads(run(lake, "sql", text, "--format", "json"))
    assert found["sequence_id"].tolist() == [row["sequence_id"] for row in rows] and len(rows) == 2 * N
    assert found["more"].tolist() == [row["more"] for row in rows]
    if name.endswith("json"):
        assert json.loads(path.read_text()) == rows


REFUSED = {
    "a": "names no format",
    "a.xlsx": "names no format",
    "a.parquet.gz": "Parquet is compressed in itself",
    "none/a.csv": "there is no folder",
    "folder.csv": "is no file that could be replaced",
    "pipe.csv": "is no file that could be replaced",
    "{lake}/a.csv": "lies in the lake",
    "{lake}/matches/_delta_log/00000000000000000000.json": "lies in the lake",
    "link/a.csv": "lies in the lake",
}


@pytest.mark.parametrize("name", REFUSED)
def test_where_an_answer_may_not_go(lake, tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link").symlink_to(lake.path)
    before = sorted(lake.path.rglob("*"))
    with pytest.raises(BadInput, match=REFUSED[name]):
        run(lake, "sql", "select 1", "--out", str(tmp_path / name.format(lake=lake.path)))
    assert sorted(lake.path.rglob("*")) == before and len(list(tmp_path.iterdir())) == 3


def test_a_file_stays_as_it_was_where_its_answer_fails(lake, tmp_path):
    (tmp_path / "a.csv").write_text("old")
    text = "select if(range = 1999999, error('at last'), range) from range(2000000)"
    with pytest.raises(BadInput, match="at last"):
        run(lake, "sql", text, "--out", str(tmp_path / "a.csv"))
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_tables_are_told_with_views_macros_and_findings(lake):
    rows = {row["table"]: row for row in json.loads(run(lake, "warehouse", "tables", "--format", "json"))}
    assert rows["matches"]["kind"] == "table" and rows["matches"]["rows"] == 3 * N
    kinds = {name: row["kind"] for name, row in rows.items()}
    assert kinds["match_positions"] == "view" and kinds["labelled(measured)"] == "table macro"
    assert kinds["share(x)"] == "macro" and kinds["scaling_law(minimum_sizes := 3)"] == "finding"
    assert rows["match_positions"]["rows"] is None and rows["match_positions"]["one row is"].startswith("one contin")


SHOWN = {
    "matches": ["key: model, sequence_id, condition", "forced_match", "no_match_no_bytes"],
    "match_positions": ["One row is one continuation position", "logprob         FLOAT"],
    "matches_all": ["under any condition", "sample_window"],
    "samples": ["One row is one sample", "sample_rule"],
    "labelled": ["labelled(measured): the rows", "join model_sizes using (model)"],
    "share": ["the mean of a boolean", "create or replace macro share(x)"],
    "scaling_law": ["from scaling_law(minimum_sizes := 3)", "logit_slope"],
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_a_name_is_is_shown(lake, name):
    shown = run(lake, "warehouse", "show", name)
    assert all(part in shown for part in SHOWN[name]), shown
    rows = json.loads(run(lake, "warehouse", "show", name, "--format", "json"))
    assert rows and {"column", "macro"} & rows[0].keys()


def test_a_name_that_is_none_has_one_near():
    with pytest.raises(UnknownName, match="did you mean 'match_positions'"):
        show_name("match_position")


def talk(lake, capsys, *typed: str | type[BaseException]) -> list[str]:
    """Type texts at the prompt, then end: the lines it has printed and said."""
    lines = iter((*typed, EOFError))

    def read() -> str:
        line = next(lines)
        if isinstance(line, str):
            return line
        if line is KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
        raise line

    limits = Limits(20)
    with interruptible():
        Prompt(Conversation(lake, limits), Output(lake.path, limits), read).converse()
    out, err = capsys.readouterr()
    return [*out.splitlines(), *err.removeprefix(HELLO + "\n").splitlines()]


def test_the_prompt_answers_and_goes_on_after_an_error(lake, capsys):
    said = talk(lake, capsys, "select memorised from matches;", "select 1 as n; select ';' as m;")
    assert said[:8] == ["n", "-", "1", "(1 row)", "m", "-", ";", "(1 row)"]
    assert "memorized" in said[8] and said[9].startswith("LINE 1: select memorised") and said[10].strip() == "^"


def test_the_prompt_goes_on_after_ctrl_c(lake, capsys):
    assert talk(lake, capsys, KeyboardInterrupt, "select 2 as n;") == ["n", "-", "2", "(1 row)", "interrupted"]


def test_a_query_that_cannot_be_stopped_is_left_behind(lake, capsys, monkeypatch):
    monkeypatch.setattr(connections, "GRACE", 0.1)
    with ctrl_c(after=2.0):  # DuckDB looks for an interrupt after the list
        said = talk(lake, capsys, "select len(list_transform(range(30000000), lambda x: x + 1));", "select 2 as n;")
    assert said == ["n", "-", "2", "(1 row)", "interrupted"]


def test_the_prompt_sums_what_findings_read(lake, capsys):
    said = talk(
        lake, capsys, "select domain, n from memorization_rate() order by n, domain;", "from match_sums limit 0;"
    )
    assert said[2].split() == ["Wikipedia", "(en)", str(N)] and said[-1] == "(0 rows)"


def test_the_prompt_obeys(lake, capsys, tmp_path):
    out = tmp_path / "a.csv"
    said = talk(
        lake, capsys, ".tables", ".timer on", f".once {out}", "select 1 as n;", ".format jsonl", "select 2 as n;",
        ".schema memorization_rate", ".findings;", ".what", ".timer", "quit", "select 3 as n;",
    )  # fmt: skip
    assert out.read_text() == "n\n1\n" and '{"n":2}' in said and not any(line == "3" for line in said)
    assert any(line.startswith("from memorization_rate(): One row is") for line in said)
    assert any(line.startswith("scaling_law(minimum_sizes := 3)") for line in said)
    assert sum(bool(re.fullmatch(r"\d+\.\d+ s", line)) for line in said) == 2
    assert any("matches_all" in line and "match_positions" in line for line in said)
    assert any(line.startswith("no command '.what': did you mean") for line in said) and HELP.splitlines()[-1] in said
