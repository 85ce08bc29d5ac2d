"""Names of models, and tokenizers without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel

from memlake.tests.small import CONDITION, MODEL
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.models import hub
from memlake.warehouse.models.registry import families, find, models, resolve, role
from memlake.warehouse.models.tokenizer import load_same, load_tokenizer
from memlake.warehouse.publishing.register import register


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "mine"
    path.mkdir()
    (path / "config.json").write_text("{}")
    return path


def test_the_registry_holds_the_study():
    # 8 + 8 deduped pythias, each also as -v0, 3 gpt-neo, 3 open_llama, 3 starcoder, 2 + 4 + 2 olmo
    assert len(models()) == 49
    assert families() == ["gpt_neo", "olmo", "olmo2", "olmo3", "open_llama", "pythia", "starcoder"]
    assert len({m.location for m in models().values()}) == 49
    assert all(m.corpora and m.nominal_params and "/" in m.location for m in models().values())
    assert all(m.blocks and m.heads for m in models().values())
    assert {m.family for m in models().values() if m.bos} == {"open_llama"}
    assert resolve("pythia-12b-deduped-v0@step99000").location == "EleutherAI/pythia-12b-deduped-v0"
    assert all(m.bos is not None for m in models().values())


@pytest.mark.parametrize("text", ["pythia-160m", "EleutherAI/pythia-160m", "Pythia-160M"])
def test_a_model_by_name_or_hub_id(text):
    spec = resolve(text)
    assert (spec.name, spec.family, spec.nominal_params) == ("pythia-160m", "pythia", 160_000_000)
    assert spec.corpora == ("pile",)


def test_roles():
    pythia, stranger = resolve("pythia-160m@step1000"), resolve("someone/Some-Model")
    corpora = ("pile", "starcoderdata", "mine")
    assert [role(pythia, corpus) for corpus in corpora] == ["trained", "control", None]
    assert [role(stranger, corpus) for corpus in corpora] == [None, None, None]


def test_revisions_are_part_of_the_name():
    assert resolve("pythia-160m", revision="step1000") == resolve("pythia-160m@step1000")
    assert resolve("pythia-160m@step1000").name == "pythia-160m@step1000"


def test_a_hub_id_that_is_not_in_the_registry():
    spec = resolve("someone/Some-Model")
    assert (spec.name, spec.family, spec.location) == ("Some-Model", None, "someone/Some-Model")


def test_an_unknown_name_gives_the_near_one():
    with pytest.raises(UnknownName, match="did you mean 'pythia-1b'"):
        resolve("pythea-1b")


def test_a_folder_tells_about_itself(folder):
    assert (resolve(str(folder)).name, resolve(str(folder)).bos) == ("mine", None)
    about = {"family": "olmo", "corpora": ["c"], "bos": True, "miniature": True}
    (folder / "memlake.json").write_text(json.dumps(about))
    spec = resolve(str(folder))
    assert spec.bos
    assert (spec.family, spec.corpora, spec.miniature, spec.location) == ("olmo", ("c",), True, str(folder))


def test_folders_that_are_no_checkpoints(tmp_path):
    with pytest.raises(BadInput, match=r"has no config\.json"):
        resolve(str(tmp_path))
    with pytest.raises(BadInput, match="no folder"):
        resolve("./nowhere")


def test_the_digest_leaves_out_padding_and_truncation(folder):
    tokenizer = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer.save(str(folder / "tokenizer.json"))
    digest = load_tokenizer(resolve(str(folder))).digest
    tokenizer.enable_padding()
    tokenizer.enable_truncation(8)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert load_tokenizer(resolve(str(folder))).digest == digest
    Tokenizer(WordLevel({"a": 0, "c": 1}, unk_token="a")).save(str(folder / "tokenizer.json"))
    assert load_tokenizer(resolve(str(folder))).digest != digest
    with pytest.raises(Conflict, match="has changed since the work was planned: run it again"):
        load_same(resolve(str(folder)), digest)


@pytest.mark.parametrize("bos", ["b", {"content": "b", "lstrip": False}])
def test_bos(folder, bos):
    Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a")).save(str(folder / "tokenizer.json"))
    assert load_tokenizer(resolve(str(folder))).bos_id is None
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": bos}))
    assert load_tokenizer(resolve(str(folder))).bos_id == 1


def test_no_torch_not_even_for_an_old_tokenizer(folder):
    alphabet = {c: i for i, c in enumerate([*sorted(ByteLevel.alphabet()), "he"])}
    BPE(alphabet, [("h", "e")]).save(str(folder))  # vocab.json and merges.txt, as GPT-Neo has them
    code = (
        "import sys; from memlake.warehouse.models.registry import resolve;"
        "from memlake.warehouse.models.tokenizer import load_tokenizer;"
        f"t = load_tokenizer(resolve({str(folder)!r}));"
        "print(len(t.backend.encode('hehe').ids), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]


def test_no_tokenizer_is_one_line(folder):
    with pytest.raises(BadInput, match="holds no tokenizer"):
        load_tokenizer(resolve(str(folder)))


def test_no_network_is_one_line(monkeypatch):
    monkeypatch.setattr(hub, "_reachable", lambda: False)
    with pytest.raises(BadInput, match="no network to fetch someone/nothing") as error:
        load_tokenizer(resolve("someone/nothing"))
    assert "\n" not in str(error.value)


def test_a_folder_comes_before_a_model_of_the_lake(folder, tmp_path, monkeypatch):
    lake = Lake.create(tmp_path / "lake")
    other = tmp_path / "b" / "mine"
    shutil.copytree(folder, other)
    register(lake, "conditions", [CONDITION])
    register(
        lake, "models", [MODEL | {"model": "mine", "source": str(folder), "base_condition": CONDITION["condition"]}]
    )
    assert find(lake, "mine").location == str(folder)
    monkeypatch.chdir(other.parent)
    assert find(lake, "mine").location == str(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"corpora": "pile"}', "corpora is not a list"),
        ('{"corpora": [1]}', "corpora is not a list of names"),
        ('{"family": null}', "family is not a string"),
        ('{"miniature": "no"}', "miniature is not a boolean"),
        ('{"bos": 1}', "bos is not a boolean"),
    ],
)
def test_a_folder_that_tells_nonsense_about_itself(folder, text, message):
    (folder / "memlake.json").write_text(text)
    with pytest.raises(BadInput, match=rf"memlake\.json.* {message}"):
        resolve(str(folder))
