"""The report: one HTML page that needs nothing but itself, drawn from one snapshot of a lake.

For each finding its question, a figure, the numbers and the SQL; then what stands behind them. The same lake gives
the same page but for the time in its head.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from types import ModuleType
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from memlake.queries import ask
from memlake.queries.finding import Finding, find, names
from memlake.warehouse import schema as tables
from memlake.warehouse import shelf
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.paths import local

from . import about, html, published

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent
FIGURES = "memlake.reports.figures"
ORDER = (  # in which findings are told; others come after, by name
    "memorization_rate",
    "byte_rate",
    "corpus_rate",
    "control_adjusted_rate",
    "guessability",
    "scaling_law",
    "domain_distribution",
    "structural_share",
    "dose_response",
    "frequency_by_bucket",
    "tokenizer_mismatch",
    "score_distribution",
    "score_transitions",
    "position_curve",
    "extraction_probability",
    "model_difference",
    "shared_memorization",
    "prompt_compression",
    "compression_distribution",
    "noise_rate",
    "noise_structural_share",
    "noise_recovery",
    "layer_probability",
    "decoding_depth",
    "layer_agreement",
    "head_importance",
    "head_overlap",
    "universal_heads",
    "layer_profile",
    "profile_similarity",
    "family_similarity",
    "head_reliability",
    "head_screening",
    "short_circuit_tradeoff",
    "short_circuit_quartiles",
    "output_difference",
)
RUN = "`memlake compute run scoring --model MODEL --corpus CORPUS`, or `memlake demo` for everything"


@dataclass(frozen=True)
class Section:
    """One section of the page: `title` is plain text, `content` HTML."""

    anchor: str
    title: str
    content: str

    @property
    def html(self) -> str:
        return f'<section id="{self.anchor}">\n<h2>{escape(self.title)}</h2>\n{self.content}\n</section>\n'


def told() -> list[str]:
    """The findings in the order of the page."""
    return sorted(names(), key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n))


def available() -> pa.Table:
    """One row a finding that a report can show: its question, and whether it has a figure."""
    return pa.Table.from_pylist(
        [
            {"finding": f.name, "question": question(f), "figure": "yes" if _has_figure(f) else "no"}
            for f in map(find, told())
        ]
    )


def write(lake: Lake, only: Sequence[str] = (), out: Path | None = None, now: datetime | None = None) -> Path:
    """Draw the page and write it, whole or not at all; returns its path (default: `reports/index.html` in the lake).

    only: names of findings, all for none. Raises `UnknownName` for one that is not there, `BadInput` for a path that
    cannot be written.
    """
    out = local(out or lake.path / "reports" / "index.html").absolute()
    text = page(lake, [find(name) for name in only or told()], now or datetime.now(UTC))
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(out)
    except OSError as e:
        with suppress(OSError):  # it may not be there
            part.unlink()
        raise BadInput(f"{out} cannot be written ({e.strerror}): name another file with --out") from e
    return out


def page(lake: Lake, findings: Sequence[Finding], now: datetime) -> str:
    """The page as text."""
    deltas = {name: lake.delta(name) for name in tables.names()}
    files = {name: lake.snapshot(name, delta) for name, delta in deltas.items()}
    versions = {name: delta.version() for name, delta in deltas.items()}
    n_rows = {name: sum(f.rows for f in of_table) for name, of_table in files.items()}
    with ask.connect(lake, files) as con:
        answers = Answers(con)
        sections = [_finding(f, answers) for f in findings]
        sections += [
            Section(
                "published",
                "What papers report, beside ours",
                html.prose(published.__doc__) + published.beside(con, answers),
            ),
            Section("models", "Models", about.models(con)),
            Section("checks", "What was checked before it was published", about.checks(con)),
            Section("cells", "Units of work by experiment and outcome", about.cells(con)),
            Section("tables", "The lake's tables and their versions", about.tables(versions, n_rows)),
            Section("libraries", "Library versions", about.libraries(con)),
        ]
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        lake=escape(lake.path.name),
        drawn=now.isoformat(sep=" ", timespec="seconds"),
        versions=escape(", ".join(f"{name} v{versions[name]}" for name in ("matches", "sequences", "models", "cells"))),
        counts=f"{html.count(n_rows['matches'], 'measurement')}, {html.count(n_rows['models'], 'model')}",
        contents="\n".join(f'<li><a href="#{s.anchor}">{escape(s.title)}</a></li>' for s in sections),
        sections="\n".join(s.html for s in sections),
    )


class Answers(dict[str, pa.Table]):
    """The findings' rows by name, each asked once."""

    def __init__(self, con: duckdb.DuckDBPyConnection):
        self._con = con

    def __missing__(self, finding: str) -> pa.Table:
        self[finding] = self._con.execute(find(finding).text).to_arrow_table()
        return self[finding]


def question(finding: Finding) -> str:
    """What the finding asks: the first line of its figure's docstring, or what one row is where it has none."""
    if not _has_figure(finding):
        return finding.grain
    source = shelf.text(FIGURES, finding.name)
    return ast.get_docstring(ast.parse(source)).splitlines()[0]  # without its import, which takes Altair's seconds


def _has_figure(finding: Finding) -> bool:
    return finding.name in shelf.names(FIGURES)


def _figure(finding: Finding) -> ModuleType:
    return shelf.take(FIGURES, finding.name, "figure")


def _finding(finding: Finding, answers: Answers) -> Section:
    rows = answers[finding.name]
    what = html.fold(
        "How it is measured, and what it leaves out", f"<pre class=help>{html.links(escape(finding.help))}</pre>"
    )
    content = f"<p class=name>finding <code>{escape(finding.name)}</code></p>\n"
    if rows.num_rows:
        more = f"memlake query run {finding.name} --format csv"
        numbers = html.fold(
            f"The numbers: {html.count(rows.num_rows, 'row')}", html.table(rows, more), rows.num_rows <= 15
        )
        content += _drawn(finding, rows, answers) + what + numbers
    else:
        run = getattr(_figure(finding), "RUN", RUN) if _has_figure(finding) else RUN
        content += html.prose(f"No rows yet: run {run}.").replace("<p>", "<p class=empty>", 1) + what
    return Section(finding.name, question(finding), content + _sql(finding))


def _drawn(finding: Finding, rows: pa.Table, answers: Answers) -> str:
    """The figure and how to read it; nothing for a finding without one."""
    if not _has_figure(finding):
        return ""
    from .svg import render

    module = _figure(finding)
    frames = [rows.to_pandas(), *(answers[name].to_pandas() for name in getattr(module, "ALSO", ()))]
    head, _, caption = module.__doc__.partition("\n")
    drawn = []
    for heading, parts in _samples(frames):
        panels = [render(p, f"{finding.name}-{len(drawn)}-{i}") for i, p in enumerate(module.draw(*parts))]
        if panels:
            inside = "\n".join(f"<div>{panel}</div>" for panel in panels)
            drawn.append(f'{heading}<div class=panels role=img aria-label="{escape(head)}">\n{inside}\n</div>')
    if not drawn:
        return ""
    return f"<figure><figcaption>{html.prose(caption)}</figcaption>\n" + "\n".join(drawn) + "</figure>\n"


def _samples(frames: list[pd.DataFrame]) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """The frames for each sampling rule and window of the first, with a heading where there are several: figures add
    nothing up over them."""
    by = ["sample_rule", "sample_window"]
    if by[0] not in frames[0]:
        yield "", frames
        return
    told = [frame[by].fillna("not known") if by[0] in frame else None for frame in frames]
    found = told[0].drop_duplicates().sort_values(by)
    for rule, window in found.itertuples(index=False):
        parts = [f if t is None else f[(t == [rule, window]).all(axis=1)] for f, t in zip(frames, told, strict=True)]
        heading = f"<h3>Anchors: {escape(rule)}, window: {escape(window)}</h3>\n" if len(found) > 1 else ""
        yield heading, [part.reset_index(drop=True) for part in parts]


def _sql(finding: Finding) -> str:
    text = escape(finding.text)
    return html.fold(
        "The SQL", f"<div class=sql><button type=button hidden>Copy</button><pre><code>{text}</code></pre></div>"
    )
