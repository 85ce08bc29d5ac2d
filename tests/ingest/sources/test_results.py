"""Match vectors made elsewhere: derived, verified, and taken once."""

from __future__ import annotations

import fcntl
import json
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memlake.ingest.results import match_vectors as vectors
from memlake.ingest.results.reading import ImportSequences, MatchSettings
from memlake.ingest.run import ingest
from memlake.queries.ask import OpenLake
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.identity import hash63
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.register import register, transaction
from memlake.warehouse.work.cells import CellRows, published
from memlake.warehouse.work.runner import Summary

N = 12  # tokens of a continuation: four bits are left over in the second byte


def record(i: int, **other) -> dict:
    bits = [(i >> k) & 1 == 1 for k in range(N)]
    return {
        "model": "pythia-160m",
        "corpus": "pile",
        "domain": "github",
        "sequence_id": i,
        "n_tokens": N,
        "match": bits,
    } | other


def write(path, records) -> str:
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def matches(lake) -> list[tuple]:
    return rows(
        lake,
        "select external_id, n_match, score, first_mismatch, memorized, match from stored.matches"
        " join stored.sequences using (sequence_id) order by external_id::int",
    )


RECORDS = [record(i) for i in (0, 1, 5, 7, 4094, 4095)]
EXPECTED = [  # worked by hand: bit k of the number is position k
    ("0", 0, 0.0, 0, False),
    ("1", 1, 1 / 12, 1, False),
    ("5", 2, 2 / 12, 1, False),
    ("7", 3, 3 / 12, 3, False),
    ("4094", 11, 11 / 12, 0, False),
    ("4095", 12, 1.0, 12, True),
]


def packed(records: list[dict], spell) -> list[dict]:
    return [r | {"match": spell(np.packbits(r["match"]).tobytes())} for r in records]


@pytest.mark.parametrize("kind", ["jsonl list", "jsonl hex", "parquet list", "parquet bytes"])
def test_what_is_left_out_is_derived(lake, tmp_path, kind):
    if kind.startswith("jsonl"):
        records = RECORDS if kind == "jsonl list" else packed(RECORDS, bytes.hex)
        path = write(tmp_path / "r.jsonl", records)
    else:
        path = str(tmp_path / "r.parquet")
        pq.write_table(pa.Table.from_pylist(RECORDS if kind == "parquet list" else packed(RECORDS, bytes)), path)
    summary, lines = ingest(lake, "results", {"path": (path,)})
    assert not summary.failed, summary.failed
    assert lines == [
        "results: 6 rows; 0 of sequences that the lake holds with their text, 6 of sequences known only by the id"
        " they came with"
    ]
    assert [m[:5] for m in matches(lake)] == EXPECTED
    assert matches(lake)[2][5] == bytes([0b10100000, 0])  # 5: positions 0 and 2
    assert rows(lake, "select sequence_id from stored.sequences where external_id = '5'") == [
        (hash63("import", "pile", "pythia", "5"),)
    ]
    assert rows(lake, "select model, family, nominal_params, n_params, base_condition from stored.models") == [
        ("pythia-160m", "pythia", 160_000_000, None, "imported")
    ]
    assert rows(lake, "select * from stored.model_corpora") == [("pythia-160m", "pile", "trained")]
    again, _ = ingest(lake, "results", {"path": (path,)})
    assert not again.done and not again.failed and again.skipped == 2


def test_of_two_imports_at_once_that_bring_one_id_in_two_domains_the_second_is_refused(lake, tmp_path, monkeypatch):
    paths = [write(tmp_path / f"{d}.jsonl", [record(5, domain=d)]) for d in ("github", "arxiv")]
    look, lock, waits = ImportSequences.rows, fcntl.flock, threading.Event()
    ended: list[Summary] = []
    second = threading.Thread(
        target=lambda: ended.append(ingest(Lake.open(lake.path), "results", {"path": (paths[1],)})[0])
    )

    def first_looks(self: ImportSequences, lake: Lake) -> CellRows:
        yield from look(self, lake)
        if not second.ident:
            second.start()
            while second.is_alive() and not waits.wait(0.01):
                pass

    def seen(file: object, how: int) -> None:
        if how == fcntl.LOCK_EX and "sequences" in str(getattr(file, "name", "")):
            waits.set()
        lock(file, how)

    monkeypatch.setattr(ImportSequences, "rows", first_looks)
    monkeypatch.setattr(fcntl, "flock", seen)
    first, _ = ingest(lake, "results", {"path": (paths[0],)}, workers=0)
    second.join()
    assert not first.failed and rows(lake, "select domain from stored.sequences") == [("github",)]
    ((_, reason),) = ended[0].failed
    assert "matches.sequence_known (1)" in reason


CONTRADICTIONS = [  # (what the row says besides its match vector, an expectation that this breaks)
    ({"n_match": 3}, "n_match_counts_bits"),
    ({"score": 0.5}, "score_is_share"),
    ({"first_mismatch": 2}, "first_mismatch_of_greedy"),
    ({"memorized": True}, "memorized_is_all_match"),
    ({"forced_match": [True] * N}, "first_mismatch_of_forced"),
    ({"logprobs": [-1.0] * N, "sum_logprob": -13.0}, "sum_of_logprobs"),
    ({"log_p_z": 0.5}, "log_p_z_not_positive"),
    ({"match": "a000ff"}, "match_is_packed"),
    ({"match": "a001"}, "no_match_after_the_end"),
    ({"sequence_id": "twice"}, "key_unique"),
]


def test_contradictions_go_to_quarantine_each_row_with_what_it_breaks(lake, tmp_path):
    bad = [record(5, **({"sequence_id": name} | given)) for given, name in CONTRADICTIONS]
    path = write(tmp_path / "r.jsonl", [record(7), *bad, record(5, sequence_id="twice")])
    summary, _ = ingest(lake, "results", {"path": (path,)})
    ((cell, reason),) = summary.failed
    offending = pq.read_table(lake.quarantine / cell.id / "matches.parquet").to_pylist()
    broken = {row["sequence_id"]: row["broken"] for row in offending}
    assert len(offending) == len(CONTRADICTIONS) + 1  # all but the good row; the doubled one twice
    for given, name in CONTRADICTIONS:
        own = given.get("sequence_id", name)
        assert name in broken[hash63("import", "pile", "pythia", own)]
        assert f"matches.{name} (" in reason
    assert rows(lake, "select count(*) from stored.matches") == [(0,)]


def test_given_columns_that_agree_are_kept(lake, tmp_path):
    full = record(7) | {
        "n_match": 3,
        "score": 0.25,
        "first_mismatch": 3,
        "memorized": False,
        "forced_match": [True] * 3 + [False] * 8 + [True],
        "logprobs": [-0.5] * N,
        "min_margin": 0.1,
        "prefix_tokens": 2,
        "tokens": list(range(N + 2)),
        "tokenizer": "mine",
    }
    path = write(tmp_path / "r.jsonl", [full])
    summary, _ = ingest(lake, "results", {"path": (path,)})
    assert not summary.failed, summary.failed
    assert rows(lake, "select forced_n_match, sum_logprob, min_margin from stored.matches") == [(4, -6.0, 0.1)]
    assert rows(lake, "select tokens, prefix_tokens, tokenizer from stored.sequences") == [
        (list(range(N + 2)), 2, "mine")
    ]


def test_models_of_one_tokenizer_share_their_sequences(lake, tmp_path):
    both = [record(i, model=m) for i in (1, 2) for m in ("pythia-160m", "pythia-410m")]
    first = write(tmp_path / "a.jsonl", both)
    second = write(tmp_path / "b.jsonl", [record(i, model="pythia-1b") for i in (2, 3)])
    summary, _ = ingest(lake, "results", {"path": (first,)})
    assert not summary.failed and len(summary.done) == 3  # the sequences, and two models
    summary, _ = ingest(lake, "results", {"path": (second,)})
    assert not summary.failed
    assert rows(lake, "select external_id, rank from stored.sequences order by all") == [("1", 0), ("2", 1), ("3", 0)]
    assert rows(
        lake,
        "select external_id, count(*) from stored.matches join stored.sequences using (sequence_id)"
        " group by all order by all",
    ) == [("1", 2), ("2", 3), ("3", 1)]


def test_a_sequence_of_the_lake_is_taken_as_it_is(lake, tmp_path):
    write(tmp_path / "first.jsonl", [record(5)])
    ingest(lake, "results", {"path": (str(tmp_path / "first.jsonl"),)})
    ((known,),) = rows(lake, "select sequence_id from stored.sequences")
    path = write(tmp_path / "r.jsonl", [record(5, model="pythia-1b", sequence_id=known)])
    summary, _ = ingest(lake, "results", {"path": (path,)})
    assert not summary.failed
    assert rows(lake, "select count(*) from stored.sequences") == [(1,)]
    other = write(tmp_path / "o.jsonl", [record(5, model="pythia-12b", sequence_id=known, domain="arxiv")])
    summary, _ = ingest(lake, "results", {"path": (other,)})
    assert "matches.sequence_known (1)" in summary.failed[0][1]


def test_an_unknown_model_needs_family_and_params(lake, tmp_path):
    path = write(tmp_path / "r.jsonl", [record(1, model="mine")])
    with pytest.raises(BadInput, match="'mine' is neither in the lake nor in the registry: give its --family"):
        ingest(lake, "results", {"path": (path,)})
    with pytest.raises(UnknownName, match="no family 'olma': did you mean 'olmo'"):
        ingest(lake, "results", {"path": (path,), "family": "olma", "params": 7})
    for params in (0, -5):
        with pytest.raises(BadInput, match=f"^no --params {params}: it is at least 1$"):
            ingest(lake, "results", {"path": (path,), "family": "olmo", "params": params})
    summary, _ = ingest(lake, "results", {"path": (path,), "family": "olmo", "params": 7})
    assert not summary.failed
    assert rows(lake, "select model, family, nominal_params from stored.models") == [("mine", "olmo", 7)]
    own = write(tmp_path / "own.jsonl", [record(1, model="other")])
    summary, _ = ingest(lake, "results", {"path": (own,), "family": "elsewhere", "params": 7})
    assert not summary.failed
    found = rows(lake, "select family, s.tokenizer from stored.models join stored.matches using (model)"
                       " join stored.sequences s using (sequence_id) where model = 'other'")  # fmt: skip
    assert found == [("elsewhere", "other")]
    two = write(tmp_path / "two.jsonl", [record(1, model="a"), record(1, model="b")])
    with pytest.raises(BadInput, match="more than one model is unknown"):
        ingest(lake, "results", {"path": (two,), "family": "olmo", "params": 7})


def test_a_condition_must_be_one_of_the_lake(lake, tmp_path):
    path = write(tmp_path / "r.jsonl", [record(1, condition="bfloat16")])
    with pytest.raises(UnknownName, match="no condition 'bfloat16'"):
        ingest(lake, "results", {"path": (path,)})
    register(lake, "conditions", [{"condition": "bfloat16", "dtype": "bfloat16", "noise": 0.0, "bos": False}])
    summary, lines = ingest(lake, "results", {"path": (path,)})
    assert not summary.failed and len(lines) == 1
    assert rows(lake, "select model, base_condition from stored.models") == [("pythia-160m", "bfloat16")]
    other = write(tmp_path / "o.jsonl", [record(1)])
    summary, lines = ingest(lake, "results", {"path": (other,)})
    assert not summary.failed
    assert lines[1] == (
        "pythia-160m: 'imported' is not its base condition, so findings use its rows only with -p condition=imported"
        " (scores stand in `matches_all`)"
    )
    answer = OpenLake(lake.path).query("memorization_rate", condition="imported").to_pyarrow().to_pylist()
    assert [(row["condition"], row["n"]) for row in answer] == [("imported", 1)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: malformed JSON"),
        ("[]", "line 2: not a JSON object"),
        (json.dumps(record(1) | {"model": None}), "row 2: no model"),
        (json.dumps(record(1) | {"n_tokens": 11}), "row 2: match has 12 entries, n_tokens is 11"),
        (json.dumps(record(1) | {"match": "xyz"}), "row 2: match is text, but not hex"),
        (json.dumps(record(1) | {"match": [2] * N}), "row 2: match is neither packed bytes nor a list of booleans"),
        (json.dumps(record(1) | {"n_tokens": "12", "match": "0000"}), "rows 1 to 2: n_tokens is not int64"),
        (json.dumps(record(1) | {"score": "high"}), "rows 1 to 2: score is not double"),
        (json.dumps(record(1) | {"sequence_id": [1]}), "rows 1 to 2: sequence_id is not string"),
        (json.dumps(record(1) | {"sequence_id": "\ud800"}), "rows 1 to 2: sequence_id is not string"),
        (json.dumps(record(1) | {"model": ""}), "row 2: model is empty"),
        (json.dumps(record(1) | {"corpus": ""}), "row 2: corpus is empty"),
        (json.dumps(record(1) | {"domain": " "}), "row 2: domain is empty"),
        (json.dumps(record(1) | {"domain": "\ud800"}), "row 2: domain holds a lone surrogate"),
        (json.dumps(record(1) | {"tokenizer": "t" * 300}), "row 2: tokenizer has more than 80 bytes"),
    ],
)
def test_a_bad_row_is_one_clear_line(tmp_path, line, message):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(record(1)) + "\n" + line + "\n")
    with pytest.raises(BadInput, match=message):
        list(vectors.read(path, {}))


def test_a_bad_file_is_one_clear_line(lake, tmp_path):
    broken = tmp_path / "r.parquet"
    broken.write_bytes(b"PAR1 nonsense")
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        list(vectors.read(broken, {}))
    pq.write_table(pa.table({"model": ["m"]}), broken)
    with pytest.raises(BadInput, match="row 1: no corpus"):
        list(vectors.read(broken, {}))
    empty = write(tmp_path / "e.jsonl", [])
    for options, message in (({"path": (empty,)}, "empty file"), ({}, "needs --path")):
        with pytest.raises(BadInput, match=message):
            ingest(lake, "results", options)
    with pytest.raises(BadInput, match="takes no --corpus"):
        ingest(lake, "results", {"path": (empty,)}, corpus="mine")


def test_a_corrected_file_is_refused_by_the_cell_that_it_contradicts(lake, tmp_path):
    path = write(tmp_path / "r.jsonl", [record(5), record(5, model="pythia-1b")])
    summary, _ = ingest(lake, "results", {"path": (path,)})
    assert len(summary.done) == 3
    ((cell, settings),) = [(c, s) for c, s in published(lake, "results", MatchSettings) if s.model == "pythia-1b"]
    assert settings.corpora == ("pile",)
    write(tmp_path / "r.jsonl", [record(7, model="pythia-1b")])
    with pytest.raises(Conflict, match=rf"pythia-1b on pile from r\.jsonl already, with other content.*--cell {cell}"):
        ingest(lake, "results", {"path": (path,)})
    # The same name for results on another corpus contradicts nothing.
    write(tmp_path / "r.jsonl", [record(7, model="pythia-1b", corpus="c4")])
    summary, _ = ingest(lake, "results", {"path": (path,)})
    assert len(summary.done) == 2


def test_what_was_read_stays_read_when_the_model_gets_another_tokenizer(lake, tmp_path):
    path = write(tmp_path / "r.jsonl", [record(5)])
    ingest(lake, "results", {"path": (path,)})
    lake.retract("models", [transaction("models", {"model": "pythia-160m"})], lambda _: "model = 'pythia-160m'")
    imported = {"model": "pythia-160m", "family": "pythia", "nominal_params": 1, "base_condition": "imported"}
    register(lake, "models", [imported | {"tokenizer": "pythia-0123", "miniature": False}])
    again, _ = ingest(lake, "results", {"path": (path,)})
    assert (again.skipped, again.done) == (2, [])


def test_only_the_rows_of_the_model_are_derived(tmp_path, lake, monkeypatch):
    path = write(tmp_path / "r.jsonl", [record(i, model=m) for i in (1, 2) for m in ("pythia-160m", "pythia-1b")])
    derived = []
    monkeypatch.setattr(vectors, "derive", lambda piece, really=vectors.derive: derived.append(piece) or really(piece))
    ingest(lake, "results", {"path": (path,)})
    assert [piece["model"].to_pylist() for piece in derived] == [["pythia-160m"] * 2, ["pythia-1b"] * 2]
    assert len(rows(lake, "from stored.matches")) == 4


def test_ids_that_look_like_numbers(lake, tmp_path):
    path = write(tmp_path / "r.jsonl", [record(1, sequence_id="²"), record(1, sequence_id="9" * 5000)])
    summary, _ = ingest(lake, "results", {"path": (path,)})
    assert not summary.failed
    assert len(rows(lake, "from stored.sequences where external_id = '²'")) == 1


def test_folders_tell_what_the_rows_do_not(lake, tmp_path):
    root = tmp_path / "out"
    for i, model in enumerate(("pythia-160m", "pythia-1b")):
        for j, domain in enumerate(("github", "c++")):
            folder = root / f"model={model}" / f"domain={domain.replace('+', '%2B')}" / "n_tokens=12"
            folder.mkdir(parents=True)
            asked = ("corpus", "sequence_id", "match")
            table = {k: [record(10 * j + i)[k], record(10 * j + 5)[k]] for k in asked}
            pq.write_table(pa.table(table | {"domain": [domain if i else None] * 2}), folder / "0.PARQUET")
    (root / "._0.parquet").write_bytes(b"of a Mac")
    (root / "again.parquet").symlink_to(root / "model=pythia-1b/domain=github/n_tokens=12/0.PARQUET")
    _, said = ingest(lake, "results", {"path": (str(root),)})
    assert said[1:] == [f"not read below {root}: 1 hidden, 1 linked to what is read already"]
    found = rows(lake, "select model, domain, n_tokens, count(*)::int from stored.matches group by all order by all")
    assert found == [(m, d, 12, 2) for m in ("pythia-160m", "pythia-1b") for d in ("c++", "github")]
    for alone in ("model=pythia-1b/domain=github", "model=pythia-160m/domain=github/n_tokens=12/0.PARQUET"):
        again, _ = ingest(lake, "results", {"path": (str(root / alone),)})  # of some columns the folders above tell
        assert again.skipped == 1 and again.failed == []
    assert rows(lake, "select count(*)::int from stored.matches") == [(8,)]


def test_a_folder_that_contradicts_the_type_of_a_column_is_one_clear_line(lake, tmp_path):
    folder = tmp_path / "n_tokens=twelve"
    folder.mkdir()
    (folder / "a.jsonl").write_text(json.dumps(record(1)))
    with pytest.raises(BadInput, match="in the folder n_tokens=twelve, n_tokens is not int64"):
        ingest(lake, "results", {"path": (str(tmp_path),)})
