"""The demo is a study: which models it trains and measures, and on what."""

from __future__ import annotations

import pytest

from memlake import demo
from memlake.compute.miniatures.models import FAMILIES
from memlake.studies.steps import Counting, Cut, Ingest, Measuring, Report, Show, Train, steps
from memlake.studies.study import find, read
from memlake.studies.subjects import subjects
from memlake.tests.small import made_cell, put_cell
from memlake.warehouse.errors import Conflict
from memlake.warehouse.lake import Lake

TEXT, HELD_OUT, SHOWN = "python_environment", "python_environment_held_out", "python_environment_shown"
LARGEST = {"pythia": "1m", "gpt_neo": "1m", "starcoder": "1m"}  # of the others 300k
WHOLE = {f"mini-{family}-{size}" for family, made_of in FAMILIES.items() for size in made_of.sizes}
CONTROL = "mini-pythia-100k-control"


@pytest.mark.parametrize(
    ("name", "models", "inside", "anchors", "held_out"),
    [
        ("demo", WHOLE, {f"mini-{family}-{LARGEST.get(family, '300k')}" for family in FAMILIES}, 100, 250),
        (
            "demo-quick",
            {f"mini-{family}-{size}" for family in ("pythia", "open_llama") for size in ("100k", "300k")},
            {"mini-pythia-300k", "mini-open_llama-300k"},
            *(70, 125),
        ),
    ],
)
def test_what_the_demos_do(tmp_path, name, models, inside, anchors, held_out):
    lake, study = Lake.create(tmp_path / "lake"), read(find(name))
    found = list(steps(study, subjects(lake, study)))
    kinds = [type(step) for step in found]
    assert kinds == [Ingest, Ingest, Cut, Cut, Train, Measuring, Show, Counting, Counting, *5 * [Measuring], Report]
    cuts = {step.corpus: step for step in found if isinstance(step, Cut)}
    assert {corpus: cut.sample.per_domain for corpus, cut in cuts.items()} == {TEXT: anchors, HELD_OUT: held_out}
    assert all({s.name for s in cut.subjects} == models | {CONTROL} for cut in cuts.values())
    measured = {
        step.name: {s.name: s.measured(step.measure) for s in step.subjects}
        for step in found
        if isinstance(step, Measuring)
    }
    assert measured.pop("scoring") == dict.fromkeys(models, (TEXT, HELD_OUT)) | {CONTROL: (TEXT,)}
    assert measured.pop("head_ablation") == dict.fromkeys(models, (TEXT,))
    assert measured.pop("short_circuit") == dict.fromkeys(inside, (TEXT, HELD_OUT))
    assert set(measured) == {"prompt_compression", "noise", "layer_tokens"}
    assert all(on == dict.fromkeys(inside, (TEXT,)) for on in measured.values())
    assert [step.about for step in found if isinstance(step, Counting)] == [TEXT, f"{TEXT} in {SHOWN}"]


def test_a_lake_holds_one_of_the_two(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    sampled = {"corpus": TEXT, "domain": "d", "tokenizer": "t", "sample": "s", "first_rank": 0, "last_rank": 99}
    assert put_cell(lake, made_cell("sample", sampled | {"rule": {}}), {}) is None
    trained = {"model": "m", "family": "f", "size": "1m", "corpus": TEXT, "tokenizer_digest": "t", "sampled": "s"}
    assert put_cell(lake, made_cell("miniature", trained | {"levels": [1], "seed": 0}), {}) is None
    with pytest.raises(Conflict, match="holds the other demo"):
        demo.run(lake.path, quick=True)
