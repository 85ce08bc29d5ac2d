"""Published values beside ours: of the same model, or else of the nearest of ours, with a label that says which.

`published/` holds the values, `templates/comparison.html` tells how ours are computed where a paper leaves it open, and
where the published ones come from.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from .text import count

VALUES = Path(__file__).parent / "published"
SAME, OTHER = "same model, another sample", "not comparable"  # labels
QUANTITIES = (
    "memorization_rate",
    "structural_share_of_memorized",
    "structural_share_of_memorized_noise_0.5",
    "prompt_compression_at_most",
    "cross_domain_head_overlap",
    "random_head_overlap",
    "universal_heads",
    "layer_profile_similarity",
    "exact_match_base",
    "exact_match_last_block_short_circuited",
    "token_accuracy_last_block_short_circuited",
    "task_accuracy_base",
    "task_accuracy_last_block_short_circuited",
)

# Ours: one row a quantity and a model that trained on what it was measured on. Findings answer by domain; papers state
# one number, so the domains are put together here. The findings of these names are there as views, of each model one
# sample; released lists are a sample by themselves.
FINDINGS = (
    "corpus_rate",
    "structural_share",
    "noise_structural_share",
    "head_overlap",
    "universal_heads",
    "family_similarity",
    "short_circuit_tradeoff",
)
ONE_SAMPLE = """
select *, concat_ws(' ', sample_rule, sample_window) as sample
from {rows}
qualify rank() over (
    partition by {of} order by sample_rule is distinct from 'space' or sample_window is distinct from '32+32',
    sample_rule, sample_window) = 1
"""
OF_MODEL = "model, role is not distinct from 'control', corpus = 'memorized_evals'"
OF_FAMILY = "family, miniature"
OURS = f"""
with shortest_prompts as (
    {ONE_SAMPLE.format(rows="prompt_compression join model_corpora using (model, corpus)", of=OF_MODEL)}
), compression as (
    select model, sample, text, count(*) as n, sum(ratio) as total
    from with_text(shortest_prompts)
    where role = 'trained' and "window" = 'suffix' and ratio is not null
    group by all
), heads as (
    from finding_head_overlap
    where method = 'peer_mean' and role is distinct from 'control'
), last_blocks as (
    from finding_short_circuit_tradeoff
    where first_block = last_block and last_block = n_layers - 1
), quantities as (
    select 'memorization_rate' as quantity, model, sample, rate as value, low, high
    from finding_corpus_rate
    where role = 'trained' and rate is not null and corpus <> 'memorized_evals'    -- there it is 1 by selection
    qualify row_number() over (partition by model, corpus order by weighted_by) = 1    -- 'bytes' before 'sample'
    union all
    select 'structural_share_of_memorized', model, sample, share, low, high
    from finding_structural_share
    where role = 'trained' and weighted_by = 'sample' and share is not null
    union all
    select 'structural_share_of_memorized_noise_0.5', model, sample, share, low, high
    from finding_noise_structural_share
    where role = 'trained' and noise = 0.5 and noise_layer = 0 and share is not null
    qualify row_number() over (partition by model, corpus order by noise_scope desc) = 1    -- 'token' before 'row'
    union all
    select 'prompt_compression_at_most', model, sample, sum(total) / sum(n) as mean,
        mean - cluster_margin(total, n), mean + cluster_margin(total, n)
    from compression
    group by all
    union all
    select 'cross_domain_head_overlap', model, sample, avg(jaccard), null, null from heads group by all
    union all
    select 'random_head_overlap', model, sample, avg(expected_jaccard), null, null from heads group by all
    union all
    select 'universal_heads', model, sample, avg(universal_share), null, null
    from finding_universal_heads
    where method = 'peer_mean' and role is distinct from 'control' and universal is not null
    group by all
    union all
    select 'exact_match_base', model, sample, rate, low, high
    from finding_corpus_rate
    join models using (model)
    where corpus = 'memorized_evals' and weighted_by = 'sample' and base_condition <> 'imported'
    union all
    select 'exact_match_last_block_short_circuited', model, sample, exact_match, exact_match_low, exact_match_high
    from last_blocks
    union all
    select 'token_accuracy_last_block_short_circuited', model, sample, token_accuracy, token_accuracy_low,
        token_accuracy_high
    from last_blocks
    union all
    select 'task_accuracy_base', model, sample, task_base, null, null from last_blocks where task_base is not null
    union all
    select 'task_accuracy_last_block_short_circuited', model, sample, task_score, null, null
    from last_blocks
    where task_score is not null
)
select quantity, model, sample, family, miniature, coalesce(nominal_params, n_params)::double as params,
    value::double as value, low::double as low, high::double as high
from quantities
join models using (model)
union all
select 'layer_profile_similarity', family, sample, family, miniature, null, within, null, null
from finding_family_similarity
where method = 'peer_mean' and within is not null
order by all
"""


@dataclass(frozen=True)
class Measured:
    """A row of `OURS`: the value of one quantity, and its interval where the finding has one. model: the family, where
    it is one number for all its models; params: of the model."""

    quantity: str
    model: str
    sample: str | None
    family: str
    miniature: bool
    params: float | None
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Published:
    """One value. family and params say which of our models is nearest; None: no one family is meant."""

    source: str
    model: str
    quantity: str
    value: float
    unit: str
    standing: str
    family: str | None
    params: float | None
    names: tuple[str, ...]  # by which our lake would hold the very model


@dataclass(frozen=True)
class Amount:
    """A number as it is written, and its unit where that is not in it."""

    text: str
    unit: str = ""


@dataclass(frozen=True)
class Ours:
    """Our value, its interval if it has one, and of which model and sample it is."""

    value: Amount
    low: Amount | None
    high: Amount | None
    of: str


@dataclass(frozen=True)
class Line:
    """One published value with ours, and how the two compare. holds: ours is of the same model, and whether its
    interval holds the published value."""

    model: str
    quantity: str
    published: Amount
    ours: Ours | None
    label: str
    standing: str
    paper: str
    holds: bool | None = None

    @property
    def is_comparable(self) -> bool:
        return self.ours is not None and not self.label.startswith(OTHER)


@dataclass(frozen=True)
class Comparison:
    """The section of the page."""

    lines: list[Line]
    anchor: str = "published"
    title: str = "What papers report, beside ours"
    template: str = "comparison.html"

    @property
    def comparable(self) -> list[Line]:
        return [line for line in self.lines if line.is_comparable]

    @property
    def others(self) -> list[Line]:
        return [line for line in self.lines if not line.is_comparable]

    @property
    def said(self) -> list[str]:
        same = [line for line in self.lines if line.label == SAME]
        values, held = (
            count(len(self.lines), "published value"),
            [line.holds for line in same if line.holds is not None],
        )
        if not same:
            return [f"Of {values} none is of a model measured here."]
        return [
            f"Of {values} {len(same)} are of models measured here: of {len(held)} ours has an interval, which holds "
            f"{sum(held)} of them."
        ]


def published_values() -> list[Published]:
    """All published values, as shipped with the project."""
    found = []
    for row in _rows("pythia_memorized_counts.csv"):
        rate = int(row["memorized"]) / int(row["rows"])
        standing = f"released counts: {int(row['memorized']):,}"
        found.append(
            Published(
                "2304.11158", row["model"], "memorization_rate", rate, "share", standing, row["family"],
                float(row["params"]), (row["model"],),
            )
        )  # fmt: skip
    for row in _rows("reported.csv"):
        found.append(
            Published(
                row["paper"], row["model"], row["quantity"], float(row["value"]), row["unit"], row["standing"],
                row["family"] or None, math.inf if "highest" in row["model"] else _params(row["model"]),
                (row["model"], row["model"].lower()),
            )
        )  # fmt: skip
    return found


def _rows(name: str) -> list[dict[str, str]]:
    with (VALUES / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _params(model: str) -> float | None:
    """The size that stands in a model's name: 12e9 for pythia-12b."""
    end = model.lower().rsplit("-", 1)[-1]
    unit = {"m": 1e6, "b": 1e9}.get(end[-1:])
    try:
        return float(end[:-1]) * unit if unit else None
    except ValueError:
        return None


def our_values(con: duckdb.DuckDBPyConnection, answers: Mapping[str, pa.Table]) -> list[Measured]:
    """Our values. answers: the rows of the findings, by name."""
    for name in FINDINGS:
        con.register("answer", answers[name])
        of = OF_MODEL if "model" in answers[name].column_names else OF_FAMILY
        con.execute(f"create or replace temp table finding_{name} as {ONE_SAMPLE.format(rows='answer', of=of)}")
    return [Measured(**row) for row in con.execute(OURS).to_arrow_table().to_pylist()]


def section(con: duckdb.DuckDBPyConnection, answers: Mapping[str, pa.Table]) -> Comparison:
    """The published values beside ours."""
    ours, lines = our_values(con, answers), []
    for p in published_values():
        nearest, label = _nearest(p, ours)
        published = _amount(p.value, p.unit)
        beside = _beside(nearest, p.unit) if nearest else None
        holds = None
        if nearest and label == SAME and nearest.low is not None and nearest.high is not None:
            holds = nearest.low <= p.value <= nearest.high
        lines.append(Line(p.model, p.quantity.replace("_", " "), published, beside, label, p.standing, p.source, holds))
    return Comparison(lines)


def _beside(measured: Measured, unit: str) -> Ours:
    low, high = (None if end is None else _amount(end, unit) for end in (measured.low, measured.high))
    return Ours(_amount(measured.value, unit), low, high, ", ".join(filter(None, (measured.model, measured.sample))))


def _amount(value: float, unit: str) -> Amount:
    return Amount(f"{100 * value:.3g} %") if unit == "share" else Amount(f"{value:.3g}", unit)


def _nearest(p: Published, ours: Sequence[Measured]) -> tuple[Measured | None, str]:
    """Our value beside a published one, and its label: the very model if there is one, else the one of the family that
    is nearest in size, published models before miniatures."""
    if p.quantity not in QUANTITIES:
        return None, "no row of ours: not measured yet"
    same = [m for m in ours if m.quantity == p.quantity and m.family == p.family]
    for measured in same:
        if measured.model in p.names and not measured.miniature:
            return measured, SAME
    if not same:
        return None, "no row of ours"
    if p.params == math.inf:
        nearest = max(same, key=lambda m: (not m.miniature, m.value))
    else:
        nearest = min(same, key=lambda m: (m.miniature, abs(math.log((m.params or 1) / (p.params or 1e9)))))
    if nearest.miniature:
        return nearest, f"{OTHER}: miniature"
    return nearest, "same family, our models" if nearest.model == p.family else f"{OTHER}: another model"
