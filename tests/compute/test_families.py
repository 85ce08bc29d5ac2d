"""Training lines and base conditions: what a model's own say, what a user says, and what follows from either."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import memlake
from memlake.compute.planning.request import Request
from memlake.compute.run import execute, plan, planned
from memlake.tests.compute.models.test_identity import ask, older
from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.publishing.check import check

from .small_lake import ROWS, make, said, save


@pytest.fixture
def own(tmp_path, monkeypatch) -> tuple[Lake, Request, Path]:
    """A lake with the windows of a tiny Llama that says nothing of itself, the request for it, and its folder."""
    model = save(tmp_path / "tiny", "open_llama", miniature=False)
    lake, *_ = make(tmp_path / "lake", model, tmp_path / "tiny")
    return lake, Request(models=(str(tmp_path / "tiny"),), corpora=("mine",), device="cpu", role="trained"), tmp_path


def test_a_checkpoint_is_of_its_own_family_with_its_architecture_beside_it(own, capsys):
    lake, request, folder = own
    for name in ("b", "c"):
        shutil.copytree(folder / "tiny", folder / name)
    assert execute(lake, "scoring", request).done
    assert execute(lake, "scoring", replace(request, models=(str(folder / "b"),), family="mine")).done
    (folder / "c" / "memlake.json").write_text(json.dumps({"family": "said"}))
    assert execute(lake, "scoring", replace(request, models=(str(folder / "c"),))).done
    rows = "select model, family, architecture from stored.models order by all"
    assert ask(lake, rows) == [("b", "mine", "llama"), ("c", "said", "llama"), ("tiny", "tiny", "llama")]
    lines = memlake.open(lake.path).query("scaling_law").to_pandas()
    assert set(lines["family"]) == {"mine", "said", "tiny"} and set(lines["note"]) == {"too few"}
    capsys.readouterr()
    assert execute(lake, "scoring", replace(request, family="mine")).skipped == 1
    assert capsys.readouterr().err == "tiny: of the family 'mine' from now on (was 'tiny')\n"
    assert ask(lake, rows)[-1] == ("tiny", "mine", "llama")
    assert execute(lake, "scoring", request).skipped == 1  # and stays so
    assert ask(lake, rows)[-1] == ("tiny", "mine", "llama")
    assert list(check(lake)) == []


def test_the_family_of_a_lake_that_took_it_for_the_architecture(own, capsys):
    lake, request, _ = own
    execute(lake, "scoring", replace(request, family="open_llama"))
    older(lake, "tiny")
    capsys.readouterr()
    execute(Lake.open(lake.path), "scoring", request)
    assert "tiny: of the family 'tiny' from now on (was 'open_llama')" in capsys.readouterr().err


def test_the_registrys_family_is_not_the_users_to_say(own, monkeypatch):
    lake, request, folder = own
    known = ModelSpec("tiny", str(folder / "tiny"), "open_llama", is_folder=True)
    monkeypatch.setattr("memlake.compute.run.models", lambda: {"tiny": known})
    with pytest.raises(Conflict, match="the registry knows tiny as open_llama: leave --family out"):
        plan(lake, "scoring", replace(request, family="mine"))


def test_bos_as_in_training_unless_the_user_says_otherwise(own):
    lake, request, folder = own
    (folder / "tiny" / "memlake.json").write_text(json.dumps({"bos": True}))
    conditions = {bos: planned(lake, "scoring", replace(request, bos=bos))["condition"][0].as_py()
                  for bos in (None, True, False)}  # fmt: skip
    assert conditions == {None: "float32-sdpa-bos", True: "float32-sdpa-bos", False: "float32-sdpa"}
    execute(lake, "scoring", request)
    assert ask(lake, "select base_condition from stored.models") == [("float32-sdpa-bos",)]
    # An older lake took no BOS for granted: it stays as it is, whatever is known since.
    (folder / "tiny" / "memlake.json").unlink()
    assert execute(lake, "scoring", request).skipped == 1


def test_another_condition_becomes_the_base(own, capsys):
    lake, request, _ = own
    execute(lake, "scoring", request)
    plain = ask(lake, "select sum(sum_logprob) from stored.matches")[0][0]
    memorized = memlake.open(lake.path).query("memorization_rate").to_pandas()["memorized"].sum()
    assert memorized > 0  # and with BOS, which the windows were not made with, less
    capsys.readouterr()
    with_bos = replace(request, bos=True)
    assert execute(lake, "scoring", with_bos, base=True).done
    assert said(capsys) == [
        "tiny: its base condition is 'float32-sdpa-bos' from now on (was float32-sdpa), so findings use rows of that;"
        " the others stay (scores stand in `matches_all`)"
    ]
    opened = memlake.open(lake.path)
    assert set(opened.table("matches").to_pandas()["condition"]) == {"float32-sdpa-bos"}
    assert len(opened.table("matches_all").to_pandas()) == 2 * ROWS
    sums = ask(lake, "select condition, sum(sum_logprob) from stored.matches group by all order by all")
    assert sums[0] == ("float32-sdpa", pytest.approx(plain)) and abs(sums[1][1] - plain) > 1
    assert opened.query("memorization_rate").to_pandas()["memorized"].sum() != memorized
    assert execute(lake, "scoring", request).skipped == 1  # what nothing is said of is as in the base condition
    assert execute(lake, "layer_tokens", replace(request, options={"among": "all"})).done
    assert ask(lake, "select distinct condition from stored.layer_tokens") == [("float32-sdpa-bos",)]
    assert list(check(lake)) == []
    assert len(Lake.open(lake.path).files("models")) == 1
    assert execute(lake, "scoring", replace(request, bos=False), base=True).skipped == 1
    assert ask(lake, "select base_condition from stored.models") == [("float32-sdpa",)]


def test_a_dtype_that_the_config_does_not_say_is_said(own, capsys):
    lake, request, folder = own
    path = folder / "tiny" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "bfloat16", "torch_dtype": "bfloat16"}))
    line = "tiny: its weights are float32, its config.json says bfloat16: its base condition is float32, as stored"
    execute(lake, "scoring", request)
    assert line in capsys.readouterr().err
    assert ask(lake, "select distinct condition from stored.matches") == [("float32-sdpa",)]
    execute(lake, "scoring", replace(request, dtype="bfloat16"), base=True)
    assert line not in capsys.readouterr().err
    assert execute(lake, "scoring", request).skipped == 1
    assert ask(lake, "select base_condition from stored.models") == [("bfloat16-sdpa",)]


def test_a_run_that_fails_leaves_the_base_condition(own):
    lake, request, folder = own
    execute(lake, "scoring", request)
    path = folder / "tiny" / "tokenizer_config.json"
    path.write_text("{}")  # no BOS token any more
    with pytest.raises((Conflict, BadInput)):
        execute(lake, "scoring", replace(request, bos=True), base=True)
    assert ask(lake, "select base_condition from stored.models") == [("float32-sdpa",)]
