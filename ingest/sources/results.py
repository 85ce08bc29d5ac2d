"""Match vectors made elsewhere, Parquet or JSONL: one row is one sequence under one model.

Needed: model, corpus, domain, sequence_id, n_tokens, and match: a list of booleans, or packed bytes (numpy.packbits;
in JSON as hex digits). Any other column of `matches` may be given too, and is then checked against the vector; what is
left out is derived. Also condition (one of this lake's; `imported` where there is none), tokenizer (its name; by
default that of the model in this lake, else the family's), prefix_tokens and tokens.

A sequence_id of this lake is taken as it is. Any other is the id where the row was made: the sequence is written with
it as `external_id`. A model that the lake does not have is registered with the size that the registry or --params
tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.cells import Cell, published
from warehouse.errors import BadInput, Conflict, UnknownName
from warehouse.identity import hash63
from warehouse.lake import Lake
from warehouse.options import option
from warehouse.registry import families, resolve

from .. import streams, vectors

SUFFIXES = (".parquet", *(".jsonl" + packed for packed in streams.COMPRESSED))
File = tuple[str, str, str]  # name, digest, path
Seen = Counter[tuple[str, str | None, str]]  # rows by model, condition and corpus
VERSION = 1
DIGITS = 19  # of the largest id of a sequence
CONDITION = "imported"  # nothing is known of how the rows were made


@dataclass(frozen=True)
class Source:
    path: tuple[str, ...] = option((), "a Parquet or JSONL file, or a folder of them")
    family: str | None = option(None, "family of a model that is neither in the lake nor in the registry")
    params: int | None = option(None, "parameters of such a model")

    def stages(self, lake: Lake, corpus: str | None) -> Iterator[list[Cell]]:
        if corpus:
            raise BadInput("source 'results' takes no --corpus: the rows name their corpus")
        if not self.path:
            raise BadInput("source 'results' needs --path: a Parquet or JSONL file, or a folder")
        files = [(name, streams.digest(path), str(path)) for name, path in streams.find(self.path, SUFFIXES)]
        counts = {file: _scan(Path(file[2])) for file in files}
        before = _before(lake, counts)
        seen = {key for found in counts.values() for key in found}
        # A file that was read before keeps its tokenizers, though the model may have got one of its own since.
        tokenizers = self._register(lake, {(m, condition) for m, condition, _ in seen}) | before
        settings = {
            "source": "results",
            "tokenizers": tokenizers,
            "corpora": sorted({corpus for *_, corpus in seen}),
            "files": [list(f[:2]) for f in files],
        }
        yield [Cell("results_sequences", VERSION, settings, ("sequences",), task={"paths": [f[2] for f in files]})]
        yield [
            _cell(file, model, tokenizers[model], found)
            for file, found in counts.items()
            for model in sorted({m for m, *_ in found})
        ]

    def rows(self, cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
        if cell.experiment == "results_sequences":
            return _sequences(cell, lake)
        return _matches(cell, lake)

    def report(self, lake: Lake, cells: list[Cell]) -> list[str]:
        ids = [c.id for c in cells]
        with lake.connect(["matches", "sequences", "models"]) as con:
            (matches,) = con.execute(
                "select count(*) from stored.matches where list_contains(?, cell)", [ids]
            ).fetchone()
            (known,) = con.execute(
                "select count(*) from stored.matches m join stored.sequences s using (sequence_id)"
                " where list_contains(?, m.cell) and s.external_id is null",
                [ids],
            ).fetchone()
            unseen = con.execute(
                "select distinct m.model, m.condition from stored.matches m join stored.models b using (model)"
                " where list_contains(?, m.cell) and m.condition <> b.base_condition order by all",
                [ids],
            ).fetchall()
        lines = [
            f"results: {matches} rows; {known} of sequences that the lake holds with their text,"
            f" {matches - known} of sequences known only by the id they came with"
        ]
        lines += [f"{m}: {c!r} is not its base condition, so its rows stand in `matches_all` only" for m, c in unseen]
        return lines

    def _register(self, lake: Lake, seen: set[tuple[str, str | None]]) -> dict[str, str]:
        """Register the condition and the models that are new; the default tokenizer's name for each model."""
        with lake.connect(["models", "conditions"]) as con:
            known = dict(con.sql("select model, tokenizer from stored.models").fetchall())
            family = dict(con.sql("select model, family from stored.models").fetchall())
            noise = dict(con.sql("select condition, noise from stored.conditions").fetchall())
        for condition in {c for _, c in seen if c is not None} - {CONDITION}:
            if condition not in noise:
                raise UnknownName("condition", condition, noise)
        new = [self._model(lake, model) for model in sorted({m for m, _ in seen} - set(known))]
        if sum(row.pop("asked") for row in new) > 1:
            raise BadInput("more than one model is unknown: ingest the files of each on their own")
        lake.register("conditions", [{"condition": CONDITION, "noise": 0.0, "bos": False}])
        for row in new:
            own = {c or CONDITION for m, c in seen if m == row["model"]}
            row["base_condition"] = min(own, key=lambda c: (noise.get(c, 0.0), c))
            trained = row.pop("corpora")
            lake.register("models", [row])
            lake.register("model_corpora", [{"model": row["model"], "corpus": c, "role": "trained"} for c in trained])
        defaults = {row["model"]: row["family"] for row in new} | {m: t or family[m] for m, t in known.items()}
        return {m: defaults[m] for m in sorted({m for m, _ in seen})}

    def _model(self, lake: Lake, name: str) -> dict[str, Any]:
        """The row of a model that is not in the lake, without its base condition; also `corpora` that it trained on,
        and `asked`: did its family or size have to be given."""
        try:
            source = replace(resolve(name), name=name)
            known, params, corpora = source.family, source.nominal_params, source.corpora
        except UnknownName:
            known, params, corpora = None, None, ()
        if self.family and self.family not in families():
            raise UnknownName("family", self.family, families())
        asked = not known or not params
        known, params = known or self.family, params or self.params
        if not known or not params:
            raise BadInput(f"model {name!r} is neither in the lake nor in the registry: give its --family and --params")
        row = {"model": name, "family": known, "nominal_params": params, "miniature": False}
        return row | {"corpora": corpora, "asked": asked}


def _scan(path: Path) -> Seen:
    """Counts the rows. Reads the whole file, so that a bad row is known before anything is written."""
    found: Seen = Counter()
    for piece in vectors.read(path):
        found.update(zip(*(piece[name].to_pylist() for name in ("model", "condition", "corpus")), strict=True))
    if not found:
        raise BadInput(f"{path} holds no rows")
    return found


def _before(lake: Lake, counts: dict[File, Seen]) -> dict[str, str]:
    """The tokenizers under which these very files were read before, by model. Raises `Conflict` where the lake holds a
    model's rows of one of these corpora from a file of the same name with other content."""
    now = {name: (digest, found) for (name, digest, _), found in counts.items()}
    tokenizers = {}
    for cell, s in published(lake, "results"):
        digest, found = now.get(s["file"], (None, ()))
        corpora = {corpus for model, _, corpus in found if model == s["model"]} & set(s["corpora"])
        if not corpora:
            continue
        if s["digest"] != digest:
            raise Conflict(
                f"the lake holds results of {s['model']} on {min(corpora)} from {s['file']} already, with other"
                f" content: give other results another file name, or take the old ones back with"
                f" `memlake warehouse forget --cell {cell}`"
            )
        tokenizers[s["model"]] = s["tokenizer"]
    return tokenizers


def _cell(file: File, model: str, tokenizer: str, found: Seen) -> Cell:
    """The rows of one model in one file."""
    name, digest, path = file
    settings = {
        "source": "results",
        "file": name,
        "digest": digest,
        "model": model,
        "tokenizer": tokenizer,
        "corpora": sorted({corpus for m, _, corpus in found if m == model}),
    }
    rows = sum(n for (m, *_), n in found.items() if m == model)
    return Cell("results", VERSION, settings, ("matches",), rows={"matches": rows}, task={"path": path})


def _sequences(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """One row for each sequence of the files that the lake does not hold."""
    known = set(_known(lake))
    rank = 0
    for path in map(Path, cell.task["paths"]):
        for piece in vectors.read(path):
            rows = []
            for row in piece.to_pylist():
                tokenizer = row["tokenizer"] or cell.settings["tokenizers"][row["model"]]
                sequence_id = _sequence_id(row, tokenizer, known)
                if sequence_id in known:
                    continue
                known.add(sequence_id)
                rows.append(
                    {k: row[k] for k in ("corpus", "domain", "prefix_tokens", "n_tokens")}
                    | {"sequence_id": sequence_id, "tokenizer": tokenizer, "external_id": row["sequence_id"]}
                    | {"tokens": row["tokens"] or [], "sample": f"imported-{cell.id}", "shard": 0, "rank": rank}
                )
                rank += 1
            if rows:
                yield "sequences", pa.Table.from_pylist(rows)


def _matches(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """The rows of one model in one file."""
    known = _known(lake)
    for piece in vectors.read(Path(cell.task["path"])):
        rows = []
        own = piece.filter(pc.equal(piece["model"], cell.settings["model"]))
        for row in vectors.derive(own).to_pylist():
            sequence_id = _sequence_id(row, row["tokenizer"] or cell.settings["tokenizer"], known)
            row |= {"sequence_id": sequence_id, "anchor_id": known.get(sequence_id)}
            row["condition"] = row["condition"] or CONDITION
            rows.append({k: v for k, v in row.items() if k not in vectors.SEQUENCE})
        if rows:
            schema = pa.schema([("anchor_id", pa.int64()), *vectors.MEASURED.items()])
            yield "matches", pa.Table.from_pylist(rows, schema=schema)


def _known(lake: Lake) -> dict[int, int | None]:
    """The anchors of the lake's sequences, by sequence id."""
    with lake.connect(["sequences"]) as con:
        return dict(con.sql("select sequence_id, anchor_id from stored.sequences").fetchall())


def _sequence_id(row: dict[str, Any], tokenizer: str, known: dict[int, int | None] | set[int]) -> int:
    """The row's own id where the lake has it; else an id made from where the row comes from."""
    own = row["sequence_id"]
    if own.isdecimal() and len(own) <= DIGITS and int(own) in known:
        return int(own)
    return hash63("import", row["corpus"], tokenizer, own)
