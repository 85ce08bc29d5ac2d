"""The released lists of memorized sequences: whose they are, what is taken, what is not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memlake.ingest.run import ingest
from memlake.ingest.sources import memorized_evals
from memlake.tests.ingest.tokenizers import byte_level, saved
from memlake.tests.lakes import rows
from memlake.warehouse.errors import BadInput, Conflict, UnknownName

SCHEMA = pa.schema([("index", pa.int64()), ("tokens", pa.list_(pa.int64())), ("__index_level_0__", pa.int64())])
PUBLISHED = "data/{}-00000-of-00001-547b2b00c0f47827.parquet"


def tokens(seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, memorized_evals.VOCABULARY, 64).tolist()


def publish(folder, name: str, records: list[tuple]) -> str:
    """A list as it is published."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"index": [i for i, _ in records], "tokens": [t for _, t in records]}
    pq.write_table(pa.table(columns | {"__index_level_0__": columns["index"]}, schema=SCHEMA), path)
    return str(path)


def read(lake, path: str, **options) -> list[str]:
    summary, lines = ingest(lake, "memorized_evals", {"path": (path,), **options})
    assert not summary.failed, summary.failed
    return lines


def test_a_list_becomes_sequences_and_matches(lake, tmp_path):
    path = publish(tmp_path, PUBLISHED.format("duped.1.4b"), [(7, tokens(7)), (146_431_999, tokens(1))])
    assert read(lake, path) == [
        "memorized_evals: 2 rows; 0 of sequences that the lake holds with their text, 2 of sequences known only by the"
        " id they came with"
    ]
    assert rows(
        lake,
        "select external_id, corpus, domain, tokenizer, tokens, prefix_tokens, n_tokens from stored.sequences"
        " order by external_id::int desc",
    ) == [
        ("146431999", "memorized_evals", "duped", "pythia", tokens(1), 32, 32),
        ("7", "memorized_evals", "duped", "pythia", tokens(7), 32, 32),
    ]
    every = "select model, condition, n_match, first_mismatch, memorized, score, match from stored.matches"
    assert rows(lake, every) == [("pythia-1.4b-v0", "imported", 32, 32, True, 1.0, b"\xff" * 4)] * 2
    assert rows(lake, "select role, corpus from stored.model_corpora order by all") == [
        ("trained", "memorized_evals"),
        ("trained", "pile"),
    ]
    assert ingest(lake, "memorized_evals", {"path": (path,)})[0].skipped == 2


@pytest.mark.parametrize(
    ("name", "domain", "model"),
    [
        (PUBLISHED.format("duped.1.4b"), "duped", "pythia-1.4b-v0"),
        (PUBLISHED.format("deduped.12b"), "deduped", "pythia-12b-deduped-v0"),
        (PUBLISHED.format("duped.12b.23000"), "duped", "pythia-12b-v0@step23000"),
        ("deduped.160m/0000.parquet", "deduped", "pythia-160m-deduped-v0"),
        ("duped.1b.parquet", "duped", "pythia-1b-v0"),
    ],
)
def test_the_name_tells_domain_and_model(lake, tmp_path, name, domain, model):
    path = publish(tmp_path, name, [(1, tokens(1))])
    read(lake, path)
    assert rows(lake, "select domain, model from stored.matches") == [(domain, model)]


def test_a_name_that_does_not_tell(lake, tmp_path):
    path = publish(tmp_path, PUBLISHED.format("deduped.1b.new"), [(1, tokens(1))])
    with pytest.raises(BadInput, match=r"is not called as a list is .*: say whose it is with --model"):
        read(lake, path)
    with pytest.raises(UnknownName, match="did you mean 'pythia-1b'"):
        read(lake, path, model="pythea-1b")
    read(lake, path, model="pythia-1b-deduped")
    assert rows(lake, "select domain, model from stored.matches") == [("deduped", "pythia-1b-deduped")]
    read(lake, publish(tmp_path, "mine.parquet", [(1, tokens(1))]), model="pythia-1b", domain="own")
    assert rows(lake, "select domain, model from stored.matches where domain <> 'deduped'") == [("own", "pythia-1b")]


def test_lists_share_a_sequence_where_all_says_that_it_is_the_same(lake, tmp_path):
    one, other = (3, tokens(3)), (3, tokens(4))
    publish(tmp_path, PUBLISHED.format("duped.160m"), [one])
    publish(tmp_path, PUBLISHED.format("duped.12b"), [one, (5, tokens(5))])
    publish(tmp_path, PUBLISHED.format("deduped.12b"), [one])  # the same number in another order of training
    publish(tmp_path, PUBLISHED.format("duped.1b"), [other])  # two lists that contradict each other
    read(lake, str(tmp_path))
    found = rows(
        lake,
        "select external_id, domain, tokens, list_sort(list(model)) from stored.sequences"
        " join stored.matches using (sequence_id, domain) group by all",
    )
    assert sorted(found) == sorted(
        [
            ("3", "deduped", one[1], ["pythia-12b-deduped-v0"]),
            ("3", "duped", one[1], ["pythia-12b-v0", "pythia-160m-v0"]),
            ("3", "duped", other[1], ["pythia-1b-v0"]),
            ("5", "duped", tokens(5), ["pythia-12b-v0"]),
        ]
    )


DAMAGED = [  # (index, tokens, why it is not taken)
    (None, tokens(0), "index is not a number from 0 on"),
    (-1, tokens(0), "index is not a number from 0 on"),
    (1, None, "tokens are not integers"),
    (2, [None, *tokens(0)[1:]], "tokens are not integers"),
    (3, tokens(0)[:63], "not 64 tokens"),
    (4, [*tokens(0), 1], "not 64 tokens"),
    (5, [-1, *tokens(0)[1:]], "a token id is negative"),
    (6, [50_277, *tokens(0)[1:]], "a token id is beyond the vocabulary (50277)"),
    (7, tokens(0), "index is there twice"),
]


def test_damaged_records_are_rejects_and_the_good_ones_stay(lake, tmp_path):
    good = [(7, tokens(1)), (8, [50_276, *tokens(2)[1:]])]
    path = publish(tmp_path, "duped.1b.parquet", [*good, *((i, t) for i, t, _ in DAMAGED)])
    lines = read(lake, path)
    assert rows(lake, "select external_id from stored.sequences order by all") == [("7",), ("8",)]
    assert rows(lake, "select count(*) from stored.matches") == [(2,)]
    found = rows(lake, "select corpus, source, position, reason from stored.rejects order by position")
    reasons = [why for *_, why in DAMAGED]
    assert found == [("memorized_evals", "duped.1b.parquet", 2 + i, why) for i, why in enumerate(reasons)]
    ((head,),) = rows(lake, "select head from stored.rejects where position = 6")
    assert head.startswith(b'{"index": 3, "tokens": [') and len(head) == 200
    assert lines[1].startswith("not taken: 9 records, each with its reason in `rejects` (a token id is beyond")


def test_strict_refuses_before_anything_is_published(lake, tmp_path):
    publish(tmp_path, "duped.1b.parquet", [(7, tokens(1)), *((i, t) for i, t, _ in DAMAGED)])
    publish(tmp_path, "duped.12b.parquet", [(7, tokens(1)), (8, tokens(1)[:5])])
    with pytest.raises(
        BadInput, match=r"10 records would be rejected .* record 1 of duped\.12b\.parquet: not 64 tokens"
    ):
        ingest(lake, "memorized_evals", {"path": (str(tmp_path),)}, strict=True)
    assert rows(lake, "from stored.models") == []
    (tmp_path / "duped.1b.parquet").unlink()
    publish(tmp_path, "duped.12b.parquet", [(7, tokens(1))])
    assert ingest(lake, "memorized_evals", {"path": (str(tmp_path),)}, strict=True)[0].done


def test_damaged_files_are_rejects(lake, tmp_path):
    publish(tmp_path, "duped.1b/0000.parquet", [(1, tokens(1))])
    (tmp_path / "duped.1b/0001.parquet").write_bytes(b"PAR1 cut off")
    (tmp_path / "duped.1b/0002.parquet").write_bytes(b"")
    pq.write_table(pa.table({"index": [1]}), tmp_path / "duped.1b/0003.parquet")
    pq.write_table(pa.table({"index": ["1"], "tokens": [[1.5] * 64]}), tmp_path / "duped.1b/0004.parquet")
    lines = read(lake, str(tmp_path))
    assert lines[0].startswith("memorized_evals: 1 row; ")
    found = rows(lake, "select source, position, split_part(reason, ' (', 1) from stored.rejects order by all")
    assert found == [
        ("duped.1b/0001.parquet", 0, "the Parquet file cannot be read"),
        ("duped.1b/0002.parquet", 0, "empty file"),
        ("duped.1b/0003.parquet", 0, "tokens are not integers"),
        ("duped.1b/0004.parquet", 0, "index is not a number from 0 on"),
    ]


def test_another_models_vocabulary_is_that_of_its_tokenizer(lake, tmp_path):
    source = saved(byte_level(vocab=300), tmp_path / "checkpoint")
    inside = [token % 300 for token in tokens(1)]
    path = publish(tmp_path, "mine.parquet", [(1, inside), (2, [300, *inside[1:]])])
    with pytest.raises(BadInput, match="'checkpoint' is neither in the lake nor in the registry: give its --family"):
        read(lake, path, model=source.location)
    read(lake, path, model=source.location, family="olmo", params=7)
    assert rows(lake, "select external_id, domain, tokenizer from stored.sequences") == [("1", "listed", "checkpoint")]
    assert rows(lake, "select reason from stored.rejects") == [("a token id is beyond the vocabulary (300)",)]


def test_a_changed_list_is_refused(lake, tmp_path):
    read(lake, publish(tmp_path, "duped.1b.parquet", [(1, tokens(1))]))
    with pytest.raises(Conflict, match=r"results of pythia-1b-v0 on memorized_evals from duped\.1b\.parquet already"):
        read(lake, publish(tmp_path, "duped.1b.parquet", [(1, tokens(2))]))


def test_columns_of_a_list_are_judged_as_its_rows_are():
    draw = np.random.default_rng(5)
    damaged = [(i, t) for i, t, _ in DAMAGED]
    records = [damaged[draw.integers(len(damaged))] if draw.random() < 0.3 else (i, tokens(i)) for i in range(200)]
    columns = {"index": [i for i, _ in records], "tokens": [t for _, t in records]}
    plain = [memorized_evals._problem(i, t, 50_277) is None for i, t in records]
    assert 0 < sum(plain) < len(plain)
    for token in (pa.list_(pa.int64()), pa.large_list(pa.int32())):
        batch = pa.record_batch(columns, schema=pa.schema([("index", pa.int64()), ("tokens", token)]))
        assert memorized_evals._sound(batch, 50_277).tolist() == plain


def test_an_index_is_met_first_once():
    draw = np.random.default_rng(6)
    seen, plain = memorized_evals.Seen(), set[int]()
    for _ in range(20):
        numbers = [int(draw.choice([draw.integers(60), 2**33 + draw.integers(3), 2**62])) for _ in range(10)]
        expected = []
        for number in numbers:
            expected.append(number not in plain)
            plain.add(number)
        assert seen.first(pa.record_batch({"index": pa.array(numbers, pa.int64())})).tolist() == expected


def test_tokens_as_text():
    lists = pa.array([[1], [9], [0, 10, 50_276], list(range(64))], pa.list_(pa.int32()))
    for given in (lists, lists.slice(1, 2)):
        assert memorized_evals._spaced(given).to_pylist() == [
            " ".join(map(str, one)).encode() for one in given.to_pylist()
        ]
