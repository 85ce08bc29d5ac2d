"""The findings that count texts that are alike, and read patterns of bits, against loops over all rows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pytest
from scipy import stats

from memlake.queries.finding import find, names
from memlake.queries.only import Only

from . import random_lake
from .findings import satterthwaite
from .random_lake import TOKENS

Z = stats.norm.ppf(0.975)


@pytest.fixture(scope="module", params=[1, 2])
def lake(request):
    made = random_lake.rows(request.param, 25)
    return random_lake.database(made), Plain(made)


class Plain:
    """The rows of the base condition with what is known of their sequences."""

    def __init__(self, made):
        texts = {d["document_id"]: d["text_hash"] for d in made["documents"]}
        of = {s["sequence_id"]: s for s in made["sequences"]}
        self.rows = []
        for m in made["matches"]:
            if m["condition"] != "base":
                continue
            s = of[m["sequence_id"]]
            rule = "start" if s["sample"] == "t" else "space"
            text = texts.get(s["document_id"], m["sequence_id"])
            self.rows.append({**s, **m, "rule": rule, "text": text, "line": (m["model"], m["corpus"], rule)})
        self.models = {m["model"]: m for m in made["models"]}

    def lines(self) -> dict[tuple, list[dict]]:
        return grouped(self.rows, lambda r: r["line"])


def grouped(rows: Iterable[dict], key) -> dict:
    found = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def asked(con, name: str, **parameters) -> list[dict]:
    rows = con.execute(find(name).sql(**parameters)).to_arrow_table().to_pylist()
    assert rows
    return rows


def interval(counts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The document-cluster interval of sum(m) / sum(n) over pairs (m, n), one a text."""
    m, n = np.array([c for c in counts if c[1] > 0], float).T
    p, whole, texts = m.sum() / n.sum(), n.sum(), len(n)
    if p in (0, 1) or texts == 1:
        effective = whole**2 / (n**2).sum()
    else:
        variance = texts / (texts - 1) * ((m - p * n) ** 2).sum() / whole**2
        effective = p * (1 - p) / max(variance, p * (1 - p) / whole)
        effective *= (stats.t.ppf(0.975, texts - 1) / stats.t.ppf(0.975, satterthwaite(n))) ** 2
        effective = max(1.0, effective)
    centre, width = p + Z**2 / 2 / effective, Z * math.sqrt(p * (1 - p) / effective + Z**2 / 4 / effective**2)
    return max(0, (centre - width) / (1 + Z**2 / effective)), min(1, (centre + width) / (1 + Z**2 / effective))


def bits_of(vector: bytes) -> np.ndarray:
    return np.unpackbits(np.frombuffer(vector, np.uint8))


def by_text(rows: Iterable[dict], hit) -> list[tuple[int, int]]:
    return [(sum(map(hit, of)), len(of)) for of in grouped(rows, lambda r: r["text"]).values()]


def assert_interval(got: tuple, counts: list[tuple[int, int]]) -> None:
    assert got == pytest.approx(interval(counts), rel=1e-4, abs=1e-6)


def line_of(row: dict, model: str = "model") -> tuple:
    return row[model], row["corpus"], row["sample_rule"]


def test_rates(lake):
    con, plain = lake
    got = asked(con, "memorization_rate")
    truth = grouped(plain.rows, lambda r: (*r["line"], r["domain"]))
    assert {(*line_of(r), r["domain"]) for r in got} == truth.keys()
    for row in got:
        counts = by_text(truth[*line_of(row), row["domain"]], lambda r: r["memorized"])
        assert (row["n"], row["documents"]) == (sum(n for _, n in counts), len(counts))
        assert row["memorized"] == sum(m for m, _ in counts)
        assert_interval((row["low"], row["high"]), counts)


def test_positions(lake):
    con, plain = lake
    for row in asked(con, "position_curve"):
        rows = plain.lines()[line_of(row)]
        assert row["documents"] == len({r["text"] for r in rows})
        for column, n, vector in (("greedy", "n", "match"), ("forced", "forced_n", "forced_match")):
            some = [r for r in rows if r[vector] is not None]
            counts = by_text(some, lambda r, v=vector, i=row["position"]: bits_of(r[v])[i])
            assert row[n] == len(some) and row[column] == pytest.approx(sum(m for m, _ in counts) / len(some))
            assert_interval((row[f"{column}_low"], row[f"{column}_high"]), counts)
        assert row["not_decoded"] == sum(r["match"] is None for r in rows)
        assert 0 <= row["position"] < TOKENS


def test_extraction(lake):
    con, plain = lake
    for row in asked(con, "extraction_probability", attempts=[1, 50, 20000], probabilities=[0.1, 0.9]):
        rows = [r for r in plain.lines()[line_of(row)] if r["sum_logprob"] is not None]
        needed = math.log(-math.expm1(math.log1p(-row["probability"]) / row["attempts"]))
        counts = by_text(rows, lambda r, x=needed: r["log_p_z"] is not None and r["log_p_z"] >= x)
        assert (row["n"], row["documents"]) == (len(rows), len(counts))
        assert row["extractable"] == sum(m for m, _ in counts)
        assert row["impossible"] == sum(r["log_p_z"] is None for r in rows)
        assert row["not_measured"] == len(plain.lines()[line_of(row)]) - len(rows)
        assert_interval((row["low"], row["high"]), counts)


def pairs_of(plain: Plain, a: tuple, b: tuple, key="sequence_id") -> list[tuple[dict, dict]]:
    of_b = {r[key]: r for r in plain.lines()[b]}
    return [(r, of_b[r[key]]) for r in plain.lines()[a] if r[key] in of_b]


def test_differences(lake):
    con, plain = lake
    got = asked(con, "model_difference")
    assert len(got) == 4 * (3 + 1)
    for row in got:
        met = pairs_of(plain, line_of(row, "model_a"), line_of(row, "model_b"))
        assert row["n"] == len(met) and row["documents"] == len({a["text"] for a, _ in met})
        for name, wanted in (("in_both", (True, True)), ("only_a", (True, False)), ("only_b", (False, True))):
            assert row[name] == sum((a["memorized"], b["memorized"]) == wanted for a, b in met)


def test_transitions(lake):
    con, plain = lake

    def level(row: dict) -> int | None:
        return None if row["n_match"] is None else min(4, 5 * row["n_match"] // TOKENS)

    names = ["[0.0,0.2)", "[0.2,0.4)", "[0.4,0.6)", "[0.6,0.8)", "[0.8,1.0]"]
    for row in asked(con, "score_transitions"):
        met = pairs_of(plain, line_of(row), (row["next_model"], row["corpus"], row["sample_rule"]))
        assert row["sequences"] == len(met)
        if row["from_score"] == "memorized":
            ways = [(a["text"], b["memorized"]) for a, b in met if a["memorized"]]
        else:
            start, end = names.index(row["from_score"]), names.index(row["to_score"])
            both = [(a["text"], level(a), level(b)) for a, b in met if level(a) is not None and level(b) is not None]
            assert row["not_decoded"] == len(met) - len(both)
            ways = [(text, b == end) for text, a, b in both if a == start]
        assert (row["n"], row["documents"]) == (len(ways), len({text for text, _ in ways}))
        assert row["moved"] == sum(moved for _, moved in ways)
        if ways:
            rows = [{"text": text, "moved": moved} for text, moved in ways]
            assert_interval((row["low"], row["high"]), by_text(rows, lambda r: r["moved"]))


def at_anchors(rows: list[dict]) -> dict[int, dict]:
    """Of each anchor the row of the longest prompt."""
    found: dict[int, dict] = {}
    for row in sorted(rows, key=lambda r: (-r["prefix_tokens"], r["sequence_id"])):
        if row["anchor_id"] is not None:
            found.setdefault(row["anchor_id"], row)
    return found


def reach(row: dict) -> int:
    return row["byte_end"] - 50 if row["byte_cut"] == 50 and row["matched_bytes"] is not None else 0


def test_sharing(lake):
    con, plain = lake
    horizon = 12
    for row in asked(con, "shared_memorization", horizon=horizon):
        lines = line_of(row, "model_a"), line_of(row, "model_b")
        a, b = (at_anchors(plain.lines()[line]) for line in lines)
        some = [k for k in a.keys() & b.keys() if reach(a[k]) >= horizon and reach(b[k]) >= horizon]
        hits = [{"text": a[k]["text"], "domain": a[k]["domain"], "a": a[k]["matched_bytes"] >= horizon,
                 "b": b[k]["matched_bytes"] >= horizon} for k in some]  # fmt: skip
        assert (row["n"], row["documents"]) == (len(some), len({h["text"] for h in hits}))
        assert row["left_out"] == pytest.approx(1 - len(some) / len(a.keys() | b.keys()))
        assert row["in_both"] == sum(h["a"] and h["b"] for h in hits)
        assert row["only_a"] == sum(h["a"] and not h["b"] for h in hits)
        assert row["only_b"] == sum(h["b"] and not h["a"] for h in hits)
        by_domain = grouped(hits, lambda h: h["domain"]).values()
        expected = sum(sum(h["a"] for h in of) * sum(h["b"] for h in of) / len(of) for of in by_domain)
        assert row["expected_in_both"] == pytest.approx(expected)
        if either := [h for h in hits if h["a"] or h["b"]]:
            assert_interval((row["low"], row["high"]), by_text(either, lambda h: h["a"] and h["b"]))
        met = pairs_of(plain, *lines)
        assert row["token_n"] == (len(met) or None)
        if either := [
            x | {"both": x["memorized"] and y["memorized"]} for x, y in met if x["memorized"] or y["memorized"]
        ]:
            assert row["token_in_both"] == sum(x["both"] for x in either)
            assert_interval((row["token_low"], row["token_high"]), by_text(either, lambda x: x["both"]))


def test_bytes(lake):
    con, plain = lake
    for row in asked(con, "byte_rate", horizons=[15, 6]):
        beside = {line: at_anchors([r for r in rows if r["matched_bytes"] is not None])
                  for line, rows in plain.lines().items() if line[1:] == line_of(row)[1:]}  # fmt: skip
        median = np.median([len(of) for of in beside.values()])
        compared = {line: of for line, of in beside.items() if len(of) >= median / 2}
        own, horizon = beside[line_of(row)], row["horizon"]
        assert row["asked"] == len(own) and row["models"] == len(compared)
        if line_of(row) not in compared:
            assert row["note"] == "asked about too few"
            continue
        anchors = set().union(*compared.values())
        can = {line: {k for k in of if reach(of[k]) >= horizon} for line, of in compared.items()}
        common = set.intersection(*can.values())
        tokenizer = plain.models[row["model"]]["tokenizer"]
        others = [k for line, k in can.items() if plain.models[line[0]]["tokenizer"] != tokenizer]
        assert (row["anchors"], row["n"]) == (len(anchors), len(common))
        assert row["documents"] == len({own[k]["text"] for k in common})
        assert row["own_left_out"] == pytest.approx(1 - len(can[line_of(row)]) / len(anchors))
        assert row["left_out_alone"] == pytest.approx(len(set.intersection(*others) - common) / len(anchors))
        assert row["reproduced"] == sum(own[k]["matched_bytes"] >= horizon for k in common)
        if row["note"] is None:
            counts = by_text([own[k] for k in common], lambda r, h=horizon: r["matched_bytes"] >= h)
            assert_interval((row["low"], row["high"]), counts)
            bits = size = 0
            for r in (own[k] for k in common if own[k]["logprobs"] is not None):
                ends = r["byte_ends"][r["prefix_tokens"] :]
                tokens = 1 + sum(e < 50 + horizon for e in ends)
                bits -= sum(np.float32(r["logprobs"][:tokens]).astype(float)) / math.log(2)
                size += ends[tokens - 1] - 50
            assert row["bits_per_byte"] == pytest.approx(bits / size)


def test_what_controls_leave(lake):
    con, plain = lake
    for row in asked(con, "control_adjusted_rate", horizon=12):
        a, b = line_of(row), (row["control"], row["control_corpus"], row["sample_rule"])
        if row["basis"] == "held-out corpus":
            ours, theirs = ([r for r in plain.lines()[line] if r["domain"] == row["domain"]] for line in (a, b))
            pair = [[r["memorized"] for r in rows] for rows in (ours, theirs)]
            texts = {r["text"] for r in ours}
        elif row["basis"] == "anchor":
            ours, theirs = at_anchors(plain.lines()[a]), at_anchors(plain.lines()[b])
            some = [k for k in ours.keys() & theirs.keys() if ours[k]["domain"] == row["domain"]
                    and reach(ours[k]) >= 12 and reach(theirs[k]) >= 12]  # fmt: skip
            pair = [[of[k]["matched_bytes"] >= 12 for k in some] for of in (ours, theirs)]
            texts = {ours[k]["text"] for k in some}
        else:
            assert row["basis"] == "not comparable" and row["n"] == 0
            continue
        assert (row["n"], row["n_control"], row["documents"]) == (len(pair[0]), len(pair[1]), len(texts))
        assert (row["rate"], row["control_rate"]) == pytest.approx((np.mean(pair[0]), np.mean(pair[1])))


SELECTIONS = ({"families": ("a",)}, {"models": "a1,b1"}, {"corpora": "x", "domains": ["d"]}, {"families": "b,c"})


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
def test_what_is_selected_is_answered_as_if_there_were_nothing_else(selection):
    made, only = random_lake.rows(3, 20), Only(**selection)
    family = {m["model"]: m["family"] for m in made["models"]}

    def chosen(table: str, row: dict) -> bool:
        if table == "model_corpora":  # it tells of other corpora on what they were trained, too
            row = {"model": row["model"]}
        own = {"families": family.get(row.get("model")), "models": row.get("model")}
        own |= {"corpora": row.get("corpus"), "domains": row.get("domain")}
        return all(own[name] is None or own[name] in values for name, values in only.selected.items())

    less = {table: [row for row in rows if chosen(table, row)] for table, rows in made.items()}
    assert 0 < len(less["matches"]) < len(made["matches"])
    con, alone = random_lake.database(made, only), random_lake.database(less)
    only.check(con)
    n_rows = 0
    for name in names():
        text = find(name).sql()
        got = con.execute(text).to_arrow_table().to_pylist()
        assert got == [close(row) for row in alone.execute(text).to_arrow_table().to_pylist()], name
        n_rows += len(got)
    assert n_rows > 100


def close(row: dict) -> dict:
    return {k: pytest.approx(v, nan_ok=True) if isinstance(v, float) else v for k, v in row.items()}
