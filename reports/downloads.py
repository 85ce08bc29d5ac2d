"""A finding's rows as files to save: small ones within the page, large ones beside it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import duckdb
import pyarrow as pa

from memlake.warehouse.relation import quoted

KINDS = {"csv": ("text/csv", "format csv, header"), "parquet": ("application/vnd.apache.parquet", "format parquet")}
WITHIN = 2**16  # bytes of a file that stands in the page
BESIDE = re.compile(rf"\w+-[0-9a-f]{{12}}\.({'|'.join(KINDS)})")  # names of files that stand beside a page


@dataclass(frozen=True)
class Download:
    """A file that a link saves. name: what it is called then."""

    name: str
    href: str


class Downloads:
    """The files of a page. folder: in which those are that stand beside it, as the page calls it; `beside`: these, by
    name, which tells their content too, so that a page never finds those of another."""

    def __init__(self, folder: str):
        self._folder, self.beside = folder, dict[str, bytes]()

    def of(self, name: str, rows: pa.Table) -> list[Download]:
        """All rows, in each format."""
        found = []
        for kind, content in contents(rows).items():
            if len(content) <= WITHIN:
                href = f"data:{KINDS[kind][0]};base64,{base64.b64encode(content).decode()}"
            else:
                beside = f"{name}-{hashlib.blake2b(content, digest_size=6).hexdigest()}.{kind}"
                self.beside[beside] = content
                href = quote(f"{self._folder}/{beside}")
            found.append(Download(f"{name}.{kind}", href))
        return found


def contents(rows: pa.Table) -> dict[str, bytes]:
    """The rows as a file of each kind."""
    with TemporaryDirectory() as folder, duckdb.connect() as con:
        con.execute("set threads = 1")  # the same rows, the same bytes
        con.register("rows", rows)
        for kind, (_, options) in KINDS.items():
            con.execute(f"copy rows to {quoted(str(Path(folder) / kind))} ({options})")
        return {kind: (Path(folder) / kind).read_bytes() for kind in KINDS}
