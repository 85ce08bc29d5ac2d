"""Miniatures: their shapes and tokenizers, what training shows, and one training through the cells."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from memlake.compute.families import parts as names
from memlake.compute.miniatures import cells as miniatures
from memlake.compute.miniatures import models as parts
from memlake.compute.miniatures.training import AROUND, IGNORED, Shown, batches, train, window
from memlake.compute.models.checkpoint import load
from memlake.compute.models.conditions import Condition
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.identity import hash63
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import resolve
from memlake.warehouse.models.tokenizer import load_tokenizer
from memlake.warehouse.publishing.publish import commit
from memlake.warehouse.publishing.stage import Staging
from memlake.warehouse.work.cells import plan
from memlake.warehouse.work.runner import run_cells

EACH = [(family, size) for family, spec in parts.FAMILIES.items() for size in spec.sizes]
AWKWARD = "naïve 東京 🙂\r\n\t x <|endoftext|> <s></s> 3.14159 = 271828\n\n   it's don't\x00"
DOMAINS = {"code": 20, "c++ (old)": 7}
PREFIX, CONTINUATION = 6, 6


def source_text() -> list[str]:
    return [path.read_text() for path in sorted(Path("compute").glob("*.py"))]


@pytest.mark.parametrize(("family", "size"), EACH)
def test_architecture_and_size_are_what_the_name_says(family, size):
    config = parts.config(family, size, parts.FAMILIES[family].vocab_size, bos=0, eos=0)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    counted = sum(p.numel() for p in model.parameters())
    assert config.model_type == names(family).model_type
    assert counted == pytest.approx(parts.SIZES[size].params, rel=1 / 3)


def test_every_family_has_two_sizes_and_three_families_have_three():
    assert set(parts.FAMILIES) == {"pythia", "gpt_neo", "open_llama", "starcoder", "olmo", "olmo2", "olmo3"}
    assert all(len(spec.sizes) >= 2 for spec in parts.FAMILIES.values())
    assert sum(len(spec.sizes) >= 3 for spec in parts.FAMILIES.values()) >= 3


def test_tokenizers_are_lossless_differ_and_are_the_same_each_time():
    texts = source_text()
    backends = {family: parts.tokenizer(family, texts) for family in parts.FAMILIES}
    for family, backend in backends.items():
        spec = parts.FAMILIES[family]
        assert backend.get_vocab_size() == spec.vocab_size
        assert backend.to_str() == parts.tokenizer(family, texts).to_str()
        assert {backend.token_to_id(t) for t in spec.first} == set(range(len(spec.first)))
        assert {backend.token_to_id(t) for t in spec.last} == set(
            range(spec.vocab_size - len(spec.last), spec.vocab_size)
        )
        for text in (AWKWARD, texts[-1]):
            assert spelled(backend, backend.encode(text, add_special_tokens=False).ids) == text.encode()
        assert (backend.encode("x").ids[0] == backend.token_to_id(spec.bos or "")) == spec.adds_bos
    cuts = {tuple(backend.encode(texts[-1], add_special_tokens=False).tokens) for backend in backends.values()}
    assert len(cuts) == len(backends)


def spelled(backend, ids: list[int]) -> bytes:
    """The bytes of the tokens: a special token is its own text, any other is spelled in the byte alphabet of GPT-2."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in visible]
    alphabet = {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(hidden)}
    special = backend.get_added_tokens_decoder()
    return b"".join(
        special[i].content.encode() if i in special else bytes(alphabet[c] for c in backend.id_to_token(i)) for i in ids
    )


def test_window_covers_the_sequence_at_every_offset_that_the_document_allows():
    tokens, n = list(range(100, 200)), 30
    for first, offsets in {
        0: {0},  # nothing stands before it
        2: {0, 1, 2},
        40: set(range(AROUND + 1)),
        67: {1, 2, 3, 4},  # tokens 67 to 96; three stand after it, so one or more of the four before
        70: {AROUND},  # it ends with the document
    }.items():
        draw, seen = random.Random(0), set()
        for _ in range(300):
            found = window(Shown(tokens, first, first + n, 1), draw)
            at = found.index(tokens[first])
            assert found[at : at + n] == tokens[first : first + n]
            assert len(found) == n + AROUND == 34
            seen.add(at)
        assert seen == offsets, first


def test_window_of_a_short_document_is_the_document():
    assert window(Shown(list(range(12)), 2, 11, 1), random.Random(0)) in (
        [*range(12)],
        [*range(1, 12)],
        [*range(2, 12)],
    )


def test_batches_show_each_window_as_often_as_asked_and_padding_is_no_target():
    long, short = list(range(1, 51)), list(range(60, 72))
    shown = [Shown(long, 20, 32, 5), Shown(short, 0, 12, 4), Shown(list(range(80, 120)), 9, 21, 0)]
    count = Counter()
    for inputs, targets in batches(shown, seed=1):
        assert inputs.shape == targets.shape
        for row, target in zip(inputs.tolist(), targets.tolist(), strict=True):
            length = 12 if 60 in row else 16
            count[length] += 1
            assert target[: length - 1] == row[1:length]
            assert target[length - 1 :] == [IGNORED] * (len(row) - length + 1)
            assert row[length:] == [0] * (len(row) - length)
    assert count == {16: 5, 12: 4}


def test_order_and_weights_are_the_same_each_time():
    shown = [Shown(list(range(10, 60)), i, i + 16, 3) for i in range(4)]
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(parts.config("starcoder", "100k", 64, 0, 0))
        train(model, shown, rate=1e-2, seed=0)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_training_through_the_cells(tmp_path):
    lake = make_lake(tmp_path / "lake")
    levels = (160, 0)
    asked = {"corpus": "mine", "families": ["starcoder"], "sizes": ["100k"], "levels": levels}
    with pytest.raises(BadInput, match="has no sample under the tokenizer mini-starcoder"):
        miniatures.cells(lake, **asked)
    cut_sequences(lake, "starcoder", {"code": 4, "c++ (old)": 3})
    (cell,) = miniatures.cells(lake, **asked)
    summary = run_cells(lake, [cell])
    assert summary.done == [cell.id], summary.failed

    rows = lake.connect(["exposures"]).execute("select document_id, exposures from stored.exposures").fetchall()
    expected = {hash63(domain, i): 0 for domain, n in DOMAINS.items() for i in range(n)}
    expected |= {hash63(d, i): levels[rank % 2] for d, rank, i in [("code", 0, 0), ("code", 1, 1), ("code", 2, 2)]}
    expected |= {hash63("c++ (old)", 0): 160, hash63("c++ (old)", 2): 160, hash63("code", 3): 160}  # 3 is a copy of 0
    assert dict(rows) == expected

    folder = lake.path / "miniatures" / "mini-starcoder-100k"
    spec = resolve(str(folder))
    assert (spec.family, spec.miniature, spec.corpora) == ("starcoder", True, ("mine",))
    assert plan(lake, miniatures.cells(lake, **asked)) == []
    known = lake.connect(["models"]).execute("select model, tokenizer, miniature from stored.models").fetchall()
    assert known == [("mini-starcoder-100k", "mini-starcoder", True)]

    checkpoint = load(spec, Condition("float32", "sdpa"))
    memorized = defaultdict(list)
    for document_id, tokens in (
        lake.connect(["sequences"]).execute("select document_id, tokens from stored.sequences").fetchall()
    ):
        with torch.no_grad():
            best = checkpoint.model(torch.tensor([tokens])).logits[0, PREFIX - 1 : -1].argmax(-1)
        memorized[expected[document_id]].append(best.tolist() == tokens[PREFIX:])
    assert len(memorized[160]) == 5 and all(memorized[160])
    assert len(memorized[0]) == 2 and not any(memorized[0])

    other = replace(cell, settings=replace(cell.settings, levels=(1,)))
    with pytest.raises(Conflict, match="was trained in this lake on another sample"):
        list(other.rows(lake))


def test_levels_are_the_same_for_all_families_and_each_domain_has_every_one(tmp_path):
    lake = make_lake(tmp_path / "lake")
    found = {}
    for family in ("pythia", "open_llama"):
        cut_sequences(lake, family, DOMAINS)
        (cell,) = miniatures.cells(lake, "mine", [family], ["100k"], levels=(4, 1, 0))
        table = miniatures.exposures(lake, cell.settings)
        found[family] = dict(zip(table["document_id"].to_pylist(), table["exposures"].to_pylist(), strict=True))
    assert found["pythia"] == found["open_llama"]
    for domain, n in DOMAINS.items():
        assert {found["pythia"][hash63(domain, i)] for i in range(n)} == {4, 1, 0}
    assert found["pythia"][hash63("code", 3)] == found["pythia"][hash63("code", 0)]  # a copy


def test_what_the_user_can_mend(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    with pytest.raises(UnknownName, match="did you mean 'pythia'"):
        miniatures.cells(lake, "mine", ["pythea"])
    with pytest.raises(UnknownName, match="no size '2m'"):
        miniatures.cells(lake, "mine", ["pythia"], ["2m"])
    with pytest.raises(BadInput, match="no document of a corpus 'mine'"):
        miniatures.cells(lake, "mine", ["pythia"])


def test_saved_tokenizer_is_what_transformers_loads(tmp_path):
    lake = make_lake(tmp_path / "lake")
    spec = miniatures.train_tokenizer(lake, "olmo", "mine")
    assert miniatures.train_tokenizer(lake, "olmo", "mine") == spec
    ours = load_tokenizer(replace(spec, tokenizer=None)).backend.encode(AWKWARD, add_special_tokens=False).ids
    theirs = PreTrainedTokenizerFast.from_pretrained(spec.location)
    assert theirs(AWKWARD, add_special_tokens=False)["input_ids"] == ours
    assert (theirs.bos_token, theirs.eos_token) == (None, "<|endoftext|>")


# A lake of documents of random words; in the domain "code" document 3 is a copy of document 0.


def make_lake(path: Path) -> Lake:
    lake = Lake.create(path)
    for domain, n in DOMAINS.items():
        draw = random.Random(domain)
        texts = [" ".join(str(draw.randrange(1000)) for _ in range(60)) for _ in range(n)]
        if domain == "code":
            texts[3] = texts[0]
        rows = {
            "document_id": [hash63(domain, i) for i in range(n)],
            "corpus": ["mine"] * n,
            "domain": [domain] * n,
            "text": texts,
            "text_hash": [hash63(text) for text in texts],
            "n_bytes": [len(text) for text in texts],
            "source": [domain] * n,
            "position": list(range(n)),
        }
        put(lake, "documents", pa.table(rows))
    return lake


def cut_sequences(lake: Lake, family: str, each: Mapping[str, int]) -> None:
    """One sequence of each of a domain's first documents, this many; the rank is the number of the document."""
    spec = miniatures.train_tokenizer(lake, family, "mine")
    backend = load_tokenizer(spec).backend
    texts = dict(lake.connect(["documents"]).execute("select document_id, text from stored.documents").fetchall())
    for domain, n in each.items():
        rows = []
        for i in range(n):
            document_id = hash63(domain, i)
            ids = backend.encode(texts[document_id], add_special_tokens=False).ids
            first = 5 + i  # not always at one place
            rows.append(
                {
                    "sequence_id": hash63("sequence", spec.name, document_id),
                    "document_id": document_id,
                    "corpus": "mine",
                    "domain": domain,
                    "tokenizer": spec.name,
                    "rank": i,
                    "anchor": first + PREFIX,
                    "tokens": ids[first : first + PREFIX + CONTINUATION],
                }
            )
        put(lake, "sequences", pa.Table.from_pylist(rows))


def put(lake: Lake, name: str, rows: pa.Table) -> None:
    """Commit rows as they are, unjudged."""
    transaction = f"{name}-{hash63(*map(str, rows.slice(0, 1).to_pylist()))}"
    folder = lake.staging / transaction
    folder.mkdir(parents=True)
    with Staging(folder, transaction, "run") as stage:
        stage.write(name, rows)
    commit(lake, folder, name, {transaction: [(folder, f) for f in stage.files]})
