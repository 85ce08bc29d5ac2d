"""Files of JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .errors import BadInput


def json_object(path: Path) -> dict[str, Any]:
    """The object that a file holds; raises `BadInput` where it holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} is not a JSON object")
    return found


def write_json(path: Path, value: object) -> None:
    """Write a file that is either whole or missing."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value), encoding="utf-8")
    os.replace(part, path)
