"""What a user can mend, as one family of errors; anything else is a bug and keeps its traceback.

MemlakeError            one clear line on stderr, exit code 2
├── UnknownName         a name that is on no shelf: the near match and the list
├── NotALake            a path that holds no lake
├── DamagedLake         a table or file of the lake that cannot be read
├── BadInput            an option, a file or a record that cannot be used as it is
└── Conflict            what is asked contradicts what the lake already holds
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable


class MemlakeError(Exception):
    """What the user can mend; the message is one line that says how."""

    def _render_traceback_(self) -> list[str]:
        """All that a notebook shows of it."""
        return [f"{type(self).__name__}: {self}"]


class NotALake(MemlakeError):
    """The path is no lake."""


class DamagedLake(MemlakeError):
    """A table of the lake cannot be read."""


class BadInput(MemlakeError):
    """An option, a file or a record cannot be used as it is."""


class Conflict(MemlakeError):
    """What is asked contradicts what the lake already holds."""


class UnknownName(MemlakeError):
    """No such thing: the message names the nearest name, or else lists them all.

    >>> str(UnknownName("model", "pythea-1b", ["pythia-1b", "olmo-1b"]))
    "no model 'pythea-1b': did you mean 'pythia-1b'? (there are: olmo-1b, pythia-1b)"
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        self.known = known = sorted(known)
        folded = {k.casefold(): k for k in known}
        near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
        hint = f": did you mean {folded[near[0]]!r}?" if near else ""
        shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
        listed = f"there are: {shown}" if known else f"there is no {kind} yet"
        super().__init__(f"no {kind} {name!r}{hint} ({listed})")


MENDABLE = {"EACCES", "EDQUOT", "EFBIG", "ENAMETOOLONG", "ENOSPC", "EPERM", "EROFS"}  # of a disk or its rights


def of_a_disk(error: BaseException, unnamed: str) -> str | None:
    """The line for an error of a disk or its rights: which file, or where there is none which folder, is to be mended;
    `unnamed` where the error names none. None for another error.

    >>> of_a_disk(OSError(errno.ENOSPC, "No space left on device"), unnamed="the disk")
    'the disk cannot be used: No space left on device'
    >>> of_a_disk(PermissionError(errno.EACCES, "Permission denied", "/proc/no/file"), unnamed="the disk")
    '/proc cannot be used: Permission denied'
    """
    if not isinstance(error, OSError) or errno.errorcode.get(error.errno or 0) not in MENDABLE:
        return None
    place = error.filename2 or error.filename
    if error.errno != errno.ENAMETOOLONG:
        while isinstance(place, str) and not os.path.lexists(place) and os.path.dirname(place) not in ("", place):
            place = os.path.dirname(place)
    return f"{place or unnamed} cannot be used: {error.strerror}"


def one_line(error: BaseException) -> str:
    """An error's message in one line; of DuckDB's without the excerpt of the statement under it."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))  # delta-rs colours its errors
    return " ".join(text.split("\n\nLINE ")[0].split())
