"""Figures as files: the panels of one put together as one picture, as SVG and PNG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .figure import GAP, Drawing

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
            svg = together(drawing)
            path = folder / (f"{name}-{i}" if len(drawn) > 1 else name)
            for suffix, content in ((".svg", svg.encode()), (".png", vl_convert.svg_to_png(svg, scale=2))):
                paths.append(path.with_suffix(suffix))
                paths[-1].write_bytes(content)
    return paths


def together(drawing: Drawing) -> str:
    """One `<svg>` document of the panels, in rows as on the page, on white."""
    parts, x, y, row, width = [], 0.0, 0.0, 0.0, 0.0
    for i, (panel, (wide, high)) in enumerate(zip(drawing.panels, drawing.sizes, strict=True)):
        if i and i % drawing.across == 0:
            x, y, row = 0.0, y + row + GAP, 0.0
        parts.append(panel.replace("<svg", f'<svg x="{x:g}" y="{y:g}"', 1))
        width, row = max(width, x + wide), max(row, high)
        x += wide + GAP
    size = f'width="{width:g}" height="{y + row:g}"'
    return f'<svg {NAMESPACES} {size}><rect {size} fill="#fff"/>{"".join(parts)}</svg>'
