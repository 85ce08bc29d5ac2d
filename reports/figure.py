"""A figure: one file of the shelf `figures/`, with the name of the finding that it draws.

The first line of its docstring is the question that the finding answers, the rest the caption. `draw(rows)` makes the
Altair charts of the finding's rows, one a panel. `ALSO` names findings whose rows it takes as well, `RUN` says which
command fills the finding where there are no rows yet.
"""

from __future__ import annotations

import ast
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import pyarrow as pa

from memlake.queries.kept import Kept
from memlake.warehouse import shelf
from memlake.warehouse.identity import tagged
from memlake.warehouse.models.registry import appearances

if TYPE_CHECKING:
    import pandas as pd
    from altair.typing import ChartType

SHELF = "memlake.reports.figures"
PAGE, GAP = 1135, 12  # pixels of the page's column, and between panels: see page.css
SIZE = re.compile(r'<svg\b[^>]*? width="(?P<width>[\d.]+)"[^>]*? height="(?P<height>[\d.]+)"')
SAMPLE = ["sample_rule", "sample_window"]
DRAWINGS = pa.schema({"heading": pa.string(), "panels": pa.list_(pa.string())})
RUN = "`memlake compute run scoring --model MODEL --corpus CORPUS`, or `memlake demo` for everything"


class FigureModule(Protocol):
    """Such a file, imported; `RUN` and `ALSO` it may leave out."""

    def draw(self, rows: pd.DataFrame, /, *also: pd.DataFrame) -> Sequence[ChartType]:
        """The panels, none where there is nothing to draw. also: the rows of the findings of `ALSO`, in that order."""


@dataclass(frozen=True)
class Drawing:
    """The panels of a figure for one sample, each an `<svg>` element. heading: names the sample where there are
    several, else empty."""

    heading: str
    panels: list[str]

    @property
    def sizes(self) -> list[tuple[float, float]]:
        """Width and height of each panel, in pixels."""
        found = [SIZE.match(panel) for panel in self.panels]
        return [(float(size["width"]), float(size["height"])) for size in found if size]

    @property
    def across(self) -> int:
        """How many panels stand side by side: as many as make rows of equal length on a page whose column is PAGE
        pixels wide."""
        wide = max(math.ceil(width) for width, _ in self.sizes)
        rows = math.ceil(len(self.panels) / max(1, (PAGE + GAP) // (wide + GAP)))
        return math.ceil(len(self.panels) / rows)

    @property
    def layout(self) -> str:
        """The same as CSS: `--wide` pixels for each, so many `--across`."""
        return f"--wide: {max(math.ceil(width) for width, _ in self.sizes)}px; --across: {self.across}"


@dataclass(frozen=True)
class Figure:
    """The figure of one finding."""

    name: str

    @property
    def question(self) -> str:
        return self._docstring.partition("\n")[0]

    @property
    def caption(self) -> str:
        """How to read it; text of several paragraphs with `code`."""
        return self._docstring.partition("\n")[2].strip()

    @property
    def run(self) -> str:
        """The commands that fill its finding, as text with `code`."""
        return getattr(self._module, "RUN", RUN)

    def draw(self, answers: Mapping[str, pa.Table], kept: Kept | None = None, fresh: bool = False) -> list[Drawing]:
        """The figure for each sample, without those where there is nothing to draw. answers: rows of findings; kept:
        where drawings are that need not be drawn again, since the rows are the same, unless `fresh`."""
        tables = [answers[name] for name in self.rows_of]
        key = self._made_of(tables) if kept else ""
        if kept and not fresh and (drawn := kept.get(key)) is not None:
            return [Drawing(**row) for row in drawn.to_pylist()]
        drawings = self._draw(tables)
        if kept:
            kept.put(key, pa.Table.from_pylist([vars(d) for d in drawings], DRAWINGS))
        return drawings

    def _draw(self, tables: Sequence[pa.Table]) -> list[Drawing]:
        from .svg import render

        drawings: list[Drawing] = []
        for heading, charts in self._charts(tables):
            panels = [render(chart, f"{self.name}-{len(drawings)}-{i}") for i, chart in enumerate(charts)]
            if panels:
                drawings.append(Drawing(heading, panels))
        return drawings

    def charts(self, answers: Mapping[str, pa.Table]) -> list[tuple[str, Sequence[ChartType]]]:
        """The panels for each sample, with its heading, as Altair charts."""
        return list(self._charts([answers[name] for name in self.rows_of]))

    def _charts(self, tables: Sequence[pa.Table]) -> Iterator[tuple[str, Sequence[ChartType]]]:
        from altair.utils.schemapi import debug_mode

        for heading, (rows, *also) in _by_sample([table.to_pandas() for table in tables]):
            with debug_mode(False):  # Altair would validate each piece of each chart: the tests have it do so
                charts = self._module.draw(rows, *also)
            yield heading, charts

    @cached_property
    def rows_of(self) -> list[str]:
        """The findings whose rows it takes. Read off the source: to import it takes Altair's seconds."""
        for node in ast.parse(shelf.text(SHELF, self.name)).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "ALSO":
                return [self.name, *ast.literal_eval(node.value)]
        return [self.name]

    def _made_of(self, tables: Sequence[pa.Table]) -> str:
        """A hash of all that the drawings follow from: rows, colours of families, code and libraries that draw."""
        here = Path(__file__).parent
        shared = [path.read_text(encoding="utf-8") for path in sorted(here.glob("figures/_*.py"))]
        code = [shelf.text(SHELF, self.name), *shared, (here / "svg.py").read_text(encoding="utf-8")]
        drawn_by = [version(name) for name in ("memlake", "altair", "vl-convert-python", "pandas")]
        colours = {family: [repr(a.place), a.colour] for family, a in appearances().items()}
        return tagged("figure", [drawn_by, code, colours, [_digest(table) for table in tables]])

    @cached_property
    def _docstring(self) -> str:
        source = shelf.text(SHELF, self.name)
        return ast.get_docstring(ast.parse(source)) or ""  # without its import, which takes Altair's seconds

    @property
    def _module(self) -> FigureModule:
        return cast(FigureModule, shelf.take(SHELF, self.name, "figure"))


def _digest(rows: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())
    return hashlib.blake2b(sink.getvalue(), digest_size=16).hexdigest()


def names() -> list[str]:
    """The findings that have a figure."""
    return shelf.names(SHELF)


def find(finding: str) -> Figure | None:
    """The figure of a finding; None where it has none."""
    return Figure(finding) if finding in names() else None


def _by_sample(frames: list[pd.DataFrame]) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """The frames for each sampling rule and window of the first, with a heading where there are several: figures add
    nothing up over them."""
    if SAMPLE[0] not in frames[0]:
        yield "", frames
        return
    found = _samples(frames[0]).drop_duplicates().sort_values(SAMPLE)
    for rule, window in found.itertuples(index=False):
        parts = [
            frame[(_samples(frame) == [rule, window]).all(axis=1)] if SAMPLE[0] in frame else frame for frame in frames
        ]
        heading = f"Anchors: {rule}, window: {window}" if len(found) > 1 else ""
        yield heading, [part.reset_index(drop=True) for part in parts]


def _samples(frame: pd.DataFrame) -> pd.DataFrame:
    """Of which sample each row is."""
    return frame[SAMPLE].fillna("not known")
