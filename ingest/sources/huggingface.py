"""A dataset of the Hugging Face hub, streamed by `datasets`, or a local folder of files that `datasets` knows.

Nothing is downloaded but what is read. A README.md in a local folder may say which configuration and split the files
belong to.

One unit of work is one data file, read with a schema of its own. Files of JSON lines and of Parquet are read as by the
sources `jsonl` and `parquet`: what is damaged in one becomes a row of `rejects` with its reason, and so does a record
without usable text. Whatever else `datasets` knows (CSV, text, Arrow, a .json that is one array, ...) it reads itself;
of these a damaged file fails as a whole, and the next run tries it again.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.errors import BadInput, UnknownName, one_line
from warehouse.options import option
from warehouse.paths import local

from .. import readers, streams
from ..documents import Input
from ..records import ChosenFields, Record
from ..source import Document, Reject

if TYPE_CHECKING:
    from datasets import DatasetBuilder

LONGEST = 300  # characters of another library's message that are shown


@dataclass(frozen=True)
class Source(ChosenFields):
    dataset: str = option("", "name on the hub (OWNER/NAME), or a local folder")
    config: str | None = option(None, "configuration; needed where the dataset has several")
    split: str = option("train", "split")
    revision: str | None = option(None, "branch, tag or commit of the hub; by default the newest")

    def options(self) -> dict[str, Any]:
        """Without where the files lie: a folder, or a revision. A file's digest tells whether it changed."""
        found = super().options()
        del found["revision"]
        return found | {"dataset": None if self._folder() else self.dataset}

    def inputs(self) -> list[Input]:
        if not self.dataset:
            raise BadInput("source 'huggingface' needs --dataset: a name on the hub, or a folder")
        files = self._builder().config.data_files
        if self.split not in files:
            raise UnknownName("split", self.split, map(str, files))
        return [Input(self._name(file), streams.digest(file), file) for file in files[self.split]]

    def read(self, given: Input) -> Iterator[Document | Reject]:
        if given.path.endswith((*readers.JSON_LINES, *readers.PARQUET)) and not _is_array(given.path):
            for record in readers.records(given.path, self.columns(), self.max_bytes):
                yield self.document(given.name, record)
            return
        if given.digest.startswith("0:"):  # of which `datasets` makes a StopIteration
            yield Reject(given.name, 0, streams.EMPTY, b"")
            return
        builder = self._builder(data_files={self.split: [given.path]})
        with self._asking(given.name):
            examples = iter(builder.as_streaming_dataset(split=self.split))
        for position in itertools.count():
            with self._asking(given.name):
                example = next(examples, None)
            if example is None:
                return
            yield self.document(given.name, Record(position, example))

    def _builder(self, **more: Any) -> DatasetBuilder:
        import datasets

        datasets.disable_progress_bars()
        with self._asking():
            place = str(self._folder() or self.dataset)
            return datasets.load_dataset_builder(place, self.config, revision=self.revision, **more)

    def _folder(self) -> Path | None:
        """The dataset's folder, where it is a local one."""
        folder = local(self.dataset).absolute()
        return folder if folder.is_dir() else None

    def _name(self, file: str) -> str:
        """A file's name relative to the dataset, the same for each revision."""
        folder = self._folder()
        return file.removeprefix(f"{folder}/") if folder else re.sub("^hf://datasets/[^@]*@[^/]*/", "", file)

    @contextmanager
    def _asking(self, file: str = "") -> Iterator[None]:
        """What goes wrong within is the dataset's or the network's fault."""
        try:
            yield
        except Exception as e:  # of `datasets`, and of all that it reads with: Arrow, pandas, fsspec, the hub's client
            what = f"dataset {self.dataset}" + ("" if self._folder() else " (there is no such folder here)")
            what = f"{file} of {what}" if file else what
            raise BadInput(f"{what} cannot be read ({type(e).__name__}): {one_line(e)[:LONGEST]}") from e


def _is_array(path: str) -> bool:
    """Is it a .json file of one array, and not of lines?"""
    if ".json" not in Path(path).suffixes[-2:]:
        return False
    try:
        return next(streams.pieces(path), b"").lstrip().startswith(b"[")
    except streams.CutStream:
        return False
