"""What is pinned, as memlake gives it now: `main(FOLDER)` writes the files FOLDER/pins.

The folder gets the inputs, a lake, and the pins; none of its path may be in them. Commands run in this process one
after the other, and Dask's workers as threads of it, so that no command starts processes of its own.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from itertools import groupby
from pathlib import Path

import pyarrow as pa

import memlake
from memlake.cli import main as command
from memlake.warehouse import identity, schema

from . import inputs
from .commands import FAILING, HELP, LISTS, MADE_HERE, SMALL_LAKE

# Of what a machine decides, and not memlake
PROGRESS = re.compile(r"^.*: \d+/\d+ cells, \d+ s.*\n", re.MULTILINE)
COST = re.compile(
    r"(, [\d.]+ (bytes|[kMGT]B))?, (about|less than) [^\n]* of one process [^\n]*"
)  # by files' sizes and time
SETTINGS_OF_THE_MACHINE = ("digest",)  # of the source python_environment
# In the name of a cell, as far as its settings have them
SAID = (
    *("source", "model", "corpus", "domain", "file", "counted_corpus", "counted_tokenizer", "tokenizer", "sample"),
    *("condition", "among", "method"),
)
EXACT = {pa.string(), pa.int64(), pa.bool_(), pa.binary(), pa.list_(pa.int32()), pa.list_(pa.int64())}
# Tables of which every column without a floating-point number is pinned. The others hold what a rounding can move (the
# rank of a token in a layer), or tell how a run went.
ROWS = (
    *("block_deltas", "conditions", "documents", "domains", "guessability", "head_deltas", "head_effects"),
    *("matches_all", "model_corpora", "models", "ngram_counts", "prompt_compression", "rejects", "sequences"),
    "tokenizers",
)
ROUNDED = {"matches_all": "condition not like '%noise%'"}
MACHINE = "corpus not like 'python_environment%'"


def main(folder: str) -> None:
    os.chdir(folder)
    inputs.write(Path())
    pins = Path("pins")
    for name, words in HELP.items():
        put(pins / "help" / f"{name}.txt", run([*words, "--help"])[1])
    for name, words in LISTS.items():
        put(pins / "lists" / f"{name}.txt", run(words)[1])
    for name in schema.names():
        put(pins / "lists" / f"warehouse-show-{name}.txt", run(["warehouse", "show", name])[1])
    put_json(pins / "identity.json", identities())
    put_json(pins / "tables.json", {name: columns_and_rules(schema.table(name)) for name in schema.names()})
    put(pins / "transcript.txt", "\n".join(said(words) for words in [*SMALL_LAKE, *FAILING]))
    for words in MADE_HERE:
        assert run(words)[0] == 0, words
    lake = memlake.open("lake")
    put_json(pins / "cells.json", cells(lake))
    put_json(pins / "rows.json", {name: rows(lake, name) for name in ROWS})
    names = [row["finding"] for row in json.loads(run(["query", "list", "--format", "json"])[1])]
    put_json(pins / "findings.json", {name: answer_columns(lake, name) for name in names})


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line.rstrip()}\n" for line in text.splitlines()), encoding="utf-8")


def put_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def run(words: list[str]) -> tuple[int, str, str]:
    """A command's exit code, and what it printed on stdout and stderr."""
    sys.argv = ["memlake", *words]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            command()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except Exception as bug:  # the pins of other commands are still wanted
            code = 1
            print(f"{type(bug).__name__}: {bug}", file=sys.stderr)
    found = []
    for stream in (out, err):
        stream.flush()
        found.append(stream.buffer.getvalue().decode())
    out, err = (text.replace(str(Path().resolve()), "FOLDER") for text in found)
    return code, out, COST.sub("", PROGRESS.sub("", err))


def said(words: list[str]) -> str:
    code, out, err = run(words)
    err = "".join(f"! {line}\n" for line in err.splitlines())
    return f"$ memlake {shlex.join(words)}\n{out}{err}" + (f"exit code {code}\n" if code else "")


def identities() -> dict[str, object]:
    """`hash63` and `tagged` of some inputs, by how they are written in Python."""
    numbers = [(), (0,), (1,), (-1,), (True,), (2**70,), (None,), (b"ab",)]
    texts = [("1",), ("",), ("", ""), ("ab", "c"), ("a", "bc"), ("a", 1, "b"), ("sequence", "t", 12, 34)]
    letters = [("Zwölf",), ("模型",), ("🙂",), ("\udcff",), ("a\0b",)]
    values = [None, True, 1, -1.5, "a", "ü模", [], [1, "1"], {}, {"b": 1, "a": [None, {"c": "d"}]}]
    settings = {"model": "mini-pythia-100k", "levels": [64, 4, 0], "seed": 0}
    # As a miniature is, which only a demo trains
    values.append({"experiment": "miniature", "version": 1, "settings": settings})
    found = {f"hash63{p!r}": identity.hash63(*p) for p in numbers + texts + letters}
    return found | {f"tagged('c1', {v!r})": identity.tagged("c1", v) for v in values}


def columns_and_rules(spec) -> dict[str, object]:
    """What a table is, but for the sentences that explain it and the SQL of its rules: `warehouse show` has them."""
    return {
        "columns": [
            f"{c.name} {c.type}{' nullable' if c.nullable else ''}{' later' if c.later else ''}" for c in spec.columns
        ],
        "key": list(spec.key),
        "partition": list(spec.partition),
        "sort": list(spec.sort),
        "expectations": [e.name for e in spec.expectations],
    }


def cells(lake) -> dict[str, object]:
    """Every cell of the lake by a name that says what it is; of a table that it wrote the number of rows."""
    counted: dict[str, dict[str, int]] = {}
    for name in schema.names():
        columns = [c.name for c in schema.table(name).columns]
        if "cell" in columns and name not in ("cells", "checks"):
            source = {"matches": "matches_all", "domains": "stored.domains"}.get(name, f"stored.{name}")
            for cell, n in values(lake, f"select cell, count(*) from {source} group by cell"):
                counted.setdefault(cell, {})[name] = n
    found = []
    for cell, experiment, version, text, outcome, reason in values(
        lake, "select cell, experiment, version, settings, outcome, reason from cells"
    ):
        settings = json.loads(text)
        if str(settings.get("corpus", "")).startswith("python_environment"):
            # Its id and its rows are of this machine
            pinned = {"settings": settings | dict.fromkeys(SETTINGS_OF_THE_MACHINE, "...")}
        else:
            pinned = {"cell": cell, "settings": settings, "rows": counted.get(cell, {})}
        about = " ".join(f"{key}={settings[key]}" for key in SAID if key in settings)
        found.append((f"{experiment}: {about}", pinned | {"version": version, "outcome": outcome, "reason": reason}))
    found.sort(key=lambda pair: (pair[0], json.dumps(pair[1]["settings"], sort_keys=True)))
    return {
        name + (f" ({i})" if i > 1 else ""): pinned
        for name, alike in groupby(found, key=lambda pair: pair[0])
        for i, (_, pinned) in enumerate(alike, 1)
    }


def rows(lake, name: str) -> dict[str, object]:
    """How many rows the table has, and of each column the MD5 of its values, one a line, in the order of the key."""
    spec = schema.table(name.removesuffix("_all"))
    exact = [c.name for c in spec.columns if c.type in EXACT]
    tests = [ROUNDED[name]] if name in ROUNDED else []
    tests += [MACHINE] if "corpus" in exact else []
    order = ", ".join(f'"{key}"' for key in spec.key)
    here = str(Path().resolve())  # what lies outside the lake is known by its path
    wanted = ", ".join(
        f"""md5(string_agg(replace(coalesce("{column}"::varchar, 'NULL'), '{here}', 'FOLDER'), chr(10)
            order by {order})) as "{column}" """
        for column in exact
    )
    where = f" where {' and '.join(tests)}" if tests else ""
    shown = name if name == "matches_all" else f"stored.{name}"
    ((n, *digests),) = values(lake, f"select count(*), {wanted} from {shown}{where}")
    return {"rows": n, **dict(zip(exact, digests, strict=True))}


def answer_columns(lake, name: str) -> list[str]:
    return [f"{column} {kind}" for column, kind in lake.query(name).schema().items()]


def values(lake, statement: str) -> Iterator[tuple]:
    found = lake.sql(statement).to_pyarrow()
    return zip(*(column.to_pylist() for column in found.columns), strict=True)
