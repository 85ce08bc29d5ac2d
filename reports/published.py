"""Each published value stands beside ours for the same model, or else beside the nearest of ours, with a label that
says which. Ours is pooled over all domains the model was trained on, with its 95 % document-cluster interval; it weighs
a domain by what was sampled of it, a published rate by what training held.

Standing: `released counts` are of Biderman et al. 2023, arXiv 2304.11158, over 146,432,000 sequences of training; the
other values, of arXiv 2603.21658 and 2501.05078, are quoted from the paper, stated by readers of its full text, or
read off a figure.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import duckdb

from . import html

HERE = Path(__file__).parent / "published"
QUANTITIES = ("memorization_rate", "structural_share_of_memorized", "structural_share_of_memorized_noise_0.5")

# Ours: one row a quantity and a model that trained on what it was measured on. Findings answer by domain; papers state
# one number, so the domains are pooled here, on the rows and with the intervals of queries/findings/memorization_rate.
OURS = """
with documents as (
    select model, coalesce(document_id, sequence_id) as document, coalesce(noise, 0) as noise,
        count(*) as n, count(*) filter (memorized) as m,
        count(*) filter (memorized and "class" = 'structural') as structural,
        count(*) filter (memorized and "class" is not null) as classed
    from matches_all
    join model_corpora using (model, corpus)
    left join sequences using (sequence_id, corpus, domain)
    left join domains using (corpus, domain)
    left join conditions using (condition)
    where role = 'trained' and (noise = 0.5 or (model, condition) in (select model, base_condition from models))
    group by all
), shares as (
    select model, 'memorization_rate' as quantity, document, m, n from documents where noise = 0
    union all
    select model, 'structural_share_of_memorized', document, structural, classed from documents where noise = 0
    union all
    select model, 'structural_share_of_memorized_noise_0.5', document, structural, classed
    from documents where noise = 0.5
)
select quantity, model, family, miniature,
    coalesce(nominal_params, n_params)::double as params,
    (sum(m) / sum(n))::double as value, cluster_low(m, n) as low, cluster_high(m, n) as high
from shares
join models using (model)
group by all
having sum(n) > 0
order by all
"""


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


def values() -> list[Published]:
    """All published values, as shipped with the project."""
    found = []
    for row in _rows("pythia_memorized_counts.csv"):
        name = row["model"] + ("-deduped" if row["data"] == "deduped" else "")
        rate = int(row["memorized"]) / int(row["rows"])
        about = f"released counts: {int(row['memorized']):,}"
        found.append(
            Published(
                "2304.11158", name, "memorization_rate", rate, "share", about, "pythia", float(row["params"]), (name,)
            )
        )
    for row in _rows("reported.csv"):
        family = next((f for start, f in STARTS.items() if row["model"].lower().startswith(start)), None)
        found.append(
            Published(
                row["paper"], row["model"], row["quantity"], float(row["value"]), row["unit"], row["standing"], family,
                math.inf if "highest" in row["model"] else _params(row["model"]), (row["model"], row["model"].lower()),
            )
        )  # fmt: skip
    return found


# How the names that papers give to models begin, and the family that is meant; the longer beginnings first.
STARTS = {
    "pythia": "pythia",
    "gpt-neo": "gpt_neo",
    "starcoder": "starcoder",
    "olmo-2": "olmo2",
    "olmo-3": "olmo3",
    "olmo": "olmo",
}


def _rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _params(model: str) -> float | None:
    """The size that stands in a model's name: 12e9 for pythia-12b."""
    end = model.lower().rsplit("-", 1)[-1]
    unit = {"m": 1e6, "b": 1e9}.get(end[-1:])
    try:
        return float(end[:-1]) * unit if unit else None
    except ValueError:
        return None


def beside(con: duckdb.DuckDBPyConnection) -> str:
    """The table of published values beside ours, as HTML."""
    ours = con.execute(OURS).to_arrow_table().to_pylist()
    lines = []
    for p in values():
        row, label = _nearest(p, ours)
        lines.append(
            {
                "model": html.escape(p.model),
                "quantity": html.escape(p.quantity.replace("_", " ")),
                "published": _number(p.value, p.unit),
                "ours": _ours(row) if row else "",
                "comparable?": f"<strong>{label}</strong>" if row else label,
                "standing": html.escape(p.standing),
                "paper": html.links(html.escape(p.source)),
            }
        )
    heads = "".join(f"<th>{h}</th>" for h in lines[0])
    body = "\n".join("<tr>" + "".join(f"<td>{c}</td>" for c in line.values()) + "</tr>" for line in lines)
    return f"<div class=scroll><table><thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"


def _ours(row: dict) -> str:
    low, high = (_number(row[end], "share") for end in ("low", "high"))
    return f"{_number(row['value'], 'share')} <small>({low} to {high}), {html.escape(row['model'])}</small>"


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.3g} %" if unit == "share" else f"{value:g} <small>{html.escape(unit)}</small>"


def _nearest(p: Published, ours: list[dict]) -> tuple[dict | None, str]:
    """Our row for a published value, and its label: the very model if there is one, else the one of the family that is
    nearest in size, published models before miniatures."""
    if p.quantity not in QUANTITIES:
        return None, "no row of ours: not measured yet"
    same = [r for r in ours if r["quantity"] == p.quantity and r["family"] == p.family]
    for row in same:
        if row["model"] in p.names and not row["miniature"]:
            return row, "same model, another sample"
    if not same:
        return None, "no row of ours"
    if p.params == math.inf:
        row = max(same, key=lambda r: (not r["miniature"], r["value"]))
    else:
        row = min(same, key=lambda r: (r["miniature"], abs(math.log((r["params"] or 1) / (p.params or 1e9)))))
    return row, "not comparable: miniature" if row["miniature"] else "not comparable: another model"
