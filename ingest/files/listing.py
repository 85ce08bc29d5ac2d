"""Which files lie at a place, local or in a store, and under which names they are read.

Of a folder all files are read that end in one of some suffixes, in upper or lower case. Not read are hidden ones, and
what lies in a hidden folder: names that begin with a dot (`._a.jsonl`, `.ipynb_checkpoints`), and folders that begin
with an underscore (`_delta_log`, `_temporary`, `__MACOSX`) but for `_key=value`, as Spark has it. What a user names is
read, whatever it is called.

Links are followed, to a folder once: none that leads to a folder above it. A file of several names, links or hard
links, is read once, under the name that is reached through the fewest links, and of several such the first in order.
Where one --path lies in another, its files are called as in the outer one.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from memlake.warehouse.errors import BadInput
from memlake.warehouse.paths import local, utf8

from . import remote
from .streams import COMPRESSED

KINDS = 8  # of files that are not read, kept apart in one line
HIDDEN = "hidden"
READ, ABOVE, NOTHING = "linked to what is read already", "linked to a folder above", "linked to nothing"
NO_FILE = "neither file nor folder"

Name = Callable[[str, str], str]  # (name below the root, location) -> name in the lake


@dataclass(frozen=True)
class Listing:
    """files: (name, location) in the order of their names. unread: by folder, how many there are of each kind of what
    is not read."""

    files: list[tuple[str, str]]
    unread: dict[str, Counter[str]]

    def lines(self) -> list[str]:
        """What is not read, a line for each folder."""
        return [f"not read below {folder}: {listed_kinds(kinds)}" for folder, kinds in self.unread.items() if kinds]


@dataclass(frozen=True)
class Found:
    """A file: its name below the root, where it lies, how many links lead there, and what is the same for another name
    of the same file."""

    name: str
    location: str
    links: int
    identity: object


def find(paths: Iterable[str], suffixes: Iterable[str], name: Name = lambda given, location: given) -> Listing:
    """The files at `paths`, local or URLs. A folder is searched through; names are relative to it. A file that is named
    itself may be called anything. `name` may call a file otherwise.

    Raises `BadInput` where there is nothing, or two files would bear one name.
    """
    suffixes = tuple(suffixes)
    unread: dict[str, Counter[str]] = {path: Counter() for path in paths}
    found: dict[str, tuple[Found, str, str]] = {}  # by location, with its name in the lake and the path it is of
    others: list[tuple[Found, str]] = []
    for path, kinds in unread.items():
        chosen, left = (_remote if remote.is_remote(path) else _local)(path, suffixes, kinds)
        for file in chosen:
            if file.location not in found or found[file.location][0].name.count("/") < file.name.count("/"):
                found[file.location] = file, name(file.name, file.location), path
        others += [(file, path) for file in left]
    read: dict[object, Found] = {}
    called: dict[str, str] = {}
    for file, own, path in sorted(found.values(), key=lambda entry: (entry[0].links, entry[1])):
        if read.setdefault(file.identity, file) is not file:
            unread[path][READ] += 1
        elif called.setdefault(utf8(own), file.location) != file.location:
            raise BadInput(f"two files are called {own} ({called[own]} and {file.location}): ingest them one by one")
    for file, path in others:
        unread[path][ending(file.name)] += file.identity not in read
    return Listing(sorted(called.items()), {path: +kinds for path, kinds in unread.items()})


def ending(name: str) -> str:
    """How a file's name ends, as a kind of file: `.md`, `.jsonl.gz`."""
    suffixes = PurePosixPath(name.lower()).suffixes
    last = suffixes[-2:] if suffixes[-1:] and suffixes[-1] in COMPRESSED else suffixes[-1:]
    return "".join(last) or "without an ending"


def listed_kinds(kinds: Counter[str]) -> str:
    """`3 hidden, 2 .md`."""
    ordered = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    shown = [f"{n} {kind}" for kind, n in ordered[:KINDS]]
    rest = sum(n for _, n in ordered[KINDS:])
    return ", ".join(shown + [f"{rest} of other kinds"] * (rest > 0))


def _local(given: str, suffixes: tuple[str, ...], unread: Counter[str]) -> tuple[list[Found], list[Found]]:
    path = local(given.removeprefix(remote.LOCAL)).absolute()
    if ".." in path.parts:  # of x/../y no folder x is on the way
        path = path.resolve()
    if path.is_file():
        return [Found(path.name, str(path), path.is_symlink(), _identity(path.stat(), os.path.realpath(path)))], []
    if not path.is_dir():
        raise BadInput(f"there is no file or folder {path}")
    return _parted(str(path), _walk(str(path), unread), suffixes, unread)


def _remote(url: str, suffixes: tuple[str, ...], unread: Counter[str]) -> tuple[list[Found], list[Found]]:
    inside, is_folder = remote.find(url)
    files = [Found(name, location, 0, location) for name, location in inside]
    if not is_folder:
        return files, []
    seen, hidden = [], set()
    for file in files:
        parts = file.name.split("/")
        last = len(parts) - 1
        under = next((i for i, part in enumerate(parts) if _is_hidden(part, i < last)), None)
        if under is None:
            seen.append(file)
        else:
            hidden.add("/".join(parts[: under + 1]))
    unread[HIDDEN] += len(hidden)
    return _parted(url, seen, suffixes, unread)


def _parted(
    root: str, files: Iterable[Found], suffixes: tuple[str, ...], unread: Counter[str]
) -> tuple[list[Found], list[Found]]:
    """Those of a folder's files that end so, and the others. Raises `BadInput` where none does."""
    parts: tuple[list[Found], list[Found]] = ([], [])
    for file in files:
        parts[not file.name.lower().endswith(suffixes)].append(file)
    chosen, others = parts
    if not chosen:
        holds = listed_kinds(+(unread + Counter(ending(file.name) for file in others)))
        ends = " that ends in " + ", ".join(suffixes) if any(suffixes) else ""
        raise BadInput(f"the folder {root} holds no file{ends}: {f'it holds {holds}' if holds else 'it is empty'}")
    return parts


def _walk(root: str, unread: Counter[str]) -> Iterator[Found]:
    """All files below a folder, those first that are reached without a link. What is hidden or leads nowhere is counted
    in `unread`."""
    top = os.path.realpath(root)
    entered: set[str] = set()
    links, level = 0, [("", root)]
    while level:
        beyond: list[tuple[str, str]] = []  # linked folders, with their names below the root
        for start in sorted(level):
            inside = [start]
            while inside:
                below, folder = inside.pop()
                real = os.path.realpath(folder)
                if real in entered:
                    unread[READ] += 1
                    continue
                entered.add(real)
                for entry in _entries(folder):
                    linked, status = entry.is_symlink(), _status(entry)
                    is_folder = status is not None and stat.S_ISDIR(status.st_mode)
                    if _is_hidden(entry.name, is_folder):
                        unread[HIDDEN] += 1
                    elif status is None:
                        unread[NOTHING] += 1
                    elif is_folder and linked and _is_above(os.path.realpath(entry.path), real, top):
                        unread[ABOVE] += 1
                    elif is_folder:
                        (beyond if linked else inside).append((f"{below}{entry.name}/", entry.path))
                    elif stat.S_ISREG(status.st_mode):
                        place = os.path.realpath(entry.path) if linked else os.path.join(real, entry.name)
                        yield Found(below + entry.name, entry.path, links + linked, _identity(status, place))
                    else:
                        unread[NO_FILE] += 1
        links, level = links + 1, beyond


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as e:
        raise BadInput(f"the folder {folder} cannot be read ({e.strerror})") from e


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Of what a name leads to; None for a link to nothing, or in a circle."""
    try:
        return entry.stat()
    except OSError:
        return None


def _is_above(target: str, *places: str) -> bool:
    """Is the folder one of these, or one above?"""
    return any(os.path.commonpath([target, place]) == target for place in places)


def _identity(status: os.stat_result, place: str) -> object:
    """The same for all names of the file that lies at `place`, free of links. Inodes count only where there are hard
    links: not every file system has them."""
    return (status.st_dev, status.st_ino) if status.st_nlink > 1 else place


def _is_hidden(name: str, is_folder: bool) -> bool:
    return name.startswith(".") or (is_folder and name.startswith("_") and "=" not in name)
