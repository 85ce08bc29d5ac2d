"""Tasks of lm-eval: what it is given, and what is kept of what it gives."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from memlake.compute.engine.blocks import Blocks
from memlake.compute.experiments.short_circuit import TaskCell
from memlake.compute.interventions.lm_eval import _rows, _tokenizer, short_circuited
from memlake.compute.run import execute, plan, planned
from memlake.tests.compute.experiments.test_short_circuit import plain
from memlake.tests.compute.small_lake import save, scored
from memlake.tests.compute.tiny import checkpoint
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.models.registry import resolve
from memlake.warehouse.models.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    return scored(tmp_path_factory.mktemp("tasks"), "gpt_neo")


def test_text_is_tokenized_as_in_the_lake_with_a_bos_token_only_where_asked_for(tmp_path):
    save(tmp_path / "tiny")
    for bos, expected in (
        (False, [51, 5, 7]),
        (True, [0, 51, 5, 7]),
    ):  # 5 is the end of a sequence, and no prefix of 51
        own = _tokenizer(checkpoint("pythia", bos=bos), load_tokenizer(resolve(str(tmp_path / "tiny"))))
        assert own.encode("w51 w5 w7", add_special_tokens=bos) == expected


def test_generation_is_that_without_a_cache():
    """A cache is as long as the keys of its first block, of which a short-circuited block has none."""
    c = checkpoint("pythia")
    ids = torch.arange(1, 9)[None]
    expected = ids
    for _ in range(6):
        logits, _ = plain(c, expected, (0, 0))
        expected = torch.cat([expected, logits[:, -1:].argmax(-1)], dim=1)
    settings = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0, "use_cache": True}
    whole = c.model.generate(ids, **settings)
    with short_circuited(c, Blocks(c), (0, 0)):
        assert c.model.generate(ids, **settings).tolist() == expected.tolist() != whole.tolist()
    assert c.model.generate(ids, **settings).tolist() == whole.tolist()


def test_rows_of_what_lm_eval_gives():
    results = {
        "results": {
            "cloze": {"alias": "cloze", "acc,none": 0.25, "acc_stderr,none": 0.1, "exact_match,strict": 1},
            "both": {"alias": "both", "acc,none": 0.5, "acc_stderr,none": "N/A"},
        },
        "n-samples": {"cloze": {"original": 9, "effective": 8}, "quiz": {"original": 4, "effective": 4}},
        "group_subtasks": {"cloze": [], "both": ["cloze", "quiz"]},
    }
    assert list(_rows(results)) == [
        {"task": "cloze", "metric": "acc,none", "value": 0.25, "stderr": 0.1, "n": 8},
        {"task": "cloze", "metric": "exact_match,strict", "value": 1.0, "stderr": None, "n": 8},
        {"task": "both", "metric": "acc,none", "value": 0.5, "stderr": None, "n": 12},
    ]


def test_a_task_without_lm_eval(road, monkeypatch):
    lake, request = road
    monkeypatch.setattr("memlake.compute.interventions.lm_eval.find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"run `pip install 'memlake\[benchmarks\]'`") as raised:
        plan(lake, "short_circuit", replace(request, options={"task": ("hellaswag",)}))
    assert "\n" not in str(raised.value)


TASK = """
task: next_word
dataset_path: json
dataset_kwargs:
  data_files: {data}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: choices
doc_to_target: label
metric_list:
  - metric: acc
"""


def test_a_task_of_lm_eval_on_the_whole_model_and_on_every_block(road, tmp_path, monkeypatch):
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    lake, request = road
    rng = np.random.default_rng(0)
    examples = [
        {"context": " ".join(f"w{i}" for i in c), "choices": [f"w{i}" for i in two], "label": int(label)}
        for c, two, label in zip(
            rng.integers(1, 97, (25, 6)), rng.integers(1, 97, (25, 2)), rng.integers(0, 2, 25), strict=True
        )
    ]
    (tmp_path / "data.json").write_text("\n".join(map(json.dumps, examples)))
    task = tmp_path / "next_word.yaml"
    task.write_text(TASK.format(data=tmp_path / "data.json"))
    first = replace(request, options={"task": (str(task),), "blocks": ("0",)})
    summary = execute(lake, "short_circuit", first)
    assert not summary.failed, summary.failed
    both = replace(request, options={"task": (str(task),), "blocks": ("0", "1", "0-1")})
    cells, todo = plan(lake, "short_circuit", both)
    assert [c.settings.blocks for c in cells if c.id in todo and isinstance(c, TaskCell)] == [((0, 1), (1, 1))]
    summary = execute(lake, "short_circuit", replace(both, batch_size=7))
    assert not summary.failed, summary.failed
    (cell,) = [c for c in cells if c.id in todo and isinstance(c, TaskCell)]
    c, _ = cell.load(lake)
    with lake.connect() as con:
        got = con.execute(
            "select first_block, last_block, task, metric, value, n from stored.benchmark_scores"
        ).fetchall()
    expected = set()
    for cut in (None, (0, 0), (1, 1), (0, 1)):
        right = 0
        for example in examples:
            ids, options = ([int(w[1:]) for w in words] for words in (example["context"].split(), example["choices"]))
            logits, _ = plain(c, torch.tensor([ids]), cut)
            right += int(logits[0, -1, options].argmax()) == example["label"]
        expected.add((*(cut or (None, None)), "next_word", "acc,none", right / 25, 25))
    assert set(got) == expected
    assert len(got) == 4
    assert len({row[4] for row in got}) > 2
    assert plan(lake, "short_circuit", both)[1] == set()
    assert {r["state"] for r in planned(lake, "short_circuit", both).to_pylist()} == {"done"}
    with pytest.raises(UnknownName, match="did you mean 'hellaswag'"):
        plan(lake, "short_circuit", replace(request, options={"task": ("helaswag",)}))
    with pytest.raises(BadInput, match="no task file"):
        plan(lake, "short_circuit", replace(request, options={"task": (str(tmp_path / "none.yaml"),)}))
