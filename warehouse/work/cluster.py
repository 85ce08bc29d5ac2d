"""The Dask cluster that cells run on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from memlake.warehouse.errors import BadInput

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 20  # for a named scheduler to answer


class _Shared:
    """A cluster that starts when it is asked for."""

    def __init__(self, stack: ExitStack, count: int):
        self._stack, self._count = stack, count
        self._client: Client | None = None

    def client(self) -> Client:
        self._client = self._client or self._stack.enter_context(_local(self._count))
        return self._client


_shared: _Shared | None = None


@contextmanager
def cluster(workers: int | None = None) -> Iterator[None]:
    """The runs within share one cluster on this machine, so that its workers start and load their libraries once. Where
    no run needs it, none is started."""
    global _shared
    with ExitStack() as stack:
        _shared = _Shared(stack, workers or cores())
        try:
            yield
        finally:
            _shared = None


def is_shared() -> bool:
    """Do the runs share a cluster now?"""
    return _shared is not None


@contextmanager
def client_for(workers: int | None, scheduler: str | None, groups: int) -> Iterator[Client]:
    """A Dask client: of the named scheduler, of the shared cluster, or of one that ends with the run."""
    from distributed import Client

    if scheduler:
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as e:
            raise BadInput(f"no Dask scheduler answers at {scheduler}: {e}") from e
        with client:
            yield client
    elif _shared and not workers:
        yield _shared.client()
    else:
        with _local(workers or min(cores(), groups)) as client:
            yield client


def cores() -> int:
    """Cores that this process may use."""
    from dask.system import CPU_COUNT

    return CPU_COUNT


@contextmanager
def _local(count: int) -> Iterator[Client]:
    """A client of a cluster of so many processes on this machine."""
    import dask
    from distributed import Client, LocalCluster

    threads = str(max(1, cores() // count))
    settings = {
        "distributed.scheduler.allowed-failures": 1,
        "distributed.worker.profile.enabled": False,  # it walks our stacks a hundred times a second
        # All that Dask would set, so that its MALLOC_TRIM_THRESHOLD_ is gone: with it torch gives memory back to the
        # kernel, and asks for it again, at every step.
        "distributed.nanny.pre-spawn-environ": {
            f"{library}_NUM_THREADS": threads for library in ("OMP", "MKL", "OPENBLAS")
        },
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # any port that is free
            resources={"GPU": 1},
            silence_logs=logging.CRITICAL,
        ) as local,
        Client(local) as client,
    ):
        yield client
