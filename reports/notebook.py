"""What `memlake.open()` gives a notebook: an open lake, with figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memlake.queries.ask import OpenLake
from memlake.warehouse.errors import UnknownName

from . import figure

if TYPE_CHECKING:
    import altair as alt


class Notebook(OpenLake):
    __doc__ = OpenLake.__doc__

    def figure(self, name: str, **parameters: object) -> alt.ConcatChart:
        """The figure of the finding `name`, as an Altair chart to go on from; `parameters` as in `query`. Of several
        samples each has its own, one under the other. Raises `UnknownName`, also for a finding without a figure."""
        import altair as alt

        from .svg import CONFIG

        found = figure.find(name)
        if found is None:
            raise UnknownName("figure", name, figure.names())
        answers = {of: self.query(of, **(parameters if of == name else {})).to_pyarrow() for of in found.rows_of}
        drawn = [
            alt.concat(*panels, columns=3, **({"title": heading} if heading else {}))
            for heading, panels in found.charts(answers)
            if panels
        ]
        return alt.concat(*drawn, columns=1, config=CONFIG)
