"""A dataset of the Hugging Face hub, streamed by `datasets`, or a local folder of files that `datasets` knows.

Nothing is downloaded but what is read. A README.md in a local folder may say which configuration and split the files
belong to.

One unit of work is one data file, read with a schema of its own. Files of JSON lines and of Parquet are read as by the
sources `jsonl` and `parquet`: what is damaged in one becomes a row of `rejects` with its reason, and so does a record
without usable text. Whatever else `datasets` knows (CSV, text, Arrow, a .json that is one array, ...) it reads itself;
of these a damaged file fails as a whole, and the next run tries it again.

Fields, and of a local folder links and hidden names, are as of the source `parquet`; of what is read `datasets` tells
which split it is of.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from memlake.ingest.files import readers, remote, streams
from memlake.ingest.files.listing import Listing, ending, find
from memlake.ingest.files.records import ChosenFields, Record
from memlake.warehouse.errors import BadInput, UnknownName, one_line
from memlake.warehouse.options import option
from memlake.warehouse.paths import local

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

    @cached_property
    def listing(self) -> Listing:
        if not self.dataset:
            raise BadInput("source 'huggingface' needs --dataset: a name on the hub, or a folder")
        if (folder := self._folder()) is None:
            return Listing(sorted((self._name(file), file) for file in self._split(self.dataset)), {})
        found = find([str(folder)], ("",))
        with TemporaryDirectory() as made:
            view = os.path.realpath(made)
            real = _link(found, view)
            chosen = {real[os.path.relpath(file, view)] for file in self._split(view)}
        unread = found.unread[str(folder)] + Counter(ending(name) for name, file in found.files if file not in chosen)
        files = [(self.file_name(name, file), file) for name, file in found.files if file in chosen]
        return Listing(sorted(files), {str(folder): unread})

    def records(self, location: str, fields: Collection[str] | None) -> Iterator[Record]:
        if location.lower().endswith((*readers.JSON_LINES, *readers.PARQUET)) and not _is_array(location):
            yield from readers.records(location, fields, self.max_bytes)
            return
        with streams.open_file(location) as file:
            if not file.read(1):  # of which `datasets` makes a StopIteration
                yield Record(0, {}, b"", streams.EMPTY)
                return
        place, name = str(self._folder() or self.dataset), self._name(location)
        with _knowable(location) as known:
            builder = self._builder(place, data_files={self.split: [known]})
            with self._asking(name):
                examples = iter(builder.as_streaming_dataset(split=self.split))
            for position in itertools.count():
                with self._asking(name):
                    example = next(examples, None)
                if example is None:
                    return
                yield Record(position, example)

    def _split(self, place: str) -> list[str]:
        """The files of the split, of the dataset at a place."""
        files = self._builder(place).config.data_files
        if self.split not in files:
            raise UnknownName("split", self.split, map(str, files))
        return list(files[self.split])

    def _builder(self, place: str, **more: Any) -> DatasetBuilder:
        import datasets

        datasets.disable_progress_bars()
        with self._asking(place=place):
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
    def _asking(self, file: str = "", place: str = "") -> Iterator[None]:
        """What goes wrong within is the dataset's or the network's fault; `place`: where it is looked for."""
        try:
            yield
        except Exception as e:  # of `datasets`, and of all that it reads with: Arrow, pandas, fsspec, the hub's client
            what = f"dataset {self.dataset}" + ("" if self._folder() else " (there is no such folder here)")
            what = f"{file} of {what}" if file else what
            said = one_line(e).replace(place, self.dataset) if place else one_line(e)
            raise BadInput(f"{what} cannot be read ({type(e).__name__}): {said[:LONGEST]}") from e


def _link(found: Listing, view: str) -> dict[str, str]:
    """Make a folder of links to these files, for `datasets`, which follows no linked folder, to look through; where
    each leads. One whose ending is in upper case, which `datasets` does not know, stands there in lower case too."""
    real = {}
    for called, location in [*found.files, *((_known(name), location) for name, location in found.files)]:
        link = os.path.join(view, called)
        if not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(location, link)
            real[called] = location
    return real


def _known(name: str) -> str:
    """A file's name with its ending in lower case."""
    end = ending(name)
    return name[: -len(end)] + end if name.lower().endswith(end) else name


@contextmanager
def _knowable(location: str) -> Iterator[str]:
    """A file under a name of which `datasets` knows the ending."""
    if _known(location) == location or remote.is_remote(location):
        yield location
        return
    with TemporaryDirectory() as folder:
        link = Path(folder, _known(Path(location).name))
        link.symlink_to(location)
        yield str(link)


def _is_array(path: str) -> bool:
    """Is it a .json file of one array, and not of lines?"""
    if ".json" not in Path(path.lower()).suffixes[-2:]:
        return False
    try:
        return next(streams.pieces(path), b"").lstrip().startswith(b"[")
    except streams.CutStream:
        return False
