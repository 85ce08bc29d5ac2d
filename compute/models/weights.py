"""The weights of a checkpoint as files: where they are, and a digest of what they hold.

The digest is taken over the tensors in the order of their names (name, dtype, shape, bytes), so that it is the same
however a checkpoint is split into files, and whether it is stored as safetensors or in the older .bin format. Tensors
are read a piece at a time: no model is built, and no more than one tensor of a .bin file is in memory.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from memlake.warehouse.errors import BadInput
from memlake.warehouse.identity import sha256
from memlake.warehouse.models import hub
from memlake.warehouse.models.registry import ModelSpec

if TYPE_CHECKING:
    import torch

PIECE = 1 << 24  # bytes read at once
# What reading a file raises that is not what it should be: JSON of the wrong shape, lengths beyond all bounds, a .bin
# that is no zip of tensors
DAMAGE = (
    *(ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError, RuntimeError, EOFError),
    pickle.UnpicklingError,
)
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


class Files(NamedTuple):
    """A checkpoint's files on this machine."""

    folder: Path
    weights: tuple[Path, ...]
    revision: str | None  # commit of the hub; None for a folder


def fetch(spec: ModelSpec) -> Files:
    """Find or download what it takes to load the model; raises `BadInput` where weights are missing."""
    config = hub.find(spec, "config.json")
    if config is None:
        raise BadInput(f"{spec.location} holds no checkpoint: it has no config.json")
    commit = None if spec.is_folder else config.parent.name
    for name in ("model.safetensors", "pytorch_model.bin"):
        if path := hub.find(spec, name):
            return Files(config.parent, (path,), commit)
        if index := hub.find(spec, f"{name}.index.json"):
            try:
                shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadInput(f"{index} is no index of weights, or is damaged: fetch it again") from error
            found = {shard: hub.find(spec, shard) for shard in shards}
            if missing := [shard for shard, path in found.items() if path is None]:
                raise BadInput(f"{spec.location} is incomplete: it lacks {missing[0]}")
            return Files(config.parent, tuple(path for path in found.values() if path), commit)
    raise BadInput(f"{spec.location} holds no weights: neither model.safetensors nor pytorch_model.bin")


def digest(paths: tuple[Path, ...]) -> str:
    """`sha256:...` over the tensors of the files. Read again only where a file has changed."""
    return _digest(paths, tuple((path.stat().st_size, path.stat().st_mtime_ns) for path in paths))


@cache
def _digest(paths: tuple[Path, ...], state: tuple[tuple[int, int], ...]) -> str:
    tensors = sorted(_tensors(paths), key=lambda t: t.name)
    return sha256(chunk for tensor in tensors for chunk in tensor.chunks())


def count(paths: tuple[Path, ...]) -> int:
    """Parameters in the files: numbers in their floating-point tensors (older files hold masks too)."""
    return sum(prod(t.shape) for t in _tensors(paths) if t.dtype in DTYPES)


def packed(paths: tuple[Path, ...]) -> str | None:
    """A tensor that does not hold numbers as they are, but packed or scaled, as in quantized checkpoints; None where
    there is none. Older files hold causal masks, which are called biases."""
    for t in _tensors(paths):
        if t.dtype not in DTYPES and not t.name.endswith((".bias", ".position_ids")):
            return f"{t.name} as {t.dtype}"
    return None


def stored_dtype(paths: tuple[Path, ...]) -> str:
    """The number format of most of the stored weights."""
    sizes: dict[str, int] = {}
    for t in _tensors(paths):
        if t.dtype in DTYPES:
            sizes[t.dtype] = sizes.get(t.dtype, 0) + prod(t.shape)
    if not sizes:
        raise BadInput(f"{paths[0].parent} holds no weights of a known dtype ({', '.join(DTYPES.values())})")
    return DTYPES[max(sizes, key=lambda dtype: sizes[dtype])]


class _Stored(NamedTuple):
    """One tensor of a file: of a safetensors file the bytes from `begin` to `end`, of a .bin file the tensor itself."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    begin: int
    end: int
    tensor: torch.Tensor | None = None

    def chunks(self) -> Iterator[bytes]:
        yield f"{self.name} {self.dtype} {list(self.shape)}\n".encode()
        if self.tensor is not None:
            import torch

            flat = self.tensor.contiguous().reshape(-1).view(torch.uint8)
            for start in range(0, flat.numel(), PIECE):
                yield flat[start : start + PIECE].numpy().tobytes()
            return
        with self.path.open("rb") as file:
            file.seek(self.begin)
            left = self.end - self.begin
            while left:
                piece = file.read(min(left, PIECE))
                if not piece:
                    raise BadInput(f"{self.path} is cut short: fetch it again")
                left -= len(piece)
                yield piece


def _tensors(paths: tuple[Path, ...]) -> Iterator[_Stored]:
    """The tensors of the files, in their order there. Raises `BadInput` for a damaged file."""
    for path in paths:
        try:
            yield from _safetensors(path) if path.suffix == ".safetensors" else _bin(path)
        except DAMAGE as error:
            raise BadInput(f"{path} is no file of weights, or is damaged: fetch it again") from error


def _safetensors(path: Path) -> list[_Stored]:
    """The header of the format: 8 bytes of length, then JSON with each tensor's dtype, shape and place."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    tensors = []
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors.append(_Stored(name, entry["dtype"], tuple(entry["shape"]), path, begin, end))
    return tensors


def _bin(path: Path) -> Iterator[_Stored]:
    import torch

    short = {getattr(torch, name): code for code, name in DTYPES.items()} | {torch.bool: "BOOL", torch.uint8: "U8"}
    for name, tensor in torch.load(path, map_location="cpu", weights_only=True, mmap=True).items():
        dtype = short.get(tensor.dtype, str(tensor.dtype))
        yield _Stored(name, dtype, tuple(tensor.shape), path, 0, tensor.numel() * tensor.element_size(), tensor)
