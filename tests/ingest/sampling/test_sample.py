"""Sequences of a sample: the same in any order, appended to, and never twice."""

from __future__ import annotations

import json
import random

import pytest

from memlake.ingest.run import ingest
from memlake.ingest.sampling import plan, sequences
from memlake.ingest.sampling.anchors import choose, sample_name, spaces
from memlake.ingest.sampling.plan import missing
from memlake.ingest.sampling.sample import remarks, sample
from memlake.ingest.sampling.sequences import SampleSettings
from memlake.tests.ingest import tokenizers
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.identity import hash63
from memlake.warehouse.work.cells import published

ALL = "select sequence_id, rank from stored.sequences order by rank"


def text(i: int, words: int = 300) -> str:
    draw = random.Random(i)
    return " ".join(draw.choice(["the", "quick", "brown", "fox", "é", "jumps", "a,"]) for _ in range(words))


def fill(lake, folder, texts, name="a.jsonl", domain="d") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(json.dumps({"text": t, "domain": domain}) for t in texts))
    options = {"path": (str(folder / name),), "domain_field": "domain"}
    summary, _ = ingest(lake, "jsonl", options, corpus="mine")
    assert summary.done and not summary.failed


@pytest.fixture
def neox(tmp_path):
    return tokenizers.saved(tokenizers.byte_level(nfc=True), tmp_path / "neox")


@pytest.fixture
def llama(tmp_path):
    return tokenizers.saved(tokenizers.sentencepiece(), tmp_path / "llama")


def test_a_sequence_is_the_text_around_its_anchor(lake, tmp_path, neox, llama):
    fill(lake, tmp_path / "in", [text(i) for i in range(8)])
    summary, counts = sample(lake, ["mine"], [neox, llama], window="8+6")
    assert len(summary.done) == 2
    found = rows(
        lake,
        "select s.tokenizer, text, anchor, byte_start, byte_cut, byte_end, prefix_tokens, n_tokens, tokens, byte_ends,"
        " sequence_id, anchor_id, s.document_id, shard"
        " from stored.sequences s join stored.documents using (document_id)",
    )
    backends = {"neox": tokenizers.byte_level(nfc=True), "llama": tokenizers.sentencepiece()}
    digests = dict(rows(lake, "select tokenizer, digest from stored.tokenizers"))
    assert {f[0] for f in found} == set(backends)
    for (
        name,
        full,
        anchor,
        start,
        cut,
        end,
        prefix,
        n,
        tokens,
        ends,
        sequence_id,
        anchor_id,
        document_id,
        shard,
    ) in found:
        data = full.encode()
        assert anchor in spaces(data)
        assert (prefix, n, len(tokens), len(ends), shard) == (8, 6, 14, 14, 0)
        assert (ends[7], ends[-1]) == (cut, end) and cut == anchor  # a space begins a token of both
        assert anchor_id == hash63(document_id, anchor)
        assert sequence_id == hash63(anchor_id, digests[name], 8, 6)
        # The whole document is tokenized: the window is a part of its tokens, and decodes to the bytes it claims.
        whole = backends[name].encode(full, add_special_tokens=False).ids
        assert any(whole[i : i + 14] == tokens for i in range(len(whole)))
        assert backends[name].decode(tokens[8:]).strip() == data[cut:end].decode(errors="replace").strip()
        assert backends[name].decode(tokens[:8]).strip() == data[start:cut].decode(errors="replace").strip()
    assert [r["in_other_samples"] for r in counts.to_pylist()] == [0, 0]


def test_every_anchor_is_a_sequence_or_a_reject(lake, tmp_path, neox):
    texts = [text(i) for i in range(5)] + ["too short", "the e\u0301 " + text(9), "nospace", text(10, words=1200)]
    fill(lake, tmp_path / "in", texts)
    _, counts = sample(lake, ["mine"], [neox])
    (row,) = counts.to_pylist()
    expected = sum(
        len(choose(spaces(t.encode()), hash63(0, hash63("mine", "a.jsonl", i)), 99)) for i, t in enumerate(texts)
    )
    assert row["anchors"] == expected == row["sequences"] + row["too_short"] + row["text_changed"]
    changed = len(choose(spaces(texts[6].encode()), hash63(0, hash63("mine", "a.jsonl", 6)), 99))
    assert row["text_changed"] == changed >= 1
    assert row["too_short"] >= 1 and row["sequences"] > 5
    ((source, position, head),) = rows(
        lake, "select source, position, head from stored.rejects where head = ' short'::blob"
    )
    assert source.startswith("d/neox/s1-") and 0 <= position < expected and head == b" short"


def test_a_larger_sample_appends_and_changes_nothing(lake, tmp_path, neox):
    fill(lake, tmp_path / "in", [text(i) for i in range(20)])
    sample(lake, ["mine"], [neox], per_domain=5, window="8+8")
    few = rows(lake, ALL)
    assert len(few) == 5
    again, _ = sample(lake, ["mine"], [neox], per_domain=5, window="8+8")
    fewer, _ = sample(lake, ["mine"], [neox], per_domain=3, window="8+8")
    assert not again.done and not fewer.done and again.skipped == fewer.skipped == 1
    more, _ = sample(lake, ["mine"], [neox], per_domain=30, window="8+8")  # more than there are documents
    assert len(more.done) == more.skipped == 1
    many = rows(lake, ALL)
    assert many[:5] == few and [rank for _, rank in many] == list(range(30))
    assert rows(lake, "select distinct shard from stored.sequences order by all") == [(0,), (5,)]
    assert rows(lake, "select count(distinct sample) from stored.sequences") == [(1,)]
    first = rows(lake, "select count(distinct document_id) from stored.sequences where rank < 20")
    assert first == [(20,)]  # one a document until they run out


def lossy(n: int = 60) -> list[str]:
    """Texts of which every third is too short under any tokenizer, and every fifth is changed by NFC."""
    return [("the e\u0301 " if i % 5 == 0 else "") + text(i, words=12 if i % 3 == 0 else 200) for i in range(n)]


def kept(lake, tokenizer: str = "neox") -> list[tuple[int, int]]:
    return rows(lake, f"select rank, sequence_id from stored.sequences where tokenizer = '{tokenizer}' order by rank")


def test_anchors_that_a_tokenizer_loses_are_redrawn(lake, tmp_path, neox, llama):
    """Against the plain way: all ranks in their order, and the first 20 that give a sequence."""
    fill(lake, tmp_path / "in", lossy())
    everything = type(lake).create(tmp_path / "all")
    fill(everything, tmp_path / "in", lossy())
    sample(everything, ["mine"], [neox, llama], window="16+16")
    summary, counts = sample(lake, ["mine"], [neox, llama], per_domain=20, window="16+16")
    assert not summary.failed
    found = {r["tokenizer"]: r for r in counts.to_pylist()}
    for name in ("neox", "llama"):
        assert kept(lake, name) == kept(everything, name)[:20]
        last = kept(lake, name)[-1][0]
        assert (found[name]["sequences"], found[name]["anchors"], found[name]["redrawn"]) == (20, last + 1, last - 19)
        assert last + 1 == 20 + found[name]["too_short"] + found[name]["text_changed"]
    assert found["neox"]["text_changed"] > 0 == found["llama"]["text_changed"]
    assert found["neox"]["redrawn"] > found["llama"]["redrawn"] > 0
    # The anchors that both have are those of both among the ranks that were asked for, at least
    shared = "select count(*) from (select anchor_id from stored.sequences group by all having count(*) = 2)"
    ((n,),) = rows(lake, shared)
    both = {r for r, _ in kept(everything)} & {r for r, _ in kept(everything, "llama")} & set(range(20))
    assert n >= len(both) > 5
    again, counts = sample(lake, ["mine"], [neox, llama], per_domain=20, window="16+16")
    assert not again.done and {r["tokenizer"]: r for r in counts.to_pylist()} == found


def test_what_is_redrawn_does_not_depend_on_what_was_asked_before(lake, tmp_path, neox, monkeypatch):
    fill(lake, tmp_path / "in", lossy())
    monkeypatch.setattr(plan, "AHEAD", 1)
    monkeypatch.setattr(plan, "SHARD", 3)
    for n in (4, 11, 20):
        _, counts = sample(lake, ["mine"], [neox], per_domain=n, window="16+16")
        assert counts.to_pylist()[0]["sequences"] == n == len(kept(lake))
    monkeypatch.undo()
    other = type(lake).create(tmp_path / "other")
    fill(other, tmp_path / "in", list(lossy()))
    _, expected = sample(other, ["mine"], [neox], per_domain=20, window="16+16")
    assert kept(lake) == kept(other) and counts == expected
    _, fewer = sample(lake, ["mine"], [neox], per_domain=11, window="16+16")
    assert fewer.to_pylist()[0]["sequences"] == 11


def test_a_kill_before_the_redraw_is_made_good(lake, tmp_path, neox, monkeypatch):
    fill(lake, tmp_path / "in", lossy())
    monkeypatch.setattr("memlake.ingest.sampling.sample.redraw", lambda lake, part, *_: part)  # ends before it
    sample(lake, ["mine"], [neox], per_domain=20, window="16+16")
    before = kept(lake)
    assert len(before) < 20
    monkeypatch.undo()
    summary, _ = sample(lake, ["mine"], [neox], per_domain=20, window="16+16")
    assert len(summary.done) == 1 and kept(lake)[: len(before)] == before and len(kept(lake)) == 20


def test_anchors_run_out(lake, tmp_path, neox):
    fill(lake, tmp_path / "in", lossy(9))
    _, counts = sample(lake, ["mine"], [neox], per_domain=9, window="16+16")
    (few,) = counts.to_pylist()
    _, counts = sample(lake, ["mine"], [neox], window="16+16")
    (row,) = counts.to_pylist()
    assert row["anchors"] > 9 and row["redrawn"] == 0 and few["sequences"] == min(9, row["sequences"])
    starts = sample(lake, ["mine"], [neox], per_domain=8, window="40+40", at="start")[1].to_pylist()[0]
    assert (starts["anchors"], starts["redrawn"], starts["sequences"] < 8) == (9, 1, True)


@pytest.mark.parametrize(
    ("lost", "wanted", "expected"),
    [
        ([], 0, 0),
        ([], 5, 5),
        ([0], 5, 6),
        ([5], 5, 5),
        ([4], 5, 6),
        ([4, 5, 6], 5, 8),
        ([1, 3, 7, 8], 5, 7),
        ([0, 9], 9, 11),
    ],
)
def test_reach(lost, wanted, expected):
    assert plan.reach(lost, wanted) == expected
    assert next(r for r in range(99) if r - sum(p < r for p in lost) == wanted) == expected


def test_a_sample_without_a_sequence_says_why(lake, tmp_path, neox):
    fill(lake, tmp_path / "in", ["nospace" * 100, "x" * 900], domain="solid")
    fill(lake, tmp_path / "in", ["a few words"] * 3, domain="short", name="b.jsonl")
    summary, counts = sample(lake, ["mine"], [neox])
    assert len(summary.done) == 2 and not summary.failed
    short, solid = remarks(counts)
    assert "mine (short): none of 3 anchors gave a sequence under neox: 3 with too short a text" in short
    assert "mine (solid): no place to begin in any document" in solid
    again, counts = sample(lake, ["mine"], [neox])
    assert not again.done and len(remarks(counts)) == 2
    fill(lake, tmp_path / "in", [text(1)], domain="solid", name="c.jsonl")
    _, counts = sample(lake, ["mine"], [neox], domains=["solid"])
    assert counts.to_pylist()[0]["sequences"] > 0 and not remarks(counts)


CHINESE = "上海是一座城市。今天天气很好。我们去公园散步、看到了很多花。"


def test_text_without_spaces_is_sampled(lake, tmp_path, neox, llama):
    texts = ["".join(random.Random(i).sample(CHINESE, len(CHINESE))) * 20 for i in range(5)]
    fill(lake, tmp_path / "in", texts, domain="zh")
    fill(lake, tmp_path / "in", [text(i) for i in range(5)], domain="en", name="b.jsonl")
    _, counts = sample(lake, ["mine"], [neox, llama], window="8+8")
    assert all(r["sequences"] == r["anchors"] > 9 for r in counts.to_pylist() if r["domain"] == "zh")
    found = rows(
        lake,
        "select s.tokenizer, text, anchor, tokens, byte_start, byte_end from stored.sequences s"
        " join stored.documents using (document_id) where s.domain = 'zh'",
    )
    backends = {"neox": tokenizers.byte_level(nfc=True), "llama": tokenizers.sentencepiece()}
    anchors = {name: {(t, a) for n, t, a, *_ in found if n == name} for name in backends}
    assert anchors["neox"] == anchors["llama"]
    for name, full, anchor, tokens, start, end in found:
        before, after = full.encode()[:anchor].decode()[-1], full.encode()[anchor:].decode()[0]
        assert before not in "。、" and after not in "。、"
        whole = backends[name].encode(full, add_special_tokens=False).ids
        assert any(whole[i : i + 16] == tokens for i in range(len(whole)))
        assert start < anchor < end
    # The name of a sample of text with spaces is what it was before there were other anchors
    rule = {"at": "space", "apart": 512, "window": "8+8"}
    settings = [s for _, s in published(lake, "sample", SampleSettings)]
    assert {s.domain: s.rule.to_json() for s in settings} == {"en": rule, "zh": rule | {"unspaced": "graphemes"}}
    assert all(s.sample == sample_name(s.corpus, s.domain, s.seed, s.snapshot, s.rule.to_json()) for s in settings)


def test_shards_give_the_same_rows_as_one(lake, tmp_path, neox, monkeypatch):
    fill(lake, tmp_path / "in", [text(i) for i in range(12)])
    monkeypatch.setattr(plan, "SHARD", 5)
    monkeypatch.setattr(sequences, "BATCH", 3)
    summary, counts = sample(lake, ["mine"], [neox], per_domain=12, window="4+4")
    assert len(summary.done) == 3
    in_shards = rows(lake, ALL)
    other = type(lake).create(tmp_path / "other")
    monkeypatch.undo()
    fill(other, tmp_path / "in", [text(i) for i in range(12)])
    sample(other, ["mine"], [neox], per_domain=12, window="4+4")
    assert rows(other, ALL) == in_shards
    assert counts.to_pylist()[0]["sequences"] == len(in_shards) > 5


def test_new_documents_make_a_new_sample_that_repeats_no_sequence(lake, tmp_path, neox):
    fill(lake, tmp_path / "in", [text(i) for i in range(6)])
    sample(lake, ["mine"], [neox], window="8+8")
    before = rows(lake, ALL)
    fill(lake, tmp_path / "in", [text(i) for i in range(100, 104)], name="b.jsonl")
    summary, counts = sample(lake, ["mine"], [neox], window="8+8")
    assert not summary.failed
    (row,) = counts.to_pylist()
    assert row["in_other_samples"] == len(before) > 0
    assert row["sequences"] > 0
    assert rows(lake, "select count(*), count(distinct sequence_id), count(distinct sample) from stored.sequences") == [
        (len(before) + row["sequences"], len(before) + row["sequences"], 2)
    ]


def test_one_tokenizer_of_two_models_makes_one_set(lake, tmp_path, neox):
    twin = tokenizers.saved(tokenizers.byte_level(nfc=True), tmp_path / "twin")
    fill(lake, tmp_path / "in", [text(i) for i in range(3)])
    _, counts = sample(lake, ["mine"], [neox, twin])
    assert counts.num_rows == 1
    assert rows(lake, "select count(*) from stored.tokenizers") == [(1,)]


def test_at_start_takes_the_first_tokens(lake, tmp_path, neox):
    fill(lake, tmp_path / "in", [text(i) for i in range(6)] + ["short"])
    _, counts = sample(lake, ["mine"], [neox], at="start", window="8+6")
    (row,) = counts.to_pylist()
    assert (row["anchors"], row["sequences"], row["too_short"]) == (7, 6, 1)
    backend = tokenizers.byte_level(nfc=True)
    found = rows(
        lake,
        "select text, tokens, byte_start, byte_cut, anchor, byte_ends from stored.sequences"
        " join stored.documents using (document_id)",
    )
    assert len(found) == 6
    for full, tokens, start, cut, anchor, ends in found:
        assert tokens == backend.encode(full).ids[:14]
        assert start == 0 and cut == anchor == ends[7]


def test_windows_in_bytes(lake, tmp_path, neox, llama):
    fill(lake, tmp_path / "in", [text(i) for i in range(6)])
    sample(lake, ["mine"], [neox, llama], window="bytes:64+48")
    found = rows(lake, "select byte_cut - byte_start, byte_end - byte_cut, prefix_tokens from stored.sequences")
    assert len(found) > 6
    assert all(40 < before <= 64 and 30 < after <= 48 for before, after, _ in found)
    assert len({n for *_, n in found}) > 1


def test_domains_are_sampled_apart(lake, tmp_path, neox):
    fill(lake, tmp_path / "in", [text(i) for i in range(3)], domain="c++")
    fill(lake, tmp_path / "in", [text(i) for i in range(3)], domain="Wikipedia (en)", name="b.jsonl")
    _, counts = sample(lake, ["mine"], [neox], domains=["c++"])
    assert counts["domain"].to_pylist() == ["c++"]
    _, counts = sample(lake, ["mine"], [neox])
    assert counts["domain"].to_pylist() == ["Wikipedia (en)", "c++"]


def test_bad_requests_are_one_clear_line(lake, tmp_path, neox):
    fill(lake, tmp_path / "in", [text(1)])
    for wrong, message in (
        ({"corpora": ["mime"]}, "did you mean 'mine'"),
        ({"domains": ["e"]}, "no domain 'e'"),
        ({"per_domain": 0}, "--per-domain must be positive"),
        ({"window": "32"}, "give tokens before and after"),
        ({"at": "end"}, "give space or start"),
    ):
        asked = {"corpora": ["mine"], "specs": [neox]} | wrong
        with pytest.raises((BadInput, UnknownName), match=message):
            sample(lake, **asked)
    assert rows(lake, "select count(*) from stored.tokenizers") == [(0,)]


@pytest.mark.parametrize(
    ("done", "total", "most", "expected"),
    [
        ([], 0, 5, []),
        ([], 7, 5, [(0, 4), (5, 6)]),
        ([(0, 4)], 7, 5, [(5, 6)]),
        ([(0, 9)], 7, 5, []),
        ([(3, 4), (6, 6)], 10, 2, [(0, 1), (2, 2), (5, 5), (7, 8), (9, 9)]),
        ([(0, 4), (2, 6)], 9, 5, [(7, 8)]),
        ([(20, 30)], 9, 100, [(0, 8)]),
    ],
)
def test_missing_ranks(done, total, most, expected):
    assert missing(done, total, most) == expected
