"""SQL of strangers: what is admitted, and what no statement may reach."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from memlake.queries import guard
from memlake.queries.ask import connect, snapshot
from memlake.queries.catalog import table_macros
from memlake.queries.finding import find, names
from memlake.tests.small import DOMAINS, ENDLESS, N, ctrl_c, match_rows
from memlake.warehouse import scratch
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake

from .conftest import put


@pytest.fixture(scope="module")
def house(lake, tmp_path_factory):
    """The lake with secrets in and about it, locked: (connection, paths by name)."""
    outside = tmp_path_factory.mktemp("outside")
    paths = {
        "outside": outside,
        "lake": lake.path,
        "csv": lake.quarantine / "secret.csv",
        "text": outside / "secret.txt",
    }
    lake.quarantine.mkdir(exist_ok=True)
    for path in (paths["csv"], paths["text"]):
        path.write_text("secret\n1\n")
    published = lake.files("matches", domain=DOMAINS[0])[0]
    paths |= {
        "published": published,
        "unpublished": f"{published}.parquet",
        "quarantined": lake.quarantine / "q.parquet",
    }
    shutil.copy(published, paths["unpublished"])
    shutil.copy(published, paths["quarantined"])
    (outside / "schema.sql").write_text("select 'secret'")
    (outside / "load.sql").write_text("select 'secret'")
    files = snapshot(lake)
    con = connect(lake, files)
    guard.lock(con, [f.path for of_table in files.values() for f in of_table])
    return con, paths


ADMITTED = {
    "select count(*) from matches": [(2 * N,)],
    "from matches_all select count(*);": [(3 * N,)],
    "-- a comment\nselect 1 -- another": [(1,)],
    "with a as (select 1 as x) select x + 1 from a": [(2,)],
    "values (1), (2)": [(1,), (2,)],
    "select count(*) from range(5)": [(5,)],
    "select unnest([1, 2])": [(1,), (2,)],
    "select count(*) from stored.domains": [(2,)],
    "pivot (from matches) on domain in ('c++') using count(*) group by model": [("m", N)],
    "select column_name from (describe conditions) limit 1": [("condition",)],
    "select share(memorized) = 14/40 from matches": [(True,)],
    "select column_name from (describe conditions) where column_name = 'bos'": [("bos",)],
    "select approx_unique from (summarize models) where column_name = 'model'": [(1,)],
    "from (show tables) select count(*) > 30": [(True,)],
    "pivot (select model, domain from matches) on domain using count(*)": [("m", N, N)],
    "/* a */ from (pivot (select model, domain from matches) on domain using count(*)) -- b": [("m", N, N)],
    "with p as (pivot (select model, domain from matches) on domain) from p": [("m", N, N)],
    "with a as (select distinct model, corpus from matches) select family, role from labelled(a)": [
        ("pythia", "trained")
    ],
}


@pytest.mark.parametrize("text", ADMITTED)
def test_a_select_is_answered(house, text):
    rows = guard.ask(house[0], text).to_pylist()
    assert [tuple(row.values()) for row in rows] == ADMITTED[text]


EXPLAINED = [
    "explain select count(*) from matches",
    "-- a\n/* b */ EXPLAIN ANALYZE from matches limit 1",
    "explain (analyze) select 1",
    "explain (format json) select 1;",
    "explain (analyze, format json) with a as (select 1) from a",
    "explain summarize matches",
]


@pytest.mark.parametrize("text", EXPLAINED)
def test_a_plan_is_shown(house, text):
    assert guard.ask(house[0], text).column_names == ["explain_key", "explain_value"]


def test_our_own_table_macros_are_admitted_but_for_those_that_have_a_view_for_each_answer(house):
    own = table_macros(house[0])
    assert own["labelled"] == "labelled(measured)" and own["on_lines"] == "on_lines(measured, lines)"
    assert set(own) - guard.FUNCTIONS == {"groups_of", "sequences_of"}
    with pytest.raises(BadInput, match="groups_of is not admitted"):
        guard.ask(house[0], "from groups_of('noise')")


@pytest.mark.parametrize("name", names())
def test_a_finding_is_admitted(house, name):
    con, _ = house
    for text in (find(name).text, f"from {name}() join models using (model)"):
        assert [s.type for s in guard.admit(con, text)] == [duckdb.StatementType.SELECT]


READS = [
    "read_text('{text}')",
    "read_blob('{text}')",
    "read_csv('{text}')",
    "read_csv_auto('{csv}')",
    "'{text}'",
    "'{csv}'",
    "'{quarantined}'",
    "'{unpublished}'",
    "'{lake}/matches/**/*.parquet'",
    "'{lake}/matches/../quarantine/q.parquet'",
    "read_parquet('{quarantined}')",
    "read_parquet('{lake}/matches/../quarantine/q.parquet')",
    "parquet_scan('{unpublished}')",
    "parquet_metadata('{quarantined}')",
    "read_json('{text}')",
    "read_json_objects('{text}')",
    "read_duckdb('{text}')",
    "sniff_csv('{csv}')",
    "glob('{outside}/*')",
    "glob('{lake}/*')",
    "read_parquet('https://example.com/a.parquet')",
    "read_parquet('s3://bucket/a.parquet')",
    "'https://example.com/a.csv'",
    "python_variable",
    "query('from read_text(''{text}'')')",
    "query_table('{csv}')",
    "json_execute_serialized_sql(json_serialize_sql('from read_text(''{text}'')'))",
    "system.main.read_text('{text}')",
    "arrow_scan(1, 2, 3)",
    "enable_logging()",
    "enable_logging(storage = 'file', storage_path = '{outside}/log')",
    "ENABLE_LOGGING(storage = 'file', storage_path = '{published}')",
    "force_checkpoint()",
    "duckdb_secrets()",
    "duckdb_settings()",
    "labelled('{text}')",  # our own take a name that could as well stand after FROM
    "with_text('{unpublished}')",
    "on_lines('{csv}', matches)",
    "alike_texts('{text}')",
    "met_patterns('{csv}', 32)",
    "query_table('{text}')",
]
SHAPES = [
    "from {}",
    "select (select count(*) from {})",
    "with a as (from {}) select 1 where exists (from a)",
    "select * from matches where exists (from {})",
    "describe from {}",
    "describe {}",
    "summarize from {}",
    "summarize {}",
    "from (summarize from {})",
    "explain from {}",
    "explain analyze from {}",
    "explain /* from matches */ analyze\n-- select\nfrom {}",
    "pivot (from {}) on model using count(*)",
    "from (pivot {} on model)",
    "pivot (select model from matches where exists (from {})) on model",
    "pivot matches on model using any_value((select 1 from {}))",
    "from memorization_rate() where exists (from {})",
    "from scaling_law(minimum_sizes := (select count(*) from {}))",
    "select 1 union all select 1 from {}",
]


@pytest.mark.parametrize("source", READS)
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_but_the_snapshot_can_be_read(house, source, shape):
    con, paths = house
    python_variable = guard.ask(con, "select 1")  # noqa: F841
    with pytest.raises(BadInput) as refused:
        guard.ask(con, shape.format(source.format(**paths)))
    assert "\n" not in str(refused.value)


STATEMENTS = [
    "",
    "-- nothing",
    ";",
    "select 1; select 2",
    "copy matches to '{outside}/out.csv'",
    "copy (select 1) to '{published}' (format parquet)",
    "explain analyze copy matches to '{outside}/out.csv'",
    "explain copy matches to '{outside}/out.csv'",
    "explain analyze (copy matches to '{outside}/out.csv')",
    "explain analyze /* select */ copy (select 1) to '{published}'",
    "explain select 1; copy matches to '{outside}/out.csv'",
    "explain explain select 1",
    "explain analyze explain analyze select 1",
    "explain (analyze) create table a as select 1",
    "explain execute a",
    "explain pivot matches on domain using count(*)",
    "explain",
    "explain (format html, codegen) select 1",
    "explain analyze call enable_logging(storage = 'file', storage_path = '{outside}/log')",
    "pivot matches on domain; copy matches to '{outside}/out.csv'",
    "pivot matches on domain; select 1",
    "create type a as enum (select domain from matches); select 1",
    "create type a as enum ('pivot'); select 'pivot'",
    "create table pivot_a as select 1; from pivot_a",
    "pivot (from matches) on domain in (select 'create') ; create table a as select 1",
    'pivot (from U&"\\0065nable_logging"()) on a',
    "pivot (from \"ENABLE_logging\"(storage = 'file', storage_path = '{outside}/log')) on a",
    "pivot (from enable_logging /* a */ (storage = 'file', storage_path = '{outside}/log')) on a",
    "prepare a as pivot matches on domain",
    "execute scaling_law",
    "call scaling_law()",
    "copy (from scaling_law()) to '{outside}/out.csv'",
    "create or replace macro findings.scaling_law() as table select 1",
    "from scaling_law(); drop view matches",
    "describe 'a'; drop view matches",
    "summarize matches; select 1",
    "show tables; attach '{outside}/a.db'",
    "from \u0065nable_logging()",
    "from \uff45nable_logging()",
    "select 1\u2028; drop view matches",
    "export database '{outside}/out'",
    "import database '{outside}'",
    "pragma import_database('{outside}')",
    "pragma enable_profiling",
    "pragma version",
    "attach '{outside}/a.db'",
    "attach '{text}' as a (type sqlite)",
    "detach memory",
    "use stored",
    "install httpfs",
    "load httpfs",
    "load '{outside}/a.duckdb_extension'",
    "create table a as select 1",
    "create or replace view matches as select 1",
    "create or replace macro share(x) as 1",
    "create secret (type s3)",
    "insert into matches select * from matches",
    "delete from matches",
    "update matches set memorized = true",
    "drop view matches",
    "set enable_external_access = true",
    "set allowed_directories = ['/']",
    "reset lock_configuration",
    "set variable a = (select content from read_text('{text}'))",
    "call enable_logging(storage = 'file', storage_path = '{outside}/log')",
    "checkpoint",
    "prepare a as select 1",
    "execute a",
    "begin",
    "vacuum",
    "select getenv('HOME')",
    "select * from matchs",
    "select memorised from matches",
    "selct 1",
    "select ?",
]


@pytest.mark.parametrize("text", STATEMENTS)
def test_nothing_but_one_select_is_done(house, text):
    con, paths = house
    before = {p: p.stat().st_mtime_ns for root in ("outside", "lake") for p in paths[root].rglob("*")}
    with pytest.raises(BadInput) as refused:
        guard.ask(con, text.format(**paths))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300
    assert before == {p: p.stat().st_mtime_ns for root in ("outside", "lake") for p in paths[root].rglob("*")}
    assert guard.ask(con, "select count(*) from matches").to_pylist() == [{"count_star()": 2 * N}]


def test_the_settings_hold_beneath_the_guard(house):
    """Were a statement to slip through, DuckDB itself would refuse: the walls do not lean on each other."""
    con, paths = house
    for text in (
        f"from read_text('{paths['text']}')",
        f"from read_parquet('{paths['quarantined']}')",
        f"from '{paths['unpublished']}'",
        f"copy (select 1) to '{paths['outside']}/out.csv'",
        "set enable_external_access = true",
    ):
        with pytest.raises(Exception, match=r"Permission|Catalog|Cannot change configuration"):
            con.execute(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("select * from matchs", 'Did you mean "matches"'),
        ("select memorised from matches", "memorized"),
        ("selct 1", "syntax error"),
        ("copy matches to 'x'", "only one SELECT is admitted, this is COPY"),
        ("", "this is nothing"),
    ],
)
def test_a_refusal_says_what_to_mend(house, text, hint):
    with pytest.raises(BadInput, match=hint):
        guard.ask(house[0], text)


def test_what_spills_spills_to_a_folder_of_its_own(tmp_path, monkeypatch):
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".tmp" / "secret.csv").write_text("secret\n1\n")
    monkeypatch.chdir(tmp_path)
    con = duckdb.connect(config={"memory_limit": "60MB", "threads": 1})
    guard.lock(con, [])
    with pytest.raises(BadInput):
        guard.ask(con, "from '.tmp/secret.csv'")
    spill = Path(con.execute("select current_setting('temp_directory')").fetchone()[0])
    text = "select count(*) as n from (select row_number() over (order by md5(range::text)) as r from range(500000))"
    assert guard.ask(con, text).to_pylist() == [{"n": 500000}]
    assert spill.exists() and spill.parent.name.startswith("memlake-spill-")
    con.close()
    assert not spill.exists()


def test_what_spills_has_a_bound(monkeypatch):
    monkeypatch.setattr(scratch, "SHARE", 1e-12)
    con = duckdb.connect(config={"memory_limit": "60MB", "threads": 1})
    guard.lock(con, [])
    text = "select count(*) as n from (select row_number() over (order by md5(range::text)) as r from range(500000))"
    with pytest.raises(BadInput, match="Out of Memory Error") as refused:
        guard.ask(con, text)
    assert "\n" not in str(refused.value)


def test_what_is_published_after_the_opening_does_not_show(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    files = snapshot(lake)
    con = connect(lake, files)
    guard.lock(con, [])
    put(lake, "later", [("matches", match_rows("c++"))])
    assert guard.ask(con, "select count(*) as n from matches_all").to_pylist() == [{"n": 0}]


def test_ctrl_c_stops_a_query_and_the_next_is_answered():
    con = duckdb.connect()
    guard.lock(con, [])
    with pytest.raises(KeyboardInterrupt), ctrl_c(after=1.0):
        guard.ask(con, ENDLESS)
    assert guard.ask(con, "select 1 as n").to_pylist() == [{"n": 1}]
