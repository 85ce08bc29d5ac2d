"""The Python surface, and the views that SQL sees."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import memlake
from memlake.queries import catalog
from memlake.queries.ask import OpenLake
from memlake.queries.catalog import needed, prepare, views
from memlake.queries.finding import find, names
from memlake.queries.only import Only
from memlake.tests.small import CONTINUATION, DOMAINS, ENDLESS, MODEL, N, ctrl_c, flip, match_rows
from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput, DamagedLake, NotALake, UnknownName
from memlake.warehouse.lake import Lake

from .conftest import put
from .findings import database

MEASURED = {  # findings that have an answer in the lake of conftest: one model, scoring and noise, no exposures
    "byte_rate",
    "corpus_rate",
    "domain_distribution",
    "guessability",  # all sequences not judged
    "memorization_rate",
    "scaling_law",
    "score_distribution",
    "position_curve",
    "extraction_probability",
    "noise_rate",
    "noise_structural_share",
    "structural_share",
}


@pytest.fixture(scope="module")
def asked(lake) -> OpenLake:
    return OpenLake(lake.path)


def test_sql_answers_as_an_ibis_table_that_composes(asked):
    rates = asked.sql("select domain, share(memorized) as rate from matches group by domain")
    assert rates.filter(rates.domain == "c++").rate.execute().tolist() == [14 / N]


@pytest.mark.parametrize("name", names())
def test_each_finding_runs_as_an_ibis_table(asked, name):
    answer = asked.query(name)
    assert list(answer.columns) == list(find(name).columns)
    assert (answer.count().execute() > 0) == (name in MEASURED)


WRONG = {
    "select 1; select 2": "one SELECT is wanted, this is SELECT, SELECT",
    "": "one SELECT is wanted, this is nothing",
    " -- nothing;": "one SELECT is wanted, this is nothing",
    "create table x as select 1": "one SELECT is wanted, this is CREATE",
    "copy matches to '/tmp/x'": "one SELECT is wanted, this is COPY",
    "explain from matches": "one SELECT is wanted, this is EXPLAIN",
    "selec 1": 'Parser Error: syntax error at or near "selec"\nLINE 1: selec 1\n        ^',
    "select modle from models": 'Binder Error: Referenced column "modle" not found in FROM clause! Candidate bindings:',
    "from matchs": 'Catalog Error: Table with name matchs does not exist! Did you mean "matches"?\nLINE 1: from matchs',
    "select 'a\udcff'": "is not UTF-8",
    "pivot models on family using count(*)": "PIVOT ... ON",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_sql_refuses_is_said_at_once(asked, text):
    with pytest.raises(BadInput) as raised:
        asked.sql(text)
    assert WRONG[text] in str(raised.value)


def test_the_line_that_is_wrong_is_shown_as_it_was_written(asked):
    with pytest.raises(BadInput, match=r"\nLINE 2:   nope\n          \^$"):
        asked.sql("select model,\n  nope\nfrom matches")
    with pytest.raises(BadInput, match=r"\nLINE 9: nope\n        \^$"):  # DuckDB says 10
        asked.sql("\n" * 7 + "select 1,\nnope")
    with pytest.raises(BadInput, match="SQL is a text, not 5"):
        asked.sql(5)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("values (1), (2);", [1, 2]),
        ("select 1 -- one; two", [1]),
        ("select 1; -- one", [1]),
        (";;select ';é;' as x;", [";é;"]),
        ("with a as (select 3 as b) from a", [3]),
        ("select column_name from (describe models) where column_name = 'model'", ["model"]),
        ("describe models", None),
        ("summarize models", None),
        ("select range from range(3) order by range desc", [2, 1, 0]),
        ("pivot (select 'a' as k, 1 as v) on k in ('a') using sum(v)", [1]),
    ],
)
def test_one_select_however_it_is_written(asked, text, answer):
    found = asked.sql(text)
    assert answer is None or found.execute().iloc[:, 0].tolist() == answer
    assert answer is not None or "model" in found.execute().column_name.tolist()


@pytest.mark.parametrize("rows_of", ["execute", "to_pandas", "to_pyarrow", "to_polars", "count"])
def test_what_goes_wrong_later_is_told_as_well(asked, rows_of):
    later = asked.sql("select domain::int as x from matches")
    with pytest.raises(BadInput, match=r"^Conversion Error: Could not convert string .* to INT32"):
        found = getattr(later.filter(later.x > 0), rows_of)()
        found.execute()


def test_ctrl_c_ends_what_a_table_asks(asked):
    endless = asked.sql(ENDLESS)
    with ctrl_c(after=1.0), pytest.raises(KeyboardInterrupt):
        endless.execute()
    assert asked.sql("select 1 as one").one.execute().tolist() == [1]


def test_rows_as_polars(asked, monkeypatch):
    polars = pytest.importorskip("polars")
    for found in (asked.query("corpus_rate"), asked.table("matches"), asked.sql("from matches"), asked.tables.models):
        frame = found.to_polars()
        assert isinstance(frame, polars.DataFrame) and frame.to_arrow().num_rows == found.count().execute()
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(BadInput, match="to_polars\\(\\) needs polars: pip install polars"):
        asked.table("matches").to_polars()


def test_it_says_what_it_holds(asked, lake):
    said = dict(line.split(maxsplit=1) for line in repr(asked).splitlines())
    assert said["lake"] == str(lake.path)
    assert said["models"] == "1 of 1 family (pythia)" and said["corpora"] == "1 (mine)"
    assert said["sequences"] == f"{2 * N}" and said["matches"] == f"{3 * N}, of all conditions"
    assert said["published"].startswith("2026-01-01 00:00 UTC")
    narrower = OpenLake(lake.path, condition="noisy")
    assert repr(narrower).splitlines()[0].endswith("condition noisy")
    assert asked._repr_html_().count("<tr>") == len(said)
    assert "nothing yet" in repr(OpenLake(Lake.create(lake.path.parent / "empty").path))


def test_query_takes_parameters(asked):
    answer = asked.query("extraction_probability", attempts=[1], probabilities="[0.5]")
    assert answer.count().execute() == 1


def test_table_takes_names_of_sql(asked):
    assert asked.table("matches").count().execute() == 2 * N
    assert asked.table("matches_all").count().execute() == 3 * N
    with pytest.raises(UnknownName, match="did you mean 'matches'"):
        asked.table("matchs")


def test_every_stored_table_can_be_selected_from(asked):
    known = views(asked.connection)
    assert {f.stem for f in (catalog.HERE / "views").iterdir()} == set(catalog.VIEWS)
    text = "".join(f.read_text() for f in (catalog.HERE / "samples.sql", *(catalog.HERE / "views").glob("*.sql")))
    added = re.findall(r"^create or replace (?:view|table) (\w+) as", text, re.MULTILINE)
    assert {"noise_groups", "layer_groups", "layer_positions", "prompt_lengths"} <= set(added)
    assert {*schema.names(), "matches_all", *added} == set(known)
    for name in known:
        asked.connection.execute(f'select * from "{name}"').to_arrow_table()


@pytest.mark.parametrize(
    ("name", "rows"),
    [("matches", 2 * N), ("matches_all", 3 * N), ("documents", 2 * N), ("models", 1), ("exposures", 0)],
)
def test_dask_frames_hold_the_rows_of_sql(asked, name, rows):
    frame = asked.dask(name).compute(scheduler="synchronous")
    assert len(frame) == rows
    assert list(frame.columns) == asked.connection.execute(f"from {name} limit 0").to_arrow_table().column_names


@pytest.mark.parametrize(("name", "kept"), [("prompt_compression", {"base"}), ("layer_similarity", {"base", "noisy"})])
def test_views_and_dask_frames_show_the_base_condition_except_where_noise_is_the_point(tmp_path, name, kept):
    lake = Lake.create(tmp_path / "lake")
    put(lake, "a", [("models", [MODEL | {"base_condition": "base"}])])
    rows = [{"model": "m", "corpus": "c", "domain": "d", "sequence_id": 1, "condition": c} for c in ("base", "noisy")]
    put(lake, "b", [(name, rows)])
    asked = OpenLake(lake.path)
    assert set(asked.dask(name).condition.compute(scheduler="synchronous")) == kept
    assert {c for (c,) in asked.connection.execute(f"select condition from {name}").fetchall()} == kept


def test_dask_frames_keep_missing_whole_numbers_and_odd_domain_names(asked):
    matches = asked.dask("matches")
    assert set(matches.domain.unique().compute(scheduler="synchronous")) == set(DOMAINS)
    rates = matches.groupby("domain").memorized.mean().compute(scheduler="synchronous")
    assert rates.to_dict() == pytest.approx(dict.fromkeys(DOMAINS, 14 / N))
    assert matches.log_p_z.isna().sum().compute(scheduler="synchronous") == 16


def test_dask_of_a_view_without_files_is_refused(asked):
    with pytest.raises(UnknownName, match="domains"):
        asked.dask("domains")


def test_an_open_lake_keeps_its_snapshot(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    put(lake, "a", [("exposures", [{"model": "m", "document_id": 1, "exposures": 4}])])
    before = OpenLake(lake.path)
    put(lake, "b", [("exposures", [{"model": "m", "document_id": 2, "exposures": 8}])])
    after = OpenLake(lake.path)
    for asked, n in ((before, 1), (after, 2)):
        assert asked.table("exposures").count().execute() == n
        assert len(asked.dask("exposures").compute(scheduler="synchronous")) == n


def test_a_lake_that_is_refreshed_shows_what_was_published(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    put(lake, "a", [("exposures", [{"model": "m", "document_id": 1, "exposures": 4}])])
    asked = OpenLake(lake.path)
    before, tables, connection = asked.tables.exposures, asked.tables, asked.connection
    assert asked.refresh() is asked and asked.connection is connection  # nothing has changed
    put(lake, "b", [("exposures", [{"model": "m", "document_id": 2, "exposures": 8}])])
    assert asked.refresh() is asked
    assert [t.exposures.execute().tolist() for t in (before, tables.exposures, asked.tables.exposures)] == [
        [4],
        [4, 8],
        [4, 8],
    ]
    assert len(asked.dask("exposures").compute(scheduler="synchronous")) == 2


def test_the_lake_is_where_the_environment_says(lake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEMLAKE_LAKE", raising=False)
    with pytest.raises(NotALake, match="lake does not exist"):
        memlake.open()
    monkeypatch.setenv("MEMLAKE_LAKE", str(lake.path))
    assert memlake.open().tables.matches.count().execute() == 2 * N
    assert memlake.open(sample_window="4+12").tables.matches.count().execute() == 2 * N
    with pytest.raises(NotALake):
        memlake.open("lake")


def test_a_folder_that_is_no_lake_is_refused(tmp_path):
    with pytest.raises(NotALake):
        OpenLake(tmp_path)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_bytes(b"nonsense")])
def test_a_table_with_a_spoiled_file_is_named(tmp_path, spoil):
    lake = Lake.create(tmp_path / "lake")
    put(lake, "a", [("exposures", [{"model": "m", "document_id": 1, "exposures": 4}])])
    spoil(Path(*lake.files("exposures")))
    with pytest.raises(DamagedLake, match=r"table exposures of .* cannot be read") as raised:
        OpenLake(lake.path)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_damaged_or_gone_is_told_wherever_rows_are_read(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    put(lake, "a", [("exposures", [{"model": "m", "document_id": i, "exposures": 4} for i in range(100)])])
    asked = OpenLake(lake.path)
    table = asked.tables.exposures
    (file,) = map(Path, lake.files("exposures"))
    flip(file)
    for ask in (table.execute, table.to_polars, lambda: asked.sql("from exposures").to_pyarrow()):
        with pytest.raises(DamagedLake, match=r"a file cannot be read .*memlake warehouse check"):
            ask()
    with pytest.raises(DamagedLake, match=f"{file.name} cannot be read"):
        asked.dask("exposures").compute(scheduler="synchronous")
    file.unlink()
    with pytest.raises(DamagedLake, match=r"refresh\(\)"):
        table.execute()


def test_match_positions_unpack_the_vectors(asked):
    got = asked.connection.execute(
        "select sequence_id, position, matched, forced_matched, generated, logprob from match_positions"
        " where domain = 'c++' order by sequence_id, position"
    ).fetchall()
    rows = sorted(match_rows("c++"), key=lambda r: r["sequence_id"])
    assert len(got) == N * CONTINUATION
    for i, (sequence, position, matched, forced, generated, logprob) in enumerate(got):
        row, k = rows[i // CONTINUATION], i % CONTINUATION
        assert (sequence, position) == (row["sequence_id"], k)
        assert matched == bool(row["match"][k // 8] & (128 >> k % 8))
        assert forced == bool(row["forced_match"][k // 8] & (128 >> k % 8))
        assert (generated, logprob) == (row["generated"][k], row["logprobs"][k])


def test_match_positions_of_a_row_that_was_not_decoded_are_null():
    given = {
        "models": "model family base_condition\n a olmo base",
        "matches": "model sequence_id condition n_tokens forced_match\n a 1 base 2 \\x80",
    }
    got = database(given).execute("select position, matched, forced_matched, generated from match_positions").fetchall()
    assert got == [(0, None, True, None), (1, None, False, None)]


def test_sequence_tokens_count_from_the_cut():
    given = {
        "sequences": "sequence_id tokens byte_ends prefix_tokens n_tokens\n"
        "1 [7,8,9] [1,3,6] 1 2\n 2 [] NULL NULL 2\n 3 [5] [9] 0 1"
    }
    got = database(given).execute("select sequence_id, position, token, byte_end from sequence_tokens").fetchall()
    assert sorted(got) == [(1, -1, 7, 1), (1, 0, 8, 3), (1, 1, 9, 6), (3, 0, 5, 9)]


def test_domains_are_added_up():
    given = {"domains": "cell corpus domain class n_documents n_bytes kept_documents\n a c d x 1 10 1\n b c d x 2 20 0"}
    assert database(given).execute("from domains").fetchall() == [("c", "d", "x", 3, 30, 1)]


def test_any_rows_take_the_labels_of_their_models():
    """The role is that to the corpus, if it is known; the rest is the model's on any corpus."""
    given = {
        "models": "model family nominal_params miniature base_condition\n"
        " a pythia 70 false base\n b@r mine NULL true base",
        "model_corpora": "model corpus role\n a c trained\n a d control",
        "matches": "model corpus condition memorized\n"
        " a c base true\n a c base false\n a d base false\n a e base true\n b@r c base true",
    }
    con = database(given)
    columns = "model, corpus, family, miniature, revision, size_kind, params, role"
    rates = "with rates as (select model, corpus, share(memorized) as rate from matches group by all)"
    assert con.execute(f"{rates} select {columns}, rate from labelled(rates) order by 1, 2").fetchall() == [
        ("a", "c", "pythia", False, None, "nominal", 70, "trained", 0.5),
        ("a", "d", "pythia", False, None, "nominal", 70, "control", 0.0),
        ("a", "e", "pythia", False, None, "nominal", 70, None, 1.0),
        ("b@r", "c", "mine", True, "r", "nominal", None, None, 1.0),
    ]
    assert con.execute("select count(*), count(role) from labelled(matches)").fetchall() == [(5, 3)]


def test_any_rows_take_the_text_of_their_sequences():
    """Sequences 1 and 2 lie in copies, 3 in a document that is not there, 4 in none: a text of its own each."""
    given = {
        "models": "model family base_condition\n a olmo base",
        "documents": "document_id corpus domain text_hash\n 10 c d 7\n 11 c d 7",
        "sequences": "sequence_id corpus domain document_id\n 1 c d 10\n 2 c d 11\n 3 c d 12\n 4 c d NULL",
        "matches": "model corpus domain condition sequence_id\n"
        " a c d base 1\n a c d base 2\n a c d base 3\n a c d base 4\n a c d base 5",
    }
    got = database(given).execute("select sequence_id, text from with_text(matches) order by 1").fetchall()
    assert got == [(1, 7), (2, 7), (3, 12), (4, 4), (5, 5)]


def test_rows_of_a_line_share_its_number_also_where_the_sample_is_not_known():
    given = {
        "models": "model family base_condition\n a olmo base\n b olmo base",
        "matches": "model corpus condition sequence_id cell\n"
        " a c base 1 x\n a c base 2 x\n b c base 1 x\n a c base 3 y\n a c base 4 z\n a d base 5 z",
        "samples": "cell sample_rule sample_window\n x space 32+32\n y start 32+32",  # of z nothing is known
    }
    con = database(given)
    lines = "with lines as materialized (from lines_of(matches))"
    numbers = dict(con.execute(f"{lines} select (model, sequence_id), line from on_lines(matches, lines)").fetchall())
    together: dict[int, set] = {}
    for row, line in numbers.items():
        together.setdefault(line, set()).add(row)
    assert sorted(map(sorted, together.values())) == [
        [("a", 1), ("a", 2)],
        [("a", 3)],
        [("a", 4)],
        [("a", 5)],
        [("b", 1)],
    ]
    assert con.execute(f"{lines} select count(*), min(line), max(line) from lines").fetchall() == [(5, 1, 5)]


def test_an_anchor_reaches_as_far_as_the_continuation_unless_a_token_spans_it():
    given = {
        "models": "model family base_condition\n a olmo base",
        "sequences": "sequence_id corpus domain tokenizer anchor_id anchor byte_cut byte_end prefix_tokens n_tokens\n"
        "1 c d t 8 100 100 164 4 4\n 2 c d t 9 100 98 164 5 4\n 3 c d t 8 100 100 140 6 4\n 4 c d t NULL NULL 0 64 4 4",
        "matches": "model corpus domain condition sequence_id matched_bytes\n"
        "a c d base 1 10\n a c d base 2 10\n a c d base 3 NULL\n a c d base 4 10",
    }
    columns = "sequence_id, anchor_id, prefix_tokens, tokenizer, reach"
    got = database(given).execute(f"select {columns} from anchored_matches order by 1").fetchall()
    assert got == [(1, 8, 4, "t", 64), (2, 9, 5, "t", None), (3, 8, 6, "t", None), (4, None, 4, "t", None)]


def test_a_line_of_models_has_one_kind_of_size():
    given = {
        "models": "model family n_params nominal_params miniature\n"
        "a pythia 11 10 false\n b pythia NULL 20 false\n c pythia 31 NULL false\n"  # 2 nominal, 2 counted: nominal
        "m pythia 5 NULL true\n"  # a miniature is a line of its own
        "a@r pythia 12 NULL false"  # so is a revision
    }
    got = database(given).execute("select model, revision, size_kind, params from model_sizes order by 1").fetchall()
    assert got == [
        ("a", None, "nominal", 10),
        ("a@r", "r", "counted", 12),
        ("b", None, "nominal", 20),
        ("c", None, "nominal", None),
        ("m", None, "counted", 5),
    ]


def test_layers_and_prompt_lengths_unfold():
    given = {
        "models": "model family base_condition\n a olmo base",
        "layer_similarity": "model sequence_id condition part cosine relative_l2\n a 1 noisy prefix [1,0.5,0] [0,1,2]",
        "prompt_compression": "model sequence_id condition prefix_tokens successes\n a 1 base 3 \\x60",
        "layer_tokens": "model sequence_id condition position top1 target_probability target_rank entropy kl_to_final\n"
        "a 1 base 0 [7,8] [0.5,0.75] [2,1] [3,4] [1,0]",
    }
    con = database(given)
    assert con.execute("select layer, depth, cosine, relative_l2 from similarity_layers").fetchall() == [
        (0, 0.0, 1.0, 0.0),
        (1, 0.5, 0.5, 1.0),
        (2, 1.0, 0.0, 2.0),
    ]
    assert con.execute("select kept, success from prompt_lengths").fetchall() == [(1, False), (2, True), (3, True)]
    columns = "layer, depth, top1, target_probability, target_rank, entropy, kl_to_final"
    assert con.execute(f"select {columns} from layer_positions").fetchall() == [
        (0, 0.0, 7, 0.5, 2, 3.0, 1.0),
        (1, 1.0, 8, 0.75, 1, 4.0, 0.0),
    ]


def test_a_statement_gets_what_it_names_and_what_that_is_made_of():
    assert needed("select 1") == set()
    assert needed("from model_sizes -- and not matches") == {"model_sizes", "models"}
    assert {"matches", "models", "cells", "cell_samples"} <= needed("select share(memorized) from MATCHES")
    assert "head_deltas" not in needed("select share(memorized) from matches")
    assert needed("from information_schema.tables") is None
    for text in ("from matches", "from matches -- to its end"):  # beside what is looked up, nothing of it is lost
        assert needed(text) | {"conditions"} <= needed(text, Only(condition="float32 sdpa"))


@pytest.mark.parametrize("name", sorted({d.name for d in catalog.definitions() if " macro " not in d.sql}))
def test_each_table_can_be_asked_with_no_more_than_it_needs(lake, name):
    only = needed(f"from {name}")
    con, whole = prepare(lake.connect(set(schema.names()) & only), names=only), prepare(lake.connect())
    few, all_there_is = (c.execute(f'from "{name}" order by all').to_arrow_table() for c in (con, whole))
    assert few.equals(all_there_is)
