"""What the cells of a first stage leave in files for a second stage: `spool/NAME/CELL` in the lake.

Such a file is not published, no query sees it, and it is gone once the second stage is published. It is whole or
missing. A worker writes it before its cell is published, so a published cell has one, unless somebody removed it: then
the cell is taken back and run again (`replan`).
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.publishing.forget import forget
from memlake.warehouse.words import counted

from .cells import Cell, plan


class Spool:
    """The files of one pair of stages. `name` says which: something else must have another name, so give it a hash of
    all that decides what stands in the files (`warehouse.identity.tagged`). It may be FOLDER/NAME: what lies in a
    corpus's folder (`warehouse.lake.spools`) goes when the corpus is forgotten."""

    def __init__(self, lake: Lake, name: str):
        self.lake, self.folder = lake, lake.path / "spool" / name

    @contextmanager
    def writing(self, cell: str) -> Iterator[Path]:
        """A path to write the file of the cell `cell` to; it bears its name when the block ends well."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{cell}-{uuid.uuid4().hex[:12]}.part"
        try:
            yield part
            os.replace(part, self.folder / cell)
        finally:
            part.unlink(missing_ok=True)

    def files(self) -> dict[str, Path]:
        """Cell and path of every file that is whole, in the order of the cells."""
        return {p.name: p for p in sorted(self.folder.glob("*")) if p.suffix != ".part"}

    def take(self, cells: Sequence[str]) -> list[Path]:
        """The files of these cells, in their order; raises `BadInput` where one is missing."""
        files = self.files()
        if missing := [c for c in cells if c not in files]:
            gone = f"{counted(len(missing), 'file')} of {self.lake.relative(self.folder)}"
            raise BadInput(f"{gone} {'is' if len(missing) == 1 else 'are'} gone: run the command again")
        return [files[c] for c in cells]

    def replan(self, first: Sequence[Cell], second: Sequence[Cell]) -> None:
        """Before the stages are run: where the second is published, remove what the first has left; else take back the
        published cells of the first whose file is gone, so that they are run again."""
        if not plan(self.lake, second):
            self.remove()
            return
        missing, files = {c.id for c in plan(self.lake, first)}, self.files()
        if lost := [c.id for c in first if c.id not in missing and c.id not in files]:
            forget(self.lake, cell=lost)

    def remove(self) -> None:
        """Remove the files, and a folder that held nothing else; there may be none, or another process removes them."""
        while self.folder.exists():
            with suppress(FileNotFoundError):
                shutil.rmtree(self.folder)
        parent = self.folder.parent
        if parent != self.lake.path / "spool":
            with suppress(FileNotFoundError):
                if not any(parent.iterdir()):
                    parent.rmdir()
