"""A model block by block: trace a forward once, then run on from any block with something changed.

What comes before a change does not depend on it, so that an intervention in block l costs the blocks from l on, and
many interventions stand side by side in one batch. Blocks are run as transformers built them; only what stands in for
a block's attention is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from memlake.compute.families import kv_heads, parts, recognise
from memlake.compute.models.checkpoint import Checkpoint

# What stands in for a block's attention: its input [rows, slots, width] -> the heads' outputs, in a shape that the
# output projection takes once the last two dimensions, [heads, head width], are joined.
Heads = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Trace:
    """What one forward leaves.

    hidden: n_layers + 1 tensors [rows, slots, width]: entry l enters block l, the last leaves the last block (before
    the final norm). heads: n_layers tensors [rows, slots, heads, head width]: what enters each block's output
    projection; empty unless asked for. given: what else each block was called with, fit for any number of rows.
    """

    hidden: list[torch.Tensor] = field(default_factory=list)
    heads: list[torch.Tensor] = field(default_factory=list)
    given: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)


class Blocks:
    """The blocks of a checkpoint, numbered from 0."""

    def __init__(self, checkpoint: Checkpoint):
        config = checkpoint.model.config
        family = recognise(config.model_type, checkpoint.name)
        self.parts = parts(family)
        self.base: Any = checkpoint.model.base_model
        self.blocks = cast(nn.ModuleList, self.base.get_submodule(self.parts.blocks))
        self.norm = self.base.get_submodule(self.parts.norm)
        self.n_layers = len(self.blocks)
        self.n_heads = config.num_attention_heads
        self.n_kv_heads = kv_heads(family, config)
        self.clip = getattr(config, self.parts.clip) if self.parts.clip else None

    def attention(self, layer: int) -> nn.Module:
        return getattr(self.blocks[layer], self.parts.attention)

    def projection(self, layer: int) -> nn.Linear:
        """The projection of what the heads give back to the residual stream."""
        return cast(nn.Linear, self.attention(layer).get_submodule(self.parts.output))

    def trace(self, ids: torch.Tensor, heads: bool = False) -> Trace:
        """Run all blocks on `ids` int64 [rows, slots] (rows padded on the right), and keep what passes between them."""
        trace = Trace()

        def entering(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            trace.hidden.append(args[0])
            trace.given.append((_any_rows(args[1:], len(ids)), _any_rows(kwargs, len(ids))))

        def leaving(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            trace.hidden.append(_hidden(output))

        def projected(_: nn.Module, args: tuple[Any, ...]) -> None:
            trace.heads.append(args[0].unflatten(-1, (self.n_heads, -1)))

        with ExitStack() as hooks:
            for layer, block in enumerate(self.blocks):
                hooks.enter_context(block.register_forward_pre_hook(entering, with_kwargs=True))
                if heads:
                    hooks.enter_context(self.projection(layer).register_forward_pre_hook(projected))
            hooks.enter_context(self.blocks[-1].register_forward_hook(leaving))
            self.base(input_ids=ids.to(self.base.device), use_cache=False)
        return trace

    def run(self, trace: Trace, layer: int, hidden: torch.Tensor, heads: Heads | None = None) -> torch.Tensor:
        """Run one block of a trace on other rows: hidden [any, slots, width] -> the same shape. `heads`: what stands in
        for the block's attention; its norms, output projection, residual and MLP stay."""
        args, kwargs = trace.given[layer]
        if heads is None:
            return _hidden(self.blocks[layer](hidden, *args, **kwargs))
        with self.attending(layer, heads):
            return _hidden(self.blocks[layer](hidden, *args, **kwargs))

    def last(self, trace: Trace, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        """What leaves the last block, where `hidden` enters block `layer`: itself if there is no such block."""
        for later in range(layer, self.n_layers):
            hidden = self.run(trace, later, hidden)
        return hidden

    @contextmanager
    def attending(self, layer: int, heads: Heads) -> Iterator[None]:
        """While this lasts, `heads` stands in for the attention of the block."""
        block, name, own = self.blocks[layer], self.parts.attention, self.attention(layer)
        output = self.projection(layer)
        setattr(block, name, _Given(lambda states: output(heads(states).flatten(-2))))
        try:
            yield
        finally:
            setattr(block, name, own)

    def identity(self, layer: int) -> Heads:
        """Attention that looks at nothing but its own position: each head gives its value there (arXiv 2501.05078,
        section 3). Values are repeated over the query heads of each key-value head, and clipped where the model does.
        """
        values = self.attention(layer).get_submodule(self.parts.values)
        width = self.projection(layer).weight.numel() // self.base.config.hidden_size // self.n_heads

        def heads(states: torch.Tensor) -> torch.Tensor:
            v = values(states)
            if v.shape[-1] > self.n_kv_heads * width:  # fused with queries and keys: head by head, or at the end
                by_head = self.n_kv_heads == self.n_heads
                v = v.unflatten(-1, (self.n_heads, -1))[..., -width:] if by_head else v[..., -width * self.n_kv_heads :]
            else:
                v = v.unflatten(-1, (self.n_kv_heads, -1))
            if self.clip is not None:
                v = v.clamp(-self.clip, self.clip)
            v = v.reshape(*states.shape[:-1], self.n_kv_heads, width)
            return v.repeat_interleave(self.n_heads // self.n_kv_heads, dim=-2)

        return heads


class _Given(nn.Module):
    """In the place of an attention module: its output is computed from its input alone."""

    def __init__(self, output: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.output = output

    def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
        return self.output(args[0] if args else kwargs["hidden_states"]), None


def _hidden(output: torch.Tensor | tuple) -> torch.Tensor:
    """Some blocks return the hidden states alone, some with more."""
    return output[0] if isinstance(output, tuple) else output


def _any_rows(given: Any, rows: int) -> Any:
    """Arguments of a block, fit for any number of rows. All rows have the same: their positions and their mask depend
    on the slot alone, as rows are padded on the right without a mask of their own."""
    if isinstance(given, torch.Tensor):
        return given[:1] if given.dim() and len(given) == rows else given
    if isinstance(given, dict):
        return {key: _any_rows(value, rows) for key, value in given.items()}
    if isinstance(given, (tuple, list)):
        return tuple(_any_rows(value, rows) for value in given)
    return given
