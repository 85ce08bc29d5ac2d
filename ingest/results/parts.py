"""What was read of a file of results, in parts of bounded size as Arrow holds them.

A file is read once, and whatever is asked of it afterwards is asked of its parts: which ids the lake holds, what of
each model is written. A part is what a cell takes at most, so that neither the memory that one needs nor what a kill
loses grows with the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from memlake.ingest.source import HEAD, Reject

from .ids import Span
from .match_vectors import TYPES

PART = 1_000_000  # rows
ROWS, BYTES = 100_000, 64 << 20  # that are put together: a file of many short pieces is larger and slower
REJECTS = 10_000
BY = ("model", "condition", "corpus")
SCHEMA = pa.schema(list(TYPES.items()))
REJECT = pa.schema({"source": pa.string(), "position": pa.int64(), "reason": pa.string(), "head": pa.binary()})
PACKED = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True)
class Part:
    """Rows of a file that follow one another, and what is not taken of what stands among them. path: of the file with
    the rows. counts: how many, by model, condition and corpus. own: the span of their ids."""

    path: str
    counts: Counter[tuple[str, str | None, str]]
    own: Span

    @property
    def models(self) -> set[str]:
        return {model for model, *_ in self.counts}

    def n_rows(self, model: str | None = None) -> int:
        """How many rows, of this model or of all."""
        return sum(n for (m, *_), n in self.counts.items() if model in (m, None))

    def pieces(self, only: Collection[str] = tuple(TYPES)) -> Iterator[pa.Table]:
        """The rows, with these columns of `TYPES`."""
        fields = [i for i, name in enumerate(TYPES) if name in only]
        with pa.OSFile(self.path) as file:
            found = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
            for i in range(found.num_record_batches):
                yield pa.Table.from_batches([found.get_batch(i)])

    def rejects(self) -> Iterator[pa.Table]:
        """What is not taken, with the columns of `Reject`."""
        path = _rejects(self.path)
        if path.exists():
            with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as found:
                for batch in found:
                    yield pa.Table.from_batches([batch])


def _rejects(path: str) -> Path:
    return Path(path).with_suffix(".rejects")


def write(folder: Path, records: Iterable[tuple[pa.Table, pa.Array | None] | Reject]) -> list[Part]:
    """Write the parts of a file into a folder, which is made; there is one at least. records: in their order, rows with
    the columns of `TYPES` and the ids with which they came, and what is not taken."""
    folder.mkdir()
    found = [_Writing(folder / "0.arrow")]
    try:
        for record in records:
            if isinstance(record, Reject):
                found[-1].reject(record)
                continue
            rows, own = record
            while rows.num_rows:
                if found[-1].left == 0:
                    found[-1].close()
                    found.append(_Writing(folder / f"{len(found)}.arrow"))
                n = min(found[-1].left, rows.num_rows)
                found[-1].add(rows.slice(0, n), own and own.slice(0, n))
                rows, own = rows.slice(n), own and own.slice(n)
    finally:
        found[-1].close()
    return [writing.part for writing in found]


class _Writing:
    """A part that is being written."""

    def __init__(self, path: Path):
        self.part, self.left = Part(str(path), Counter(), Span()), PART
        self._rows = pa.ipc.new_file(str(path), SCHEMA, options=PACKED)
        self._rejects: pa.ipc.RecordBatchStreamWriter | None = None
        self._waiting, self._refused = list[pa.Table](), list[dict[str, object]]()

    def add(self, rows: pa.Table, own: pa.Array | None) -> None:
        """No more rows than are `left`."""
        for found in rows.group_by(list(BY)).aggregate([([], "count_all")]).to_pylist():
            self.part.counts[found["model"], found["condition"], found["corpus"]] += found["count_all"]
        self.part.own.add(own)
        self.left -= rows.num_rows
        self._waiting.append(rows)
        if sum(p.num_rows for p in self._waiting) >= ROWS or sum(p.nbytes for p in self._waiting) >= BYTES:
            self._store()

    def reject(self, reject: Reject) -> None:
        self._refused.append(asdict(reject) | {"head": reject.head[:HEAD]})
        if len(self._refused) == REJECTS:
            self._store()

    def _store(self) -> None:
        if self._waiting:
            self._rows.write_table(pa.concat_tables(self._waiting).combine_chunks())
        if self._refused:
            self._rejects = self._rejects or pa.ipc.new_stream(str(_rejects(self.part.path)), REJECT)
            self._rejects.write_table(pa.Table.from_pylist(self._refused, REJECT))
        self._waiting, self._refused = [], []

    def close(self) -> None:
        self._store()
        self._rows.close()
        if self._rejects:
            self._rejects.close()
