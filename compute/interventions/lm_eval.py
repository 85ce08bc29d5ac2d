"""Tasks of lm-eval (EleutherAI/lm-evaluation-harness, doi 10.5281/zenodo.10256836) on a model, whole or with
short-circuited blocks. Wants the extra `benchmarks`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.identity import sha256
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager
    from transformers import PreTrainedTokenizerBase

    from memlake.compute.engine.blocks import Blocks
    from memlake.compute.models.checkpoint import Checkpoint

    from .short_circuit import Range

CPU_BATCH = 8  # lm-eval reads whole logits at every position; on a GPU it finds out itself how many rows fit


def find_task(text: str) -> tuple[str, str | None]:
    """What stands for a task in a cell's settings: its name, and for a file of one's own the file's digest (not that of
    the data it names), else None.

    text: name of a task, group or tag of lm-eval, or path of a task's YAML file. Raises `BadInput` without lm-eval or
    for a file that holds no task, `UnknownName`.
    """
    if not (find_spec("lm_eval") and find_spec("accelerate")):  # its models want both
        raise BadInput("--task needs lm-eval: run `pip install 'memlake[benchmarks]'`")
    if not _is_file(text):
        known = _manager(text).all_tasks
        if text not in known:
            raise UnknownName("task", text, known)
        return text, None
    path = Path(text).resolve()
    if not path.is_file():
        raise BadInput(f"no task file {text}")
    index = _manager(text).task_index
    for name, entry in index.items():
        if entry.yaml_path and Path(entry.yaml_path).resolve() == path:
            return name, sha256([path.read_bytes()])
    raise BadInput(f"{text} declares no task of lm-eval: it has no entry `task`")


def scores(
    checkpoint: Checkpoint, spec: ModelSpec, task: str, ranges: Sequence[Range | None], batch_size: int | None = None
) -> Iterator[tuple[Range | None, list[dict]]]:
    """Run a task (as `find_task` takes it) with each range of blocks short-circuited, None being the whole model: rows
    of `benchmark_scores`, without cell, model, condition and blocks.

    batch_size: rows at once; by default 8 on a CPU, on a GPU what fits. Text is tokenized by the checkpoint's own
    tokenizer, with a BOS token first if the condition wants one.
    """
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    from memlake.compute.engine.blocks import Blocks

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    tokenizer = load_tokenizer(spec)
    model = HFLM(
        pretrained=checkpoint.model,
        tokenizer=_tokenizer(checkpoint, tokenizer),
        backend="causal",
        max_length=checkpoint.positions,
        batch_size=batch_size or (CPU_BATCH if checkpoint.device.type == "cpu" else "auto"),
        add_bos_token=checkpoint.condition.bos,
        prefix_token_id=tokenizer.bos_id,  # where a task has no context; None: end-of-sequence
    )
    blocks, manager = Blocks(checkpoint), _manager(task)
    for cut in ranges:
        with short_circuited(checkpoint, blocks, cut) if cut else ExitStack():
            results = lm_eval.simple_evaluate(model, tasks=[task], task_manager=manager, log_samples=False)
        yield cut, list(_rows(results))


def _tokenizer(checkpoint: Checkpoint, own: Tokenizer) -> PreTrainedTokenizerBase:
    """The tokenizer that the lake knows, as lm-eval wants it. (AutoTokenizer goes by the architecture, and may put
    another in the place of the one that a checkpoint ships.)"""
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    if checkpoint.condition.bos and own.bos_id is not None:
        bos = own.backend.id_to_token(own.bos_id)
        own.backend.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, own.bos_id)])
    # Only tokens that are special already: making a word special would split other words in which it stands
    special = {i: token.content for i, token in own.backend.get_added_tokens_decoder().items()}
    end = checkpoint.model.config.eos_token_id
    eos = special.get(end[0] if isinstance(end, list) else end)
    return PreTrainedTokenizerFast(tokenizer_object=own.backend, eos_token=eos, pad_token=eos)


@contextmanager
def short_circuited(checkpoint: Checkpoint, blocks: Blocks, cut: Range) -> Iterator[None]:
    """While this lasts, the model runs with the range of blocks short-circuited, and generates without a cache: the
    length of a cache is that of its first block's keys, of which a short-circuited block has none."""
    first, last = cut
    with ExitStack() as stack:
        for layer in range(first, last + 1):
            stack.enter_context(blocks.attending(layer, blocks.identity(layer)))
        stack.enter_context(_without_cache(checkpoint.model))
        yield


@contextmanager
def _without_cache(model: Any) -> Iterator[None]:
    own = model.generate
    model.generate = lambda *args, **given: own(*args, **{**given, "use_cache": False})
    try:
        yield
    finally:
        del model.generate  # of the instance: the class has its own


def _manager(task: str) -> TaskManager:
    """lm-eval's index of tasks: its own, or those in the folder of a file."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(Path(task).parent), include_defaults=False) if _is_file(task) else _own()


@cache  # it takes many seconds to read
def _own() -> TaskManager:
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _is_file(task: str) -> bool:
    return Path(task).suffix in (".yaml", ".yml")


def _rows(results: dict) -> Iterator[dict]:
    """The numbers among what `simple_evaluate` gives; each stands under "metric,filter"."""
    for task, metrics in results["results"].items():
        for key, value in metrics.items():
            metric, _, rest = key.partition(",")
            if not isinstance(value, (int, float)) or metric.endswith("_stderr") or not rest:
                continue
            stderr = metrics.get(f"{metric}_stderr,{rest}")
            yield {
                "task": task,
                "metric": key,
                "value": float(value),
                "stderr": float(stderr) if isinstance(stderr, (int, float)) else None,
                "n": _examples(results, task),
            }


def _examples(results: dict, task: str) -> int:
    """Examples of a task; of a group, those of its tasks."""
    own = results["n-samples"].get(task)
    return own["effective"] if own else sum(_examples(results, t) for t in results["group_subtasks"][task])
