"""What a process computes on."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from memlake.warehouse.errors import BadInput

if TYPE_CHECKING:
    import torch

THREADED = 10_000_000  # parameters from which on more threads than one pay


def pick_device(device: str) -> str:
    """`cuda` or `cpu`; raises `BadInput` where there is no CUDA device but one was asked for."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("no CUDA device here: use --device cpu, or install a torch build for your GPU")
    if device not in ("cpu", "cuda"):
        raise BadInput(f"no device {device!r}: it is auto, cpu or cuda")
    return device


def likely_device(device: str) -> str:
    """What `pick_device` is going to pick, `cuda` or `cpu`, found out without torch: a plan takes no second."""
    if device != "auto":
        return device
    try:
        return "cuda" if ctypes.CDLL("libcuda.so.1").cuInit(0) == 0 else "cpu"  # of the driver: it finds a device
    except OSError:
        return "cpu"


def use_threads(parameters: int) -> None:
    """Let a model of so many parameters use this process's cores. A small one uses a single one: several would wait for
    one another longer than they compute."""
    import torch

    global _threads
    _threads = _threads or torch.get_num_threads()
    torch.set_num_threads(_threads if parameters >= THREADED else 1)


_threads: int | None = None  # those that the process began with


def free_memory(device: str | torch.device) -> int:
    """Bytes of a GPU that tensors of this process can still have. CUDA counts as used what torch keeps for reuse."""
    import torch

    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def own_gpu() -> str:
    """One GPU a worker, where several workers of this machine see them all."""
    import torch
    from distributed import get_worker

    try:
        name = get_worker().name
    except ValueError:  # not on a Dask worker
        return "cuda"
    return f"cuda:{name % torch.cuda.device_count()}" if isinstance(name, int) else "cuda"
