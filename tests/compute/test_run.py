"""From a request to published rows, and what a user is told when it cannot be."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from math import inf, nan

import pytest

from memlake.compute.planning.coverage import gaps
from memlake.compute.planning.request import Request
from memlake.compute.planning.settings import RangeSettings
from memlake.compute.run import _scaled, estimated, execute, plan, planned
from memlake.ingest.run import ingest
from memlake.tests.small import made_cell
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import resolve
from memlake.warehouse.models.tokenizer import load_tokenizer, register_tokenizer
from memlake.warehouse.work.runner import run_cells

from .small_lake import BYTES, ROWS, make, said, save
from .tiny import windows


def covered(*ranges: tuple[int, int]) -> list[RangeSettings]:
    place = {"model": "m", "tokenizer_digest": "t", "condition": "c", "corpus": "c", "domain": "d", "sample": "s"}
    return [RangeSettings(**place, first_rank=first, last_rank=last) for first, last in ranges]


@pytest.mark.parametrize(
    ("ranks", "done", "expected"),
    [
        (range(5), [], [(0, 4, 5)]),
        (range(5), [(0, 4)], []),
        (range(10), [(0, 3)], [(4, 9, 6)]),
        (range(10), [(5, 6), (2, 3)], [(0, 1, 2), (4, 4, 1), (7, 9, 3)]),
        ([0, 2, 9, 11], [(1, 8)], [(0, 0, 1), (9, 11, 2)]),  # ranks too short for this tokenizer are missing
        ([0, 9], [(3, 5)], [(0, 0, 1), (9, 9, 1)]),
    ],
)
def test_gaps(ranks, done, expected):
    assert list(gaps(list(ranks), covered(*done))) == expected


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A lake in which the first 8 ranks were scored first, then all."""
    folder = tmp_path_factory.mktemp("road")
    model = save(folder / "tiny")
    lake, tokens, prefix, expected = make(folder / "lake", model, folder / "tiny")
    for limit in (8, None):
        summary = execute(lake, "scoring", request(folder, limit=limit), workers=1)
        assert len(summary.done) == 1
        assert not summary.failed
    assert summary.skipped == 1
    return folder, lake, tokens, prefix, expected


def request(folder, **kwargs) -> Request:
    return Request(**{"models": (str(folder / "tiny"),), "corpora": ("mine",), "device": "cpu", **kwargs})


def test_each_sequence_is_scored_once_and_right(road):
    _, lake, tokens, prefix, expected = road
    with lake.connect() as con:
        rows = (
            con.execute(
                "select rank, m.*, match::bit::varchar as bits"
                " from stored.matches m join stored.sequences using (sequence_id) order by rank"
            )
            .to_arrow_table()
            .to_pylist()
        )
    assert [row["rank"] for row in rows] == list(range(ROWS))
    for row, t, p, made in zip(rows, tokens, prefix, expected, strict=True):
        same = made == t[p:]
        assert row["generated"] == made.tolist()
        assert row["bits"][: len(made)] == "".join("01"[int(s)] for s in same)
        first = len(made) if same.all() else int((~same).argmax())
        assert (row["first_mismatch"], row["memorized"]) == (first, same.all())
        assert row["matched_bytes"] == BYTES * first
        assert row["score"] == same.mean()
    assert 0 < sum(row["memorized"] for row in rows) < ROWS
    assert {row["log_p_z"] is None for row in rows} == {True, False}


def test_the_plan_shows_what_is_done(road):
    folder, lake, *_ = road
    assert [(r["first_rank"], r["last_rank"], r["sequences"], r["state"]) for r in rows_of(lake, folder)] == [
        (0, 7, 8, "done"),
        (8, ROWS - 1, ROWS - 8, "done"),
    ]
    (other,) = rows_of(lake, folder, dtype="bfloat16", limit=5)
    assert (other["sequences"], other["state"], other["condition"]) == (5, "to do", "bfloat16-sdpa")
    assert {r["state"] for r in rows_of(lake, folder, options={"decoding": "forced"})} == {
        "done"
    }  # greedy rows hold more


def test_the_plan_says_what_is_to_be_done_costs(road, capsys):
    folder, lake, *_ = road
    capsys.readouterr()
    rows = rows_of(lake, folder)
    assert [row["rows"] for row in rows] == [8, ROWS - 8]
    assert said(capsys) == ["nothing to do"]
    assert estimated(lake, "scoring", request(folder)).num_rows == 0
    assert said(capsys) == ["nothing to do"]
    planned(lake, "scoring", request(folder, bos=True, flops=3e14))
    assert ", less than 0.1 seconds of one process" in said(capsys)[0]
    other = request(folder, bos=True, flops=1e6)
    hours = ROWS * 64 * 2 * 23_360 * 2 / 1e6 / 3600  # tokens, operations a parameter, parameters, forwards
    (row,) = estimated(lake, "scoring", other).to_pylist()
    assert row.pop("bytes") > 20 * ROWS
    expected = {"model": "tiny", "cells": 1, "sequences": ROWS, "rows": ROWS, "rate": "on paper, 1e+06 FLOP/s"}
    assert row == {**expected, "hours": pytest.approx(hours)}
    assert planned(lake, "scoring", other)["rows"].to_pylist() == [ROWS]
    (line,) = said(capsys)
    assert re.fullmatch(
        r"to do: 1 cell, 20 sequences, 20 rows, \S+ (bytes|kB), about 2 minutes of one process"
        r" \(on paper, 1e\+06 FLOP/s\)",
        line,
    )


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 s"), (0.4, "0.4 s"), (12, "12 s"), (99.6, "1.7 min"), (600, "10 min"), (6001, "100 min")],
)
def test_a_number_is_told_in_its_unit(number, said):
    assert _scaled(number, {"s": 1, "min": 60}) == said


def rows_of(lake, folder, **kwargs) -> list[dict]:
    return planned(lake, "scoring", request(folder, **kwargs)).to_pylist()


def test_the_model_is_described(road):
    folder, lake, *_ = road
    with lake.connect() as con:
        (model,) = con.execute("select model, family, miniature, base_condition from stored.models").fetchall()
        assert model == ("tiny", "pythia", True, "float32-sdpa")
        assert con.execute("from stored.model_corpora").fetchall() == [("tiny", "mine", "trained")]
    assert plan(lake, "scoring", request(folder, models=("tiny",)))[1] == set()  # its name in the lake will do


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"models": ("tinny",)}, UnknownName, "did you mean 'tiny'"),
        ({"corpora": ("mein",)}, UnknownName, "did you mean 'mine'"),
        ({"domains": ("cod",)}, UnknownName, "did you mean 'code'"),
        ({"options": {"decoding": "beam"}}, BadInput, "no --decoding .beam.: it is forced or greedy"),
        ({"options": {"strength": (0.1,)}}, BadInput, "takes no --strength .it takes: --decoding"),
        ({"device": "tpu"}, BadInput, "auto, cpu or cuda"),
        ({"cell_minutes": 0.0}, BadInput, "no --cell-minutes 0: it is a positive number"),
        ({"cell_minutes": nan}, BadInput, "no --cell-minutes nan: it is a positive number"),
        ({"flops": -1.0}, BadInput, "no --flops -1: it is a number, at least 1"),
        ({"flops": inf}, BadInput, "no --flops inf: it is a number, at least 1"),
        ({"flops": 1e-300}, BadInput, "no --flops 1e-300: it is a number, at least 1"),
        ({"attention": "flash"}, BadInput, "sdpa, eager"),
        ({"role": "twin"}, BadInput, "no role 'twin': it is trained or control"),
        ({"role": "control"}, Conflict, "the lake knows tiny as trained on mine: leave --role control out, or take"),
    ],
)
def test_what_a_user_can_mend(road, options, error, message):
    folder, lake, *_ = road
    with pytest.raises(error, match=message) as raised:
        plan(lake, "scoring", request(folder, **options))
    assert "\n" not in str(raised.value)


def test_an_unknown_experiment(road):
    folder, lake, *_ = road
    with pytest.raises(UnknownName, match="did you mean 'scoring'"):
        plan(lake, "scorin", request(folder))


def test_no_sequences_of_its_tokenizer(road, tmp_path):
    folder, lake, *_ = road
    shutil.copytree(folder / "tiny", tmp_path / "foreign")
    path = tmp_path / "foreign" / "tokenizer.json"
    path.write_text(path.read_text().replace('"w1"', '"other"'))
    message = "mine has no sequences under the tokenizer of .*foreign to measure it on: run `memlake ingest sample"
    with pytest.raises(BadInput, match=f"{message} --corpus mine --model .*foreign` first"):
        plan(lake, "scoring", request(folder, models=(str(tmp_path / "foreign"),)))


@pytest.mark.parametrize(("last", "why"), [(-1, "have no place to begin"), (4, "all 5 anchors were lost")])
def test_a_sample_without_a_sequence(road, tmp_path, last, why):
    """It is not asked for again."""
    folder, lake, *_ = road
    shutil.copytree(lake.path, tmp_path / "lake")
    lake = Lake.open(tmp_path / "lake")
    path = shutil.copytree(folder / "tiny", tmp_path / "foreign") / "tokenizer.json"
    path.write_text(path.read_text().replace('"w1"', '"other"'))
    name = register_tokenizer(lake, load_tokenizer(resolve(str(tmp_path / "foreign"))))
    place = {"corpus": "mine", "domain": "code", "tokenizer": name, "first_rank": 0, "last_rank": last}
    assert run_cells(lake, [made_cell("sample", place | {"sample": "s", "rule": {}})]).done
    with pytest.raises(BadInput, match=f"no sequences under .*: it was sampled under it, but .*{why}") as raised:
        plan(lake, "scoring", request(folder, models=(str(tmp_path / "foreign"),)))
    assert "\n" not in str(raised.value) and "first" not in str(raised.value)


def test_other_weights_under_the_same_name(road, tmp_path):
    _, lake, *_ = road
    save(tmp_path / "tiny", seed=1)
    with pytest.raises(Conflict, match="with another weights"):
        plan(lake, "scoring", request(tmp_path))


def test_a_domain_that_was_not_sampled(road, monkeypatch):
    folder, lake, *_ = road
    monkeypatch.setattr("memlake.compute.run._check_places", lambda *_: None)  # there are documents of it
    message = r"mine \(no prose\) has no .*sample --corpus mine --domain 'no prose' --model .*tiny`"
    with pytest.raises(BadInput, match=message):
        plan(lake, "scoring", request(folder, domains=("no prose",)))
    assert len(plan(lake, "scoring", request(folder, domains=("code", "no prose")))[0]) == 2


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A checkpoint `tiny`, and a function that makes a lake of results of it that were made elsewhere."""
    model = save(tmp_path / "tiny")

    def results(*columns: str) -> Lake:
        records = []
        for i, (t, p, made) in enumerate(zip(*windows(model, 8, (8, 16), (12, 20)), strict=True)):
            row = {"sequence_id": i, "model": "tiny", "corpus": "mine", "domain": "code", "tokenizer": "words"}
            row |= {"match": (made == t[p:]).tolist(), "n_tokens": len(made)}
            given = {"tokens": t.tolist(), "prefix_tokens": int(p)}
            records.append(row | {name: given[name] for name in columns})
        path = tmp_path / "results.jsonl"
        path.write_text("\n".join(map(json.dumps, records)))
        lake = Lake.create(tmp_path / "lake")
        summary, _ = ingest(lake, "results", {"path": (str(path),), "family": "pythia", "params": 7})
        assert len(summary.done) == 2
        return lake

    return results


def test_a_checkpoint_takes_the_place_of_its_imported_results(imported, tmp_path):
    lake = imported("tokens", "prefix_tokens")
    assert len(execute(lake, "scoring", request(tmp_path)).done) == 1
    with lake.connect() as con:
        (model,) = con.execute("from stored.models").to_arrow_table().to_pylist()
        verified = con.execute(
            "select a.match = b.match from stored.matches a join stored.matches b using (sequence_id)"
            " where a.condition = 'imported' and b.condition = 'float32-sdpa'"
        ).fetchall()
    assert (model["nominal_params"], model["base_condition"], model["tokenizer"]) == (7, "float32-sdpa", "words")
    assert model["weights_digest"].startswith("sha256:")
    assert verified == [(True,)] * 8
    assert execute(lake, "scoring", request(tmp_path)).skipped == 1


def test_imported_results_without_tokens(imported, tmp_path):
    with pytest.raises(BadInput, match=r"mine has no sequences .* imported without its tokens, and there are no doc"):
        execute(imported(), "scoring", request(tmp_path))


def roles(lake) -> list[tuple]:
    with lake.connect() as con:
        return con.execute("from stored.model_corpora order by all").fetchall()


def named(folder, monkeypatch, corpus: str, corpora: list[str] | None):
    """A checkpoint, a lake of its windows in `corpus`, and a request; corpora: what its memlake.json says, if it says
    anything."""
    model = save(folder / "tiny", miniature=corpora is not None)
    if corpora is not None:
        (folder / "tiny" / "memlake.json").write_text(json.dumps({"corpora": corpora, "tokenizer": "words"}))
    lake, *_ = make(folder / "lake", model, folder / "tiny", corpus)
    return lake, request(folder, corpora=(corpus,), limit=4)


def test_a_control_is_known_where_the_registry_knows_the_corpus(tmp_path, monkeypatch, capsys):
    # It trained on c4, and some family of the registry on the pile: so it is a control of the pile.
    lake, asked = named(tmp_path, monkeypatch, "pile", ["c4"])
    with pytest.raises(Conflict, match=r"its memlake\.json knows tiny as control on pile: leave --role trained out$"):
        plan(lake, "scoring", replace(asked, role="trained"))
    assert roles(lake) == []
    assert execute(lake, "scoring", asked).done
    assert roles(lake) == [("tiny", "c4", "trained"), ("tiny", "pile", "control")]
    assert said(capsys) == []
    assert execute(lake, "scoring", replace(asked, role="control")).skipped == 1  # what is known may be said


@pytest.mark.parametrize(("corpus", "corpora"), [("pile", None), ("c4", ["mine"])])
def test_a_role_that_nothing_tells_is_the_users_to_say(tmp_path, monkeypatch, capsys, corpus, corpora):
    lake, asked = named(tmp_path, monkeypatch, corpus, corpora)
    assert execute(lake, "scoring", asked).done
    assert f"nothing tells whether it trained on {corpus}: say so with --role" in capsys.readouterr().err
    own = [("tiny", c, "trained") for c in corpora or ()]
    assert roles(lake) == own
    assert execute(lake, "scoring", replace(asked, role="control")).skipped == 1
    assert roles(lake) == sorted([*own, ("tiny", corpus, "control")])
    with pytest.raises(Conflict, match=f"the lake knows tiny as control on {corpus}"):
        execute(lake, "scoring", replace(asked, role="trained"))


def test_a_limit_does_not_shrink_a_finished_cell(road):
    folder, lake, *_ = road
    (row,) = rows_of(lake, folder, limit=3)
    assert (row["first_rank"], row["last_rank"], row["sequences"], row["state"]) == (0, 7, 8, "done")


def test_another_condition_says_where_its_rows_stand(road, capsys):
    folder, lake, *_ = road
    execute(lake, "scoring", request(folder))
    assert said(capsys) == []
    execute(lake, "scoring", request(folder, bos=True))
    assert said(capsys) == [
        "tiny: 'float32-sdpa-bos' is not its base condition (float32-sdpa),"
        " so findings use its rows only with -p condition=float32-sdpa-bos (scores stand in `matches_all`)"
    ]


def test_the_workers_of_a_scheduler_pick_the_device(road, monkeypatch):
    folder, lake, *_ = road
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("memlake.compute.run.run_cells", lambda lake, cells, **options: {c.device for c in cells})
    for asked in ("auto", "cpu", "cuda"):
        assert execute(lake, "scoring", request(folder, device=asked), scheduler="tcp://there:1") == {asked}
    with pytest.raises(BadInput, match="no CUDA device here"):
        execute(lake, "scoring", request(folder, device="cuda"))
    ((cell, *_), _) = plan(lake, "scoring", request(folder, device="auto"))
    assert cell.load(lake)[0].device.type == "cpu"
