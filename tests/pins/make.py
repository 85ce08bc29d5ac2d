"""Write the golden files anew: `python -m tests.pins.make`. What their diff shows, users and their lakes will see.

Pinned is what may not change while memlake is rebuilt inside: ids, columns, command lines, and what they print.
Everything is taken from outside: commands as they are typed, and SQL over the lake that they make.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from .test_pins import GOLDEN, collected

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found, problem = collected(Path(folder))
        if problem:
            raise SystemExit(problem)
        shutil.rmtree(GOLDEN, ignore_errors=True)
        shutil.copytree(found, GOLDEN)
