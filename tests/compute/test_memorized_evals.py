"""A released list of memorized sequences, verified again on the exact checkpoint, and short-circuited."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memlake.compute.planning.request import Request
from memlake.compute.run import execute
from memlake.ingest.run import ingest
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake

from .small_lake import save
from .tiny import LAYERS, VOCAB, windows

ROWS = 12


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """A lake with a list in the published layout, and the request; which of its sequences `generate` reproduces. One
    record in four is true, the others have one token that the checkpoint does not make, and the last is damaged."""
    model = save(tmp_path / "tiny")
    tokens, prefix, made = windows(model, ROWS, (32, 32), (32, 32))
    true = [bool((t[p:] == m).all()) for t, p, m in zip(tokens, prefix, made, strict=True)]
    assert {True, False} == set(true)
    rows = {"index": [10 + i for i in range(ROWS)], "tokens": [t.tolist() for t in tokens]}
    rows["index"].append(99)
    rows["tokens"].append([VOCAB, *rows["tokens"][0][1:]])
    path = tmp_path / "data" / "duped.1b-00000-of-00001-547b2b00c0f47827.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table(rows), path)
    lake = Lake.create(tmp_path / "lake")
    options = {"path": (str(path),), "model": str(tmp_path / "tiny"), "family": "pythia", "params": 7}

    def read() -> None:
        summary, _ = ingest(lake, "memorized_evals", options)
        assert not summary.failed, summary.failed

    request = Request(models=(str(tmp_path / "tiny"),), corpora=("memorized_evals",), device="cpu")
    return lake, request, read, {str(10 + i): yes for i, yes in enumerate(true)}


def ask(lake: Lake, sql: str) -> list[tuple]:
    with lake.connect() as con:
        return con.sql(sql).fetchall()


BOTH = """
    select external_id, a.memorized, b.memorized from stored.sequences
    join stored.matches a using (sequence_id) join stored.matches b using (sequence_id)
    where a.condition = 'imported' and b.condition = 'float32-sdpa'
"""


def test_a_list_is_verified_and_short_circuited(listed):
    lake, request, read, true = listed
    read()
    assert ask(lake, "select base_condition, tokenizer from stored.models") == [("imported", None)]
    assert ask(lake, "select reason from stored.rejects") == [(f"a token id is beyond the vocabulary ({VOCAB})",)]
    with pytest.raises(BadInput, match="not scored yet: run `memlake compute run scoring"):
        execute(lake, "short_circuit", request)
    assert len(execute(lake, "scoring", request).done) == 1
    assert ask(lake, "select base_condition, tokenizer from stored.models") == [("float32-sdpa", "words")]
    assert sorted(ask(lake, BOTH)) == [(i, True, yes) for i, yes in sorted(true.items())]
    role = "select role from stored.model_corpora where model = 'tiny' and corpus = 'memorized_evals'"
    assert ask(lake, role) == [("trained",)]

    assert execute(lake, "short_circuit", request).done
    deltas = ask(
        lake, "select external_id, first_block from stored.block_deltas join stored.sequences using (sequence_id)"
    )
    assert sorted(deltas) == [(i, block) for i, yes in sorted(true.items()) if yes for block in range(LAYERS)]


def test_a_list_of_a_model_that_was_measured_before(listed):
    lake, request, read, true = listed
    read()
    execute(lake, "scoring", request)
    lake_model = ask(lake, "from stored.models")
    read()  # nothing new
    assert execute(lake, "scoring", replace(request, role="trained")).skipped == 1
    assert ask(lake, "from stored.models") == lake_model
    assert np.mean([yes for *_, yes in ask(lake, BOTH)]) == np.mean(list(true.values()))
