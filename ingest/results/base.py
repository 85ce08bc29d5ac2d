"""Results made elsewhere into the lake: the sequences that it does not hold, then each model's match vectors.

A checkpoint that is measured here afterwards takes the place of its imported row in `models`, and its own condition
that of `imported`: see compute/checkpoint.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from memlake.ingest.documents.base import listed
from memlake.ingest.documents.strict import refuse
from memlake.ingest.files import streams
from memlake.ingest.files.listing import Listing, find
from memlake.ingest.source import HEAD, Reject, source_name
from memlake.warehouse.errors import BadInput, Conflict, UnknownName
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import families, resolve
from memlake.warehouse.publishing.register import register
from memlake.warehouse.work.cells import Cell, published

from . import match_vectors as vectors

VERSION = 1
MISTYPED = 0.72  # a family as similar to one of the registry is taken for a slip
CONDITION = "imported"  # nothing is known of how the rows were made


@dataclass(frozen=True)
class File:
    """A file to read. `name` is relative to the root; `digest` changes when the content does; `path` is where it lies
    now; `about` is of a file of one model on one corpus: `model`, `corpus`, and what else decides its rows, as JSON
    has it."""

    name: str
    digest: str
    path: str
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class Seen:
    """What a file holds: its rows by model, condition and corpus; of what is not taken the number by reason, and the
    first."""

    rows: Counter[tuple[str, str | None, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    first: Reject | None = None


class ResultSource(ABC):
    """The part that all sources of results share. A source adds its options as dataclass fields, where its files are
    and what stands in them."""

    SUFFIXES: ClassVar[tuple[str, ...]]
    path: tuple[str, ...]
    family: str | None  # of a model that is neither in the lake nor in the registry
    params: int | None  # parameters of such a model

    @abstractmethod
    def files(self, lake: Lake, corpus: str | None) -> list[File]:
        """What there is to read; `corpus`: what --corpus says. Raises `BadInput`, `UnknownName`."""

    @abstractmethod
    def read(self, file: File) -> Iterator[pa.Table | Reject]:
        """The records of a file in bounded memory: pieces with the columns of `vectors.TYPES`, and what is not taken.
        `sequence_id` is the id where the row was made."""

    @abstractmethod
    def identify(self, piece: pa.Table, tokenizers: Sequence[str], known: dict[int, int | None]) -> list[int]:
        """The id of each row's sequence; `known`: anchors of the lake's sequences, by sequence id."""

    @cached_property
    def listing(self) -> Listing:
        if not self.path:
            raise BadInput(f"source {source_name(self)!r} needs --path: a file or a folder")
        return find(self.path, self.SUFFIXES, self.file_name)

    def file_name(self, given: str, location: str) -> str:
        """What a file is called in the lake; `given` is its name relative to the --path."""
        return given

    def find(self) -> list[File]:
        """The files at --path."""
        return [File(name, streams.digest(path), path) for name, path in self.listing.files]

    def look(self, corpus: str | None) -> None:
        self.listing  # noqa: B018

    def stages(
        self, lake: Lake, corpus: str | None, keep: int | None = None, strict: bool = False
    ) -> Iterator[list[Cell]]:
        if keep is not None:
            raise BadInput(f"source {source_name(self)!r} reads no documents: it takes no --keep")
        files = self.files(lake, corpus)
        seen = {file.name: self._scan(file) for file in files}
        if strict:
            refuse([{"reasons": s.reasons, "first": s.first and astuple(s.first)[:3]} for s in seen.values()])
        before = self._before(lake, files, seen)
        # A file that was read before keeps its tokenizers, though the model may have got one of its own since.
        tokenizers = self._register(lake, [key for found in seen.values() for key in found.rows]) | before
        own = [{"model": f.about["model"], "corpus": f.about["corpus"], "role": "trained"} for f in files if f.about]
        register(lake, "model_corpora", own)
        name = source_name(self)
        settings = {
            "source": name,
            "tokenizers": tokenizers,
            "corpora": sorted({corpus for found in seen.values() for *_, corpus in found.rows}),
            "files": [[f.name, f.digest, f.about] for f in files],
        }
        yield [Cell(f"{name}_sequences", VERSION, settings, ("sequences",), task={"paths": [f.path for f in files]})]
        yield [cell for file in files for cell in self._cells(file, seen[file.name], tokenizers)]

    def rows(self, cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
        with lake.connect(["sequences"]) as con:
            known = dict(con.sql("select sequence_id, anchor_id from stored.sequences").fetchall())
        if "files" in cell.settings:
            yield from self._sequences(cell, known)
        else:
            yield from self._matches(cell, known)

    def report(self, lake: Lake, cells: list[Cell]) -> list[str]:
        ids = [c.id for c in cells]
        with lake.connect(["matches", "sequences", "models", "rejects"]) as con:

            def of_cells(sql: str) -> list[tuple]:
                return con.execute(sql, [ids]).fetchall()

            ((rows, known),) = of_cells(
                "select count(*), count(*) filter (s.external_id is null) from stored.matches m"
                " join stored.sequences s using (sequence_id) where list_contains(?, m.cell)"
            )
            rejects = of_cells(
                "select reason, count(*) from stored.rejects where list_contains(?, cell) group by all order by all"
            )
            unseen = of_cells(
                "select distinct m.model, m.condition from stored.matches m join stored.models b using (model)"
                " where list_contains(?, m.cell) and m.condition <> b.base_condition order by all"
            )
        lines = [
            f"{source_name(self)}: {rows} rows; {known} of sequences that the lake holds with their text,"
            f" {rows - known} of sequences known only by the id they came with"
        ]
        if left := sum(n for _, n in rejects):
            lines.append(f"not taken: {left} records, each with its reason in `rejects` ({listed(rejects)})")
        lines += self.listing.lines()
        lines += [
            f"{m}: {c!r} is not its base condition, so findings use its rows only with -p condition={c}"
            " (scores stand in `matches_all`)"
            for m, c in unseen
        ]
        return lines

    def _scan(self, file: File) -> Seen:
        """Counts the records. Reads the whole file, so that a bad one is known before anything is written."""
        found = Seen()
        if file.about:
            found.rows[file.about["model"], None, file.about["corpus"]] = 0
        for piece in self.read(file):
            if isinstance(piece, Reject):
                found.first = found.first or piece
                found.reasons[piece.reason] += 1
            else:
                columns = (piece[name].to_pylist() for name in ("model", "condition", "corpus"))
                found.rows.update(zip(*columns, strict=True))
        if not found.rows.total() and not found.reasons:
            raise BadInput(f"{file.path} holds no rows")
        return found

    def _before(self, lake: Lake, files: Sequence[File], seen: dict[str, Seen]) -> dict[str, str]:
        """The tokenizers under which these very files were read before, by model. Raises `Conflict` where the lake
        holds a model's rows of one of these corpora from a file of the same name with other content."""
        digests = {f.name: f.digest for f in files}
        tokenizers = {}
        for cell, s in published(lake, source_name(self)):
            found = seen[s["file"]].rows if s["file"] in seen else ()
            corpora = {corpus for model, _, corpus in found if model == s["model"]} & set(s["corpora"])
            if not corpora:
                continue
            if s["digest"] != digests[s["file"]]:
                raise Conflict(
                    f"the lake holds results of {s['model']} on {min(corpora)} from {s['file']} already, with other"
                    f" content: give other results another file name, or take the old ones back with"
                    f" `memlake warehouse forget --cell {cell}`"
                )
            tokenizers[s["model"]] = s["tokenizer"]
        return tokenizers

    def _register(self, lake: Lake, seen: Sequence[tuple[str, str | None, str]]) -> dict[str, str]:
        """Register the condition and the models that are new; the default tokenizer's name for each model."""
        with lake.connect(["models", "conditions"]) as con:
            known = dict(con.sql("select model, tokenizer from stored.models").fetchall())
            family = dict(con.sql("select model, family from stored.models").fetchall())
            noise = dict(con.sql("select condition, noise from stored.conditions").fetchall())
        for condition in {c for _, c, _ in seen if c is not None} - {CONDITION}:
            if condition not in noise:
                raise UnknownName("condition", condition, noise)
        new = [self._model(model) for model in sorted({m for m, *_ in seen} - set(known))]
        if sum(row.pop("asked") for row in new) > 1:
            raise BadInput("more than one model is unknown: ingest the files of each on their own")
        register(lake, "conditions", [{"condition": CONDITION, "noise": 0.0, "bos": False}])
        for row in new:
            own = {c or CONDITION for m, c, _ in seen if m == row["model"]}
            row["base_condition"] = min(own, key=lambda c: (noise.get(c, 0.0), c))
            trained = row.pop("corpora")
            register(lake, "models", [row])
            register(lake, "model_corpora", [{"model": row["model"], "corpus": c, "role": "trained"} for c in trained])
        family |= {row["model"]: row["family"] for row in new}
        shared = {m: f if f in families() else m for m, f in family.items()}  # a family of its own shares none
        return {m: known.get(m) or shared[m] for m in sorted({m for m, *_ in seen})}

    def _model(self, name: str) -> dict[str, Any]:
        """The row of a model that is not in the lake, without its base condition; also `corpora` that it trained on,
        and `asked`: did its family or size have to be given."""
        try:
            source = replace(resolve(name), name=name)
            known, params, corpora = source.family, source.nominal_params, source.corpora
        except UnknownName:
            known, params, corpora = None, None, ()
        if self.family not in families() and get_close_matches(self.family or "", families(), cutoff=MISTYPED):
            raise UnknownName("family", self.family, families())
        asked = not known or not params
        known, params = known or self.family, params or self.params
        if not known or not params:
            raise BadInput(f"model {name!r} is neither in the lake nor in the registry: give its --family and --params")
        row = {"model": name, "family": known, "nominal_params": params, "miniature": False}
        return row | {"corpora": corpora, "asked": asked}

    def _cells(self, file: File, seen: Seen, tokenizers: dict[str, str]) -> Iterator[Cell]:
        """One cell for each model in a file."""
        for model in sorted({m for m, *_ in seen.rows}):
            settings = {
                **file.about,
                "source": source_name(self),
                "file": file.name,
                "digest": file.digest,
                "model": model,
                "tokenizer": tokenizers[model],
                "corpora": sorted({corpus for m, _, corpus in seen.rows if m == model}),
            }
            rows = {"matches": sum(n for (m, *_), n in seen.rows.items() if m == model)}
            tables = ("matches", "rejects") if file.about else ("matches",)
            task = {"path": file.path, "about": file.about}
            yield Cell(source_name(self), VERSION, settings, tables, rows, task=task)

    def _sequences(self, cell: Cell, known: dict[int, int | None]) -> Iterator[tuple[str, pa.Table]]:
        """One row for each sequence of the files that the lake does not hold."""
        s, rank = cell.settings, 0
        for (name, digest, about), path in zip(s["files"], cell.task["paths"], strict=True):
            for piece in self.read(File(name, digest, path, about)):
                if isinstance(piece, Reject):
                    continue
                tokenizers = _tokenizers(piece, s["tokenizers"])
                new: dict[int, int] = {}  # row by id
                for i, sequence_id in enumerate(self.identify(piece, tokenizers, known)):
                    if sequence_id not in known:
                        known[sequence_id] = None
                        new[sequence_id] = i
                if not new:
                    continue
                rows = piece.take(list(new.values()))
                columns = {name: rows[name] for name in ("corpus", "domain", "prefix_tokens", "n_tokens")}
                columns |= {"sequence_id": list(new), "tokenizer": [tokenizers[i] for i in new.values()]}
                columns |= {"external_id": rows["sequence_id"], "tokens": [t or [] for t in rows["tokens"].to_pylist()]}
                columns |= {"sample": pa.repeat(f"imported-{cell.id}", len(new)), "shard": [0] * len(new)}
                yield "sequences", pa.table(columns | {"rank": list(range(rank, rank + len(new)))})
                rank += len(new)

    def _matches(self, cell: Cell, known: dict[int, int | None]) -> Iterator[tuple[str, pa.Table]]:
        """The rows of one model in one file, and what is not taken of it."""
        s, rejects = cell.settings, []
        for piece in self.read(File(s["file"], s["digest"], cell.task["path"], cell.task["about"])):
            if isinstance(piece, Reject):
                rejects.append(asdict(piece) | {"corpus": s["corpus"], "head": piece.head[:HEAD]})
                continue
            own = piece.filter(pc.equal(piece["model"], s["model"]))
            ids = self.identify(own, _tokenizers(own, {s["model"]: s["tokenizer"]}), known)
            rows = vectors.derive(own.select(list(vectors.MEASURED)))
            for name, values in (
                ("sequence_id", pa.array(ids, pa.int64())),
                ("condition", pc.fill_null(rows["condition"], CONDITION)),
            ):
                rows = rows.set_column(rows.column_names.index(name), name, values)
            if ids:
                yield "matches", rows.append_column("anchor_id", pa.array([known.get(i) for i in ids], pa.int64()))
            if rejects:
                yield "rejects", pa.Table.from_pylist(rejects)
                rejects = []
        if rejects:
            yield "rejects", pa.Table.from_pylist(rejects)


def _tokenizers(piece: pa.Table, defaults: dict[str, str]) -> list[str]:
    """The tokenizer of each row: its own, else its model's."""
    columns = (piece[name].to_pylist() for name in ("tokenizer", "model"))
    return [own or defaults[model] for own, model in zip(*columns, strict=True)]
