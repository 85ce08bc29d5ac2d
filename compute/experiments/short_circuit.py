"""What a continuation loses when the attention of some blocks looks at nothing but its own position.

Attention weights become the identity; values, output projection, norms, residual and MLP stay (arXiv 2501.05078): where
memorization needs a block and ability does not, the two part. Ability is measured on control corpora, and with the
extra `benchmarks` on tasks of lm-eval. It leaves out which positions and heads a block needs: see head_ablation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from memlake.compute.planning.coverage import AMONG, COLUMNS, Ask, chosen, pieces, select, subject_settings
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import Source
from memlake.warehouse.options import option
from memlake.warehouse.work.cells import Cell, published

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from memlake.compute.interventions.short_circuit import Effects
    from memlake.compute.models.checkpoint import Checkpoint
    from memlake.compute.planning.request import Request, Subject

VERSION = 1
TABLES = ("block_deltas", "benchmark_scores")
PIECE = 1 << 14  # rows handed over at once


@dataclass(frozen=True)
class Options:
    blocks: tuple[str, ...] = option((), "block, or range 3-8, to short-circuit: each alone; default: every block")
    among: str | None = option(
        None, "which sequences: memorized, contrast or all; default: memorized, on control corpora all", AMONG
    )
    task: tuple[str, ...] = option((), "task of lm-eval, or a task's YAML file, to run as well")


def plan(lake: Lake, subject: Subject, request: Request, options: Options) -> list[Cell]:
    """The cells that cover the requested sequences, blocks and tasks: those published before, and new ones for what is
    missing. Raises `BadInput` for blocks that the model has not."""
    from memlake.compute.models.checkpoint import known_model, role_on

    known = known_model(lake, subject.source)
    if known is None or known["n_layers"] is None:
        name = subject.source.name
        raise BadInput(f"{name} is not scored yet: run `memlake compute run scoring --model {name}` first")
    blocks = ranges(options.blocks, known["n_layers"])
    found = []
    for corpus in request.corpora:
        control = role_on(lake, subject.source, corpus, request.role) == "control"
        among = options.among or ("all" if control else "memorized")
        ask = Ask("short_circuit", subject_settings(subject), items=("blocks", blocks), among=among)
        for settings, sequences in select(lake, subject, replace(request, corpora=(corpus,)), ask):
            rows = {"block_deltas": sequences.num_rows * len(settings["blocks"])}
            task = subject.task(request, sequences.num_rows)
            found.append(_cell(settings, "block_deltas", task, rows))
    for text in dict.fromkeys(options.task):
        found += _benchmarks(lake, subject, request, text, blocks)
    return found


def ranges(texts: Sequence[str], n_layers: int) -> list[list[int]]:
    """[first, last] of each range of blocks, without repetition, in order; of every single block where none is named.
    Raises `BadInput`."""
    found = {(layer, layer) for layer in range(n_layers)} if not texts else set()
    for text in texts:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < n_layers:
            raise BadInput(f"no blocks {text!r}: they are 0 to {n_layers - 1}, one as 3 or a range as 3-8")
        found.add((first, last))
    return [list(pair) for pair in sorted(found)]


def _benchmarks(lake: Lake, subject: Subject, request: Request, text: str, blocks: list) -> Iterator[Cell]:
    """The cells of a task on the whole model (None among the blocks) and with each range short-circuited."""
    from memlake.compute.interventions.lm_eval import find_task

    same = subject_settings(subject) | find_task(text)
    missing: list = [None, *blocks]
    here = Path(text).resolve()  # a worker may run in another folder
    task = subject.task(request, 0) | {"task": str(here) if here.is_file() else text}
    for _, settings in published(lake, "short_circuit"):
        if same.items() <= settings.items() and any(b in settings["blocks"] for b in (None, *blocks)):
            missing = [b for b in missing if b not in settings["blocks"]]
            yield _cell(settings, "benchmark_scores", task)
    if missing:
        yield _cell(same | {"blocks": missing}, "benchmark_scores", task)


def _cell(settings: dict, table: str, task: dict, rows: dict | None = None) -> Cell:
    return Cell("short_circuit", VERSION, settings, (table,), rows or {}, group=settings["model"], task=task)


def work(cell: Cell, lake: Lake) -> Iterator[tuple[str, pa.Table]]:
    """Short-circuit the cell's ranges of blocks, one after the other, on its sequences or its task, and yield the rows,
    in bounded memory."""
    from memlake.compute.models.loaded import held

    s = cell.settings
    if "task" in s:
        yield from _task(cell, held(lake, cell)[0])
        return
    from memlake.compute.interventions.short_circuit import short_circuit

    sequences = chosen(lake, s, cell.task["tokenizer"], s["among"], COLUMNS)
    for piece in pieces(sequences, max(1, PIECE // len(s["blocks"]))):
        checkpoint, bos_id = held(lake, cell)
        effects = short_circuit(
            checkpoint,
            piece["tokens"].to_numpy(zero_copy_only=False),
            piece["prefix_tokens"].to_numpy(),
            [tuple(pair) for pair in s["blocks"]],
            bos_id=bos_id,
            batch_size=cell.task["batch_size"],
        )
        yield "block_deltas", rows(piece, effects, s)


def rows(sequences: pa.RecordBatch, effects: Effects, settings: dict) -> pa.Table:
    """The rows of `block_deltas` for a piece of `sequences`: range after range."""
    import numpy as np
    import pyarrow as pa

    shape = effects.n_match.shape
    n_tokens = np.broadcast_to(sequences["n_tokens"].to_numpy(), shape).ravel()
    first, last = np.repeat(np.array(settings["blocks"]), shape[1], axis=0).T
    n_match = effects.n_match.ravel()

    def lists(values: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(np.arange(n_match.size + 1, dtype=np.int32) * values.shape[-1], values.ravel())

    return pa.table(
        {
            "sequence_id": np.tile(sequences["sequence_id"].to_numpy(), shape[0]),
            **{name: pa.repeat(settings[name], n_match.size) for name in ("model", "corpus", "domain", "condition")},
            "first_block": first,
            "last_block": last,
            "n_tokens": n_tokens,
            "n_match": n_match,
            "memorized": n_match == n_tokens,
            "completion_entropy": effects.entropy.ravel(),
            "delta_logprob": effects.delta_logprob.ravel(),
            "output_difference": lists(effects.difference),
            "output_bound": lists(effects.bound),
        }
    )


def _task(cell: Cell, checkpoint: Checkpoint) -> Iterator[tuple[str, pa.Table]]:
    """The rows of `benchmark_scores` of a cell."""
    import pyarrow as pa

    from memlake.compute.interventions.lm_eval import scores

    s = cell.settings
    source = Source(**{**cell.task["source"], "corpora": tuple(cell.task["source"]["corpora"])})
    cuts = [pair and tuple(pair) for pair in s["blocks"]]
    for cut, found in scores(checkpoint, source, cell.task["task"], cuts, cell.task["batch_size"]):
        first, last = cut or (None, None)
        own = {"model": s["model"], "condition": s["condition"], "first_block": first, "last_block": last}
        yield "benchmark_scores", pa.Table.from_pylist([own | row for row in found])
