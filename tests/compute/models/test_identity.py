"""Which checkpoint is it: what makes it another one, what does not, and lakes that knew only its weights."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from deltalake import DeltaTable, write_deltalake
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import memlake
from memlake.compute.families import parts
from memlake.compute.models import weights
from memlake.compute.models.checkpoint import register_model
from memlake.compute.models.identity import changes, identify
from memlake.compute.planning.request import Request
from memlake.compute.run import execute, plan
from memlake.tests.compute.small_lake import ROWS, make, said, save
from memlake.tests.compute.tiny import FAMILIES
from memlake.warehouse.errors import BadInput, Conflict
from memlake.warehouse.identity import tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import resolve
from memlake.warehouse.publishing.check import check
from memlake.warehouse.publishing.forget import forget

LATER = {"checkpoint_digest", "config", "architecture"}


@pytest.fixture
def scored(tmp_path, monkeypatch) -> tuple[Lake, Request, Path]:
    """A lake with half of a tiny checkpoint's scores, the request for all, and the checkpoint's folder."""
    model = save(tmp_path / "tiny")
    lake, *_ = make(tmp_path / "lake", model, tmp_path / "tiny")
    request = Request(models=(str(tmp_path / "tiny"),), corpora=("mine",), device="cpu")
    before = replace(request, limit=ROWS // 2)
    assert len(execute(lake, "scoring", before).done) == 1
    return lake, request, tmp_path / "tiny"


def edit(path: Path, **entries: object) -> None:
    """Change entries of a JSON file; None takes one out."""
    found = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def ask(lake: Lake, sql: str) -> list[tuple]:
    with lake.connect() as con:
        return con.sql(sql).fetchall()


@pytest.mark.parametrize("experiment", ["scoring", "layer_tokens"])
def test_a_corrected_config_is_another_checkpoint(scored, experiment):
    lake, request, folder = scored
    edit(folder / "config.json", use_parallel_residual=False, rope_parameters={"rope_type": "default", "rope_theta": 5})
    message = (
        r"another config \(rope_parameters was .*, use_parallel_residual was True, now False\).* forget --model tiny"
    )
    with pytest.raises(Conflict, match=message) as error:
        execute(lake, experiment, request)
    assert "\n" not in str(error.value)
    forget(lake, model="tiny")
    before = ask(lake, "select distinct cell from stored.cells where experiment = 'scoring'")
    execute(lake, "scoring", replace(request, limit=ROWS // 2))
    after = ask(lake, "select cell from stored.matches where model = 'tiny'")
    assert after and not set(before) & set(after)


def test_what_decides_no_row_makes_no_other_checkpoint(scored):
    lake, request, folder = scored
    edit(
        folder / "config.json",
        **{"transformers_version": "4.0.0", "torch_dtype": "float16", "_name_or_path": "elsewhere", "use_cache": False},
        **{
            "temperature": 0.5,
            "max_length": 7,
            "eos_token_id": 9,
            "architectures": ["Other"],
            "attention_dropout": 0.5,
        },
        attention_bias=None,  # true by default, and stated so far
        id2label={"0": "LABEL"},
    )
    summary = execute(lake, "scoring", request)
    assert (len(summary.done), summary.skipped) == (1, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_default_left_out_is_a_default_stated(tmp_path, family):
    config = save(tmp_path / "m", family).config
    spec = resolve(str(tmp_path / "m"))
    before = identify(spec)
    default = type(config)().to_dict()
    stated = json.loads((tmp_path / "m" / "config.json").read_text())
    same = {key for key, value in stated.items() if key in default and default[key] == value and key != "model_type"}
    assert same
    edit(tmp_path / "m" / "config.json", **dict.fromkeys(same))
    assert identify(spec).checkpoint_digest == before.checkpoint_digest
    assert before.architecture == config.model_type
    edit(tmp_path / "m" / "config.json", vocab_size=98)
    assert identify(spec).checkpoint_digest != before.checkpoint_digest


@pytest.mark.parametrize(
    "entries",
    [
        {"is_decoder": True, "add_cross_attention": False, "tie_encoder_decoder": False, "chunk_size_feed_forward": 0},
        {"pruned_heads": {}, "unk_token_id": 3},
        {"rope_parameters": None, "rope_theta": 9.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
    ],
)
def test_what_other_versions_of_transformers_write_is_the_same(tmp_path, entries):
    save(tmp_path / "m", "open_llama")
    spec, config = resolve(str(tmp_path / "m")), tmp_path / "m" / "config.json"
    linear = {"rope_type": "linear", "factor": 4.0, "rope_theta": 9.0}
    edit(config, rope_parameters=linear)
    before = identify(spec)
    edit(config, **entries)
    after = identify(spec)
    assert (after.checkpoint_digest, changes(before.config, after.config, None)) == (before.checkpoint_digest, [])


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_of_defaults_are_no_warning(tmp_path, family, monkeypatch, caplog):
    """The defaults of some are beyond the 97 tokens of the vocabulary."""
    save(tmp_path / "m", family)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("transformers"), "level", logging.WARNING)
    identify(resolve(str(tmp_path / "m")))
    assert not caplog.records


def test_null_is_as_none(tmp_path):
    save(tmp_path / "m")
    spec, config = resolve(str(tmp_path / "m")), tmp_path / "m" / "config.json"
    before = identify(spec).checkpoint_digest
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": None, "of_a_fork": None}))
    assert identify(spec).checkpoint_digest == before


def test_another_version_of_our_code_is_another_checkpoint(scored, monkeypatch):
    lake, request, _ = scored
    later = vars(parts("pythia")) | {"version": 2}
    monkeypatch.setattr("memlake.compute.models.identity.parts", lambda family: type(parts("pythia"))(**later))
    with pytest.raises(Conflict, match="memlake's code for it was 1, now 2"):
        plan(lake, "scoring", request)


def test_equal_weights_under_two_names_and_configs_are_two_models(scored):
    lake, request, folder = scored
    shutil.copytree(folder, folder.parent / "other")
    edit(folder.parent / "other" / "config.json", use_parallel_residual=False)
    assert execute(lake, "scoring", replace(request, models=(*request.models, str(folder.parent / "other"))))
    sums = dict(ask(lake, "select model, sum(sum_logprob) from stored.matches group by all"))
    assert abs(sums["tiny"] - sums["other"]) > 1
    with torch.inference_mode():  # what transformers makes of either
        rows = ask(lake, "select model, tokens, m.prefix_tokens, sum_logprob from stored.matches m"
                         " join stored.sequences using (sequence_id) order by rank limit 4")  # fmt: skip
        for name, tokens, prefix, found in rows:
            model = AutoModelForCausalLM.from_pretrained(folder.parent / name)
            logits = model(torch.tensor([tokens])).logits[0, prefix - 1 : -1].log_softmax(-1)
            want = logits.gather(-1, torch.tensor(tokens[prefix:])[:, None]).sum().item()
            assert found == pytest.approx(want, abs=1e-3)
    assert {name for name, *_ in rows} == {"tiny", "other"}


def test_files_that_change_between_planning_and_work(scored):
    lake, request, folder = scored
    (*_, cell), _ = plan(lake, "scoring", request)
    tensors = load_file(folder / "model.safetensors")
    cell.load(lake)
    edit(folder / "config.json", use_parallel_residual=False)
    cell.load(lake)  # it is in memory, as it was planned
    eager = replace(cell.subject.condition, attention="eager")
    other = replace(cell, subject=replace(cell.subject, condition=eager))
    with pytest.raises(Conflict, match="another config"):
        other.load(lake)
    edit(folder / "config.json", use_parallel_residual=True)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(Conflict, match="with another weights"):
        other.load(lake)


def test_the_digest_of_a_file_is_that_of_the_file_of_now(tmp_path):
    save(tmp_path / "m")
    files = weights.fetch(resolve(str(tmp_path / "m"))).weights
    before = weights.digest(files)
    save(tmp_path / "m", seed=1)
    assert weights.digest(files) != before


def test_another_tokenizer_is_another_checkpoint(scored):
    lake, request, folder = scored
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"w96"', '"other"'))
    with pytest.raises(Conflict, match="with another tokenizer: give the new one another name"):
        execute(lake, "scoring", request)


def test_another_bos_token_matters_where_the_condition_has_one(tmp_path, monkeypatch):
    model = save(tmp_path / "tiny")
    special = tmp_path / "tiny" / "tokenizer_config.json"
    special.write_text(json.dumps({"bos_token": "w0", "eos_token": "w1"}))
    lake, *_ = make(tmp_path / "lake", model, tmp_path / "tiny")
    request = Request(models=(str(tmp_path / "tiny"),), corpora=("mine",), device="cpu")
    assert execute(lake, "scoring", request).done
    special.write_text(json.dumps({"bos_token": "w1", "eos_token": "w0"}))
    assert execute(lake, "scoring", request).skipped == 1
    with pytest.raises(Conflict, match="BOS token was 0, now 1"):
        plan(lake, "scoring", replace(request, bos=True))


def older(lake: Lake, model: str) -> None:
    """Make `models` what it was before it had `LATER`, log and file."""
    table = DeltaTable(str(lake.path / "models"))
    rows = table.to_pyarrow_table()
    version = table.transaction_version(f'["{model}"]')
    write_deltalake(table, rows.drop_columns(sorted(LATER)), mode="overwrite", schema_mode="overwrite")
    assert DeltaTable(str(lake.path / "models")).transaction_version(f'["{model}"]') == version == 1
    assert not LATER & {field.name for field in DeltaTable(str(lake.path / "models")).schema().fields}


def test_a_lake_that_knew_weights_only(tmp_path, monkeypatch, capsys):
    model = save(tmp_path / "tiny")
    lake, *_ = make(tmp_path / "lake", model, tmp_path / "tiny")
    request = Request(models=(str(tmp_path / "tiny"),), corpora=("mine",), device="cpu")
    register_model(lake, resolve(str(tmp_path / "tiny")))
    older(lake, "tiny")
    lake = Lake.open(tmp_path / "lake")
    opened = memlake.open(tmp_path / "lake")  # reading does not write
    assert opened.sql("select config, architecture from models").to_pandas().isna().all().all()
    assert opened.dask("models")["config"].compute().isna().all()
    assert execute(lake, "scoring", replace(request, limit=5)).done
    line = "tiny: registered before memlake recorded configs, .* take the old rows back with .* forget --model tiny"
    assert re.search(line, capsys.readouterr().err)
    ((cell, settings),) = ask(lake, "select cell, settings from stored.cells where experiment = 'scoring'")
    settings = json.loads(settings)
    assert settings["weights_digest"] == ask(lake, "select weights_digest from stored.models")[0][0]
    assert "checkpoint_digest" not in settings  # the id of an old lake
    assert cell == tagged("c1", {"experiment": "scoring", "version": 1, "settings": settings})
    summary = execute(lake, "scoring", request)
    assert (len(summary.done), summary.skipped) == (1, 1)
    assert said(capsys) == []  # once
    assert list(check(lake)) == []
    edit(tmp_path / "tiny" / "config.json", use_parallel_residual=False)
    with pytest.raises(Conflict, match="use_parallel_residual was True, now False"):
        execute(lake, "scoring", request)


def test_a_config_that_is_none_is_one_line(scored):
    lake, request, folder = scored
    (folder / "config.json").write_text('{"model_type": "gpt_neox", "hidden_size": "wide"}')
    with pytest.raises(BadInput, match="is no config of pythia"):
        plan(lake, "scoring", request)
