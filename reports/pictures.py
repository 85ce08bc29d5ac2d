"""Figures as files: the panels of one put together as one picture, as SVG and PNG."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .figure import Drawing

WIDTH, GAP = 1210, 14  # pixels: as wide as the page lets panels stand side by side, and what is between them
SIZE = re.compile(r'<svg\b[^>]*?\bwidth="([\d.]+)"[^>]*?\bheight="([\d.]+)"')
NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def save(folder: Path, figures: Mapping[str, Iterable[Drawing]]) -> list[Path]:
    """Write the figures of these names into a folder, an SVG and a PNG each; of a figure that is drawn for several
    samples one for each, numbered. Returns their paths; raises OSError."""
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, drawings in figures.items():
        drawn = list(drawings)
        for i, drawing in enumerate(drawn, start=1):
            svg = together(drawing.panels)
            path = folder / (f"{name}-{i}" if len(drawn) > 1 else name)
            for suffix, content in ((".svg", svg.encode()), (".png", vl_convert.svg_to_png(svg, scale=2))):
                paths.append(path.with_suffix(suffix))
                paths[-1].write_bytes(content)
    return paths


def together(panels: Iterable[str]) -> str:
    """One `<svg>` document of these `<svg>` elements in rows of at most `WIDTH` pixels, on white."""
    placed = list(_placed(panels))
    width = max((x + w for _, x, _, w, _ in placed), default=0)
    height = max((y + h for _, _, y, _, h in placed), default=0)
    parts = [panel.replace("<svg", f'<svg x="{x:g}" y="{y:g}"', 1) for panel, x, y, _, _ in placed]
    paper = f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>'
    return f'<svg {NAMESPACES} width="{width:g}" height="{height:g}">{paper}{"".join(parts)}</svg>'


def _placed(panels: Iterable[str]) -> Iterator[tuple[str, float, float, float, float]]:
    """Each panel with where it stands and how large it is."""
    x = y = row = 0.0
    for panel in panels:
        found = SIZE.search(panel)
        width, height = map(float, found.groups()) if found else (0.0, 0.0)
        if x and x + width > WIDTH:
            x, y, row = 0.0, y + row + GAP, 0.0
        yield panel, x, y, width, height
        x, row = x + width + GAP, max(row, height)
