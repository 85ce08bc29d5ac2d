"""Columns of match vectors, beside plain Python a row at a time."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memlake.ingest.results import json_lines
from memlake.ingest.results import match_vectors as vectors
from memlake.warehouse.errors import BadInput

ROW = {"model": "m", "corpus": "c", "domain": "d", "sequence_id": "1", "n_tokens": 3, "match": [True, False, True]}


def packed(bits: list[bool]) -> bytes:
    """Position 0 is the highest bit of the first byte; what is left of the last is 0."""
    padded = [*bits, *[False] * (-len(bits) % 8)]
    return bytes(sum(bit << (7 - k) for k, bit in enumerate(padded[i : i + 8])) for i in range(0, len(padded), 8))


def bits_of(data: bytes, n: int) -> list[int]:
    return [byte >> (7 - k) & 1 for byte in data for k in range(8)][:n]


def derived(row: dict[str, Any]) -> dict[str, Any]:
    """What the row leaves out, worked out from its vectors one bit after the other."""
    row, n = dict(row), row["n_tokens"]
    bits = bits_of(row["match"], n)
    expected = {"n_match": sum(bits), "first_mismatch": next((i for i, bit in enumerate(bits) if not bit), n)}
    if row["forced_match"] is not None:
        expected["forced_n_match"] = sum(bits_of(row["forced_match"], n))
    if row["logprobs"] is not None:
        expected["sum_logprob"] = math.fsum(row["logprobs"])
    row |= {name: value for name, value in expected.items() if row[name] is None}
    if row["score"] is None:
        row["score"] = row["n_match"] / max(n, 1)
    if row["memorized"] is None:
        row["memorized"] = row["first_mismatch"] == n
    return row


def test_derived_is_what_plain_python_derives():
    draw = random.Random(1)
    rows = []
    for _ in range(600):
        n = draw.choice([0, 1, 7, 8, 9, 12, 16, 31, 32, 33, 200])
        share = draw.choice([0, 0.5, 0.9, 1])
        one, other = ([draw.random() < share for _ in range(n)] for _ in range(2))
        data = packed(one)
        data = draw.choice([data] * 6 + [data + b"\xff", data[:-1], b""])  # too long, too short: for the audit to find
        given = {
            "n_tokens": draw.choice([n] * 9 + [-n]),
            "match": data,
            "forced_match": draw.choice([None, packed(other)]),
            "logprobs": draw.choice([None, [-draw.random() for _ in range(n)]]),
            "n_match": draw.choice([None, None, 5]),
            "score": draw.choice([None, None, 0.25]),
            "first_mismatch": draw.choice([None, None, 3]),
            "memorized": draw.choice([None, None, True]),
            "forced_n_match": draw.choice([None, 2]),
            "sum_logprob": draw.choice([None, -1.5]),
        }
        rows.append(dict.fromkeys(vectors.TYPES) | given)
    piece = pa.Table.from_pylist(rows, schema=pa.schema(list(vectors.TYPES.items())))
    for part in (piece, piece.slice(3, 100), piece.slice(5, 0)):
        found, plain = vectors.derive(part).to_pylist(), [derived(row) for row in part.to_pylist()]
        assert len(found) == len(plain)
        for own, other in zip(found, plain, strict=True):
            assert own == other | (
                {} if other["sum_logprob"] is None else {"sum_logprob": pytest.approx(other["sum_logprob"], rel=1e-12)}
            )


def write(path, rows: list[dict[str, Any]], types: dict[str, pa.DataType]) -> None:
    table = pa.Table.from_pylist(rows)
    for name, kind in types.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    pq.write_table(table, path, row_group_size=7)


TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
NUMBERS = [pa.int64(), pa.int8(), pa.uint16(), pa.uint64(), pa.float64()]
LISTS = [pa.list_(pa.bool_()), pa.large_list(pa.bool_()), pa.list_(pa.int8()), pa.list_(pa.float64())]


@pytest.mark.parametrize("i", range(5))
def test_a_column_is_the_same_in_whatever_type_it_comes(tmp_path, i):
    draw = random.Random(i)
    bits = [[draw.random() < 0.7 for _ in range(draw.choice([0, 3, 8, 12, 32]))] for _ in range(50)]
    plain = [ROW | {"n_tokens": len(b), "sequence_id": str(k), "match": b, "forced_match": draw.choice([b, None])}
             for k, b in enumerate(bits)]  # fmt: skip
    expected = [
        (str(k), r["n_tokens"], packed(r["match"]), r["forced_match"] and packed(r["forced_match"]))
        for k, r in enumerate(plain)
    ]
    expected = [(*e[:3], b"" if r["forced_match"] == [] else e[3]) for e, r in zip(expected, plain, strict=True)]
    as_bytes = [r | {name: None if r[name] is None else packed(r[name]) for name in vectors.VECTORS} for r in plain]
    as_hex = [r | {name: r[name] if r[name] is None else r[name].hex() for name in vectors.VECTORS} for r in as_bytes]
    as_numbers = [r | {"match": [int(v) for v in r["match"]], "sequence_id": k} for k, r in enumerate(plain)]
    ways = {
        "lists.parquet": (plain, {"model": TEXTS[i % 4], "match": LISTS[i % 3], "n_tokens": NUMBERS[i % 5]}),
        "numbers.parquet": (as_numbers, {"sequence_id": NUMBERS[i % 4], "domain": TEXTS[-1]}),
        "bytes.parquet": (as_bytes, {"match": [pa.binary(), pa.large_binary()][i % 2], "sequence_id": TEXTS[i % 4]}),
        "hex.parquet": (as_hex, {"match": TEXTS[i % 3]}),
    }
    for name, (rows, types) in ways.items():
        write(tmp_path / name, rows, types)
    for name, rows in (("lists", plain), ("hex", as_hex), ("numbers", as_numbers)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    mixed = [as_numbers[k] if k % 2 else r for k, r in enumerate(as_hex)]
    (tmp_path / "mixed.jsonl").write_text("\n".join(map(json.dumps, mixed)))
    for path in sorted(tmp_path.iterdir()):
        found = [row for piece in vectors.read(path, {}) for row in piece.to_pylist()]
        assert [(r["sequence_id"], r["n_tokens"], r["match"], r["forced_match"]) for r in found] == expected, path.name
        assert {r["model"] for r in found} == {"m"}


SAID = json.dumps(ROW)
ODD = {  # lines that Arrow would read otherwise than Python, or not at all
    "two objects": (f"{SAID} {SAID}", "malformed JSON"),
    "blank": ("", "malformed JSON"),
    "no object": ('[{"a": 1}]', "not a JSON object"),
    "over two lines": (SAID.replace(" ", "\n", 1), "malformed JSON"),
    "unfinished": (SAID[:-1], "malformed JSON"),
    "infinite as C spells it": (SAID.replace("3", "Inf"), "malformed JSON"),
    "not UTF-8": (SAID.replace('"m"', '"\udcff"'), "malformed JSON"),
    "spaces": (f"  {SAID} \t", None),
    "a key twice": (SAID.replace("{", '{"n_tokens": 9, '), None),
    "a float": (SAID.replace("3", "3.0"), None),
    "a number that is none": (SAID.replace("{", '{"min_margin": NaN, '), None),
    "null": (SAID.replace("{", '{"score": null, "other": [[1, {}], "x"], '), None),
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("odd", list(ODD))
def test_a_line_of_json_is_what_python_takes_it_for(tmp_path, odd, end):
    line, problem = ODD[odd]
    path = tmp_path / "r.jsonl"
    path.write_bytes(end.join([SAID, SAID, line, SAID, ""]).encode(errors="surrogateescape"))
    if problem is None:
        ((piece,),) = [list(vectors.read(path, {}))]
        assert piece.num_rows == 4 and piece["n_tokens"].to_pylist() == [3] * 4
        assert piece["match"].to_pylist() == [b"\xa0"] * 4
    else:
        with pytest.raises(BadInput, match=rf"r\.jsonl line 3: {problem}$"):
            list(vectors.read(path, {}))


def test_a_bad_row_far_down_is_named(tmp_path):
    path = tmp_path / "r.jsonl"
    good = [SAID] * 20_005
    for place, bad, message in (
        (12_345, SAID.replace("3", "4"), "row 12346: match has 3 entries, n_tokens is 4"),
        (12_345, SAID.replace("{", '{"score": "x", '), "rows 10001 to 20000: score is not double"),
        (20_001, SAID.replace("{", '{"n_match": "x", '), "rows 20001 to 20005: n_match is not int64"),
        (20_001, "{", "line 20002: malformed JSON"),
        (9_999, SAID.replace('"d"', '" "'), "row 10000: domain is empty"),
        (10_000, SAID.replace('"d"', "null"), "row 10001: no domain"),
    ):
        path.write_text("\n".join([*good[:place], bad, *good[place + 1 :]]) + "\n")
        with pytest.raises(BadInput, match=message):
            list(vectors.read(path, {}))


def test_a_line_that_is_too_long_is_never_held(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "LONGEST", 1000)
    path = tmp_path / "r.jsonl"
    long = SAID.replace("{", '{"other": "' + "x" * 2000 + '", ')
    for lines, number in (([SAID, long, SAID], 2), ([long], 1), ([SAID, "x" * 10**6], 2)):
        path.write_text("\n".join(lines))
        with pytest.raises(BadInput, match=f"line {number}: longer than 1000 bytes"):
            list(vectors.read(path, {}))


def test_text_that_is_not_utf8_is_one_clear_line(tmp_path):
    table = pa.table({name: [value] for name, value in ROW.items()})
    bad = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    pq.write_table(table.set_column(0, "model", bad), tmp_path / "r.parquet")
    with pytest.raises(BadInput, match=r"cannot be read as Parquet: .*UTF"):
        list(vectors.read(tmp_path / "r.parquet", {}))
