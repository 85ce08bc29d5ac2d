"""The text that every machine with our dependencies holds already, so that the whole study runs offline on real text.

Four domains:

    code   (structural)  library source: the standard library and the installed distributions
    prose  (free_text)   docstrings, and the language reference (`pydoc_data.topics`)
    legal  (free_text)   licence texts of the installed distributions
    maths  (structural)  arithmetic, generated: the operands are drawn, so what comes next is not to be guessed

A library file gives either its code or its docstrings, decided by a hash of its name, so that no docstring stands in
two domains. Files are read in the order of a hash of their names; texts are cut at natural boundaries into documents
of about 1 to 8 kB. Licences and vendored files repeat one another: such natural duplicates are kept.

A document is for training or held out: one bit of the hash of its text says which, so equal texts are on one side.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import itertools
import os
import pydoc_data.topics
import random
import re
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from memlake.ingest.documents.reading import ReadFile, ReadSettings
from memlake.ingest.source import Document
from memlake.warehouse.errors import Conflict
from memlake.warehouse.identity import hash63, tagged
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.cells import published

CLASSES = {"code": "structural", "legal": "free_text", "maths": "structural", "prose": "free_text"}
SMALLEST, ENOUGH, LARGEST = 512, 1000, 8000  # characters: of a document, where one may end, of a document
PER_FILE = 4  # pieces of one library file: a corpus of many files rather than of a few long ones
QUOTED = re.compile(r"(\"\"\"|''')(.*?)\1", re.DOTALL)
LICENCE = re.compile(r"(licen[cs]e|copying|notice)[^/]*$", re.IGNORECASE)
# Where a text may be cut, the best first: before what stands at the margin after an empty line, after any empty line,
# after any line.
BOUNDARIES = (re.compile(r"(?<=\n\n)(?=\S)"), re.compile(r"(?<=\n\n)"), re.compile(r"(?<=\n)"))


def digest() -> str:
    """Tells another environment: the Python and the distributions with their versions."""
    return tagged("environment", [sys.version.split()[0], *sorted(f"{d.name} {d.version}" for d in distributions())])


def documents(limit: int, held_out: bool) -> Iterator[Document]:
    """The first `limit` documents of each domain on one side, or all where there are fewer."""
    for pieces in (code, legal, maths, prose):
        side = (d for d in pieces() if hash63("held out", d.text) % 2 == held_out)
        yield from itertools.islice(side, limit)


def refuse_another(lake: Lake, limit: int) -> None:
    """Raise `Conflict` where the lake's other part of the environment was read with another limit or from another
    environment: what is held out would not be held out of that."""
    now = digest()
    for cell, before in published(lake, ReadFile.EXPERIMENT, ReadSettings):
        if before.source not in ("python_environment", "python_environment_held_out"):
            continue
        if before.digest != now:
            other = "when other packages were installed"
        elif before.options["limit"] != limit:
            other = f"with --limit {before.options['limit']}, not {limit}"
        else:
            continue
        raise Conflict(
            f"corpus {before.corpus} was read {other}: training and held-out part must be read alike;"
            f" use another lake, or take it back with `memlake warehouse forget --cell {cell}`"
        )


def code() -> Iterator[Document]:
    """Library source."""
    for name, path in library():
        if not gives_docstrings(name):
            yield from few("code", name, cut(read(path)))


def prose() -> Iterator[Document]:
    """Docstrings, and the language reference."""
    texts = {f"pydoc_data/topics/{k}": text for k, text in pydoc_data.topics.topics.items()}
    files = {name: path for name, path in library() if gives_docstrings(name)}
    for name in sorted([*texts, *files], key=hash63):
        found = [texts[name]] if name in texts else docstrings(read(files[name]))
        yield from few("prose", name, itertools.chain.from_iterable(map(cut, found)))


def legal() -> Iterator[Document]:
    """Licence texts. All their pieces: there are few of them, and they are what repeats."""
    names = (n for n in installed() if LICENCE.search(n) and not n.endswith((".py", ".pyc")))
    for name in sorted(names, key=hash63):
        for position, piece in enumerate(cut(read(installed()[name]))):
            yield Document(name, position, "legal", piece)


def maths() -> Iterator[Document]:
    """Arithmetic without end."""
    for i in itertools.count():
        yield Document("arithmetic", i, "maths", arithmetic(i))


def few(domain: str, name: str, pieces: Iterator[str]) -> list[Document]:
    """At most `PER_FILE` of a file's pieces, those with the smallest hash, in the order of the file."""
    found = [Document(name, position, domain, piece) for position, piece in enumerate(pieces)]
    chosen = sorted(found, key=lambda d: hash63(name, d.position))[:PER_FILE]
    return sorted(chosen, key=lambda d: d.position)


def cut(text: str, level: int = 0) -> Iterator[str]:
    """The text in pieces of `SMALLEST` to `LARGEST` characters, each as soon as it has `ENOUGH`. What cannot be cut so
    (a very long line), or is too short, is left out."""
    piece = ""
    for unit in BOUNDARIES[level].split(text):
        if len(piece) + len(unit) > LARGEST or len(piece) >= ENOUGH:
            yield from fitting(piece)
            piece = ""
        if len(unit) <= LARGEST:
            piece += unit
        elif level + 1 < len(BOUNDARIES):
            yield from cut(unit, level + 1)
    yield from fitting(piece)


def fitting(piece: str) -> list[str]:
    """The piece without empty lines around it, if it is long enough."""
    piece = piece.strip("\n")
    return [piece] if len(piece) >= SMALLEST else []


def docstrings(text: str) -> list[str]:
    """The triple-quoted strings of Python source that open a line, in order, without their indentation. (Parsing the
    files takes far longer, to find nearly the same.)"""
    found = []
    for quoted in QUOTED.finditer(text):
        before = text[text.rfind("\n", 0, quoted.start()) + 1 : quoted.start()]
        if before.strip() in ("", "r", "R"):
            found.append(inspect.cleandoc(quoted[2]))
    return found


def arithmetic(i: int) -> str:
    """Document `i` of the maths domain: 24 lines about numbers of 2 to 6 digits."""
    draw = random.Random(f"arithmetic {i}")
    return "\n".join(_line(draw) for _ in range(24))


def _line(draw: random.Random) -> str:
    a, b = (draw.randrange(10 ** draw.randrange(1, 6), 10**6) for _ in range(2))
    kind = draw.randrange(5)
    if kind == 0:
        return f"{a} + {b} = {a + b}"
    if kind == 1:
        return f"{a} - {b} = {a - b}"
    if kind == 2:
        return f"{a} * {b} = {a * b}"
    if kind == 3:
        return f"{a} divided by {b} is {a // b} with remainder {a % b}."
    return f"The sum of {a} and {b} is {a + b}, and their difference is {abs(a - b)}."


def gives_docstrings(name: str) -> bool:
    return hash63("docstrings", name) % 2 == 1


@cache
def library() -> list[tuple[str, str]]:
    """Python files, as (name, path), in the order of a hash of the name. Without tests of the standard library, which
    not every machine has."""
    root = sysconfig.get_path("stdlib")
    found = {name: path for name, path in installed().items() if name.endswith(".py")}
    for folder, inside, files in os.walk(root):
        inside[:] = [d for d in inside if d not in ("site-packages", "dist-packages", "test", "tests")]
        for file in files:
            if file.endswith(".py"):
                path = os.path.join(folder, file)
                found[f"python/{os.path.relpath(path, root)}"] = path
    return sorted(found.items(), key=lambda item: hash63(item[0]))


@cache
def installed() -> dict[str, str]:
    """Files of the installed distributions: name, relative to where they are installed, and path."""
    return {
        str(f): os.path.join(root, f)
        for d in distributions()
        for root in [str(d.locate_file(""))]
        for f in d.files or []
        if f.parts[0] != ".."
    }


@cache
def distributions() -> list[importlib.metadata.Distribution]:
    """The installed distributions but our own, whose text changes while it is worked on."""
    return [d for d in importlib.metadata.distributions() if d.name != "memlake"]


def read(path: str) -> str:
    """The text of a file; empty where it is gone or is not UTF-8."""
    try:
        return Path(path).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return ""
