"""The text of this environment, for training and held out."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from memlake.ingest.run import ingest
from memlake.ingest.source import Document, Reject
from memlake.ingest.sources import _environment as environment
from memlake.ingest.sources import python_environment, python_environment_held_out
from memlake.ingest.sources._environment import CLASSES, cut, docstrings
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, Conflict

LIMIT = 40


@pytest.fixture(scope="module")
def trained() -> list[Document]:
    return list(python_environment.Source(limit=LIMIT).read(None))


@pytest.fixture(scope="module")
def held_out() -> list[Document | Reject]:
    return list(python_environment_held_out.Source(limit=LIMIT).read(None))


def test_four_domains_of_both_classes_and_a_larger_limit_only_adds(trained):
    assert Counter(d.domain for d in trained) == dict.fromkeys(CLASSES, LIMIT)
    assert set(CLASSES.values()) == {"structural", "free_text"}
    assert len({(d.source, d.position) for d in trained}) == len(trained)
    assert all(512 <= len(d.text) <= 8000 for d in trained)
    more = list(python_environment.Source(limit=LIMIT + 10).read(None))
    assert set(trained) < set(more)


def test_natural_duplicates_are_kept():
    legal = [d.text for d in environment.legal()]
    assert len(set(legal)) < len(legal)


def test_the_two_corpora_share_no_200_bytes(trained, held_out):
    kept = [d for d in held_out if isinstance(d, Document)]
    left = [r for r in held_out if isinstance(r, Reject)]
    assert len(kept) + len(left) == 4 * LIMIT
    texts = [d.text.encode() for d in trained]
    spans = {t[i : i + 200] for t in texts for i in range(len(t) - 199)}

    def shares(data: bytes) -> bool:
        return any(data[i : i + 200] in spans for i in range(len(data) - 199))

    assert {d.domain for d in kept} == set(CLASSES)
    assert not any(shares(d.text.encode()) for d in kept)
    assert left and {r.reason for r in left} <= {f"{d}: 200 bytes of it stand in the training part" for d in CLASSES}
    candidates = {(d.source, d.position): d.text for d in environment.documents(LIMIT, held_out=True)}
    assert all(shares(candidates[r.source, r.position].encode()) for r in left)
    assert not {(d.source, d.position) for d in trained} & set(candidates)


def test_both_parts_of_a_lake_are_read_alike(lake, monkeypatch):
    summary, lines = ingest(lake, "python_environment", {"limit": 3})
    assert len(summary.done) == 1 and lines[0].startswith("corpus python_environment: 12 documents (code 3")
    with pytest.raises(Conflict, match="was read with --limit 3, not 4"):
        ingest(lake, "python_environment_held_out", {"limit": 4})
    summary, _ = ingest(lake, "python_environment_held_out", {"limit": 3})
    assert len(summary.done) == 1
    found = rows(lake, 'select corpus, domain, "class" from stored.domains order by all')
    assert [f[1:] for f in found if f[0] == "python_environment"] == sorted(CLASSES.items())
    again, _ = ingest(lake, "python_environment", {"limit": 3})
    assert again.skipped == 1
    monkeypatch.setattr(environment, "digest", lambda: "environment-other")
    with pytest.raises(Conflict, match="was read when other packages were installed"):
        ingest(lake, "python_environment", {"limit": 3})


def test_texts_are_cut_at_the_best_boundary():
    def block(name: str, lines: int) -> str:
        return f"def {name}():\n" + "".join(f"    x = '{name * 30}'\n" for _ in range(lines)) + "\n\n"

    small, large = block("a", 30), "".join(block("b", 30).replace("\n\n", f"\n\n    # {i}\n") for i in range(12))
    assert 1000 < len(small) < 1500 and len(large) > 8000
    # Every definition is long enough to be a document; the last line is too short to be one.
    assert list(cut(small * 3 + "x = 1\n")) == [small.strip("\n")] * 3
    assert list(cut("short\n")) == []
    pieces = list(cut(large))
    assert len(pieces) > 1 and "".join(pieces).replace("\n", "") == large.replace("\n", "")
    assert list(cut("x" * 9000 + "\n\n" + small)) == [small.strip("\n")]  # a line that is no text


def test_docstrings_open_a_line():
    source = (
        '"""Module.\n    More."""\n'
        "x = '''\nno docstring\n'''\n"
        "def f():\n    r'''Of\n    f.'''\n    return \"\"\"nor this\"\"\"\n"
        "class C:\n    \"\"\"Of C: '''quoted'''.\"\"\"\n"
    )
    assert docstrings(source) == ["Module.\nMore.", "Of\nf.", "Of C: '''quoted'''."]


def test_arithmetic_is_right():
    checked = 0
    for i in range(20):
        text = environment.arithmetic(i)
        for a, op, b, c in re.findall(r"^(\d+) ([-+*]) (\d+) = (-?\d+)$", text, re.MULTILINE):
            assert eval(f"{a} {op} {b}") == int(c)
            checked += 1
        for a, b, q, r in re.findall(r"(\d+) divided by (\d+) is (\d+) with remainder (\d+)\.", text):
            assert int(q) * int(b) + int(r) == int(a) and int(r) < int(b)
            checked += 1
        for a, b, c, d in re.findall(r"sum of (\d+) and (\d+) is (\d+), and their difference is (\d+)\.", text):
            assert int(a) + int(b) == int(c) and abs(int(a) - int(b)) == int(d)
            checked += 1
    assert checked == 20 * 24


def test_the_limit_must_be_positive():
    with pytest.raises(BadInput, match="--limit must be positive"):
        python_environment_held_out.Source(limit=0)
