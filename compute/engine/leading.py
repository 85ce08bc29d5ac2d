"""The largest of many logits, found by the maxima of blocks of them.

`torch.max` with an index and `torch.topk` look at every logit one at a time: on a CPU they take longer than the
exponentials. A maximum alone is taken 16 at a time, and what leads lies in the few blocks whose maxima lead.
"""

from __future__ import annotations

import math

import torch


class Leading:
    """The leading tokens of float32 logits [positions, vocabulary], which must not change while this is asked."""

    def __init__(self, logits: torch.Tensor, k: int):
        """`k`: as many as `best` will be asked for."""
        self.logits = logits
        vocabulary = logits.shape[-1]
        # So large that the maxima are about as many as the logits in k blocks
        self.size = 1 << max(0, round(math.log2(vocabulary / k) / 2))
        whole = vocabulary - vocabulary % self.size
        self.maxima = logits[:, :whole].unflatten(-1, (-1, self.size)).amax(-1)  # [positions, blocks]
        if whole < vocabulary:
            self.maxima = torch.cat([self.maxima, logits[:, whole:].amax(-1, keepdim=True)], dim=-1)

    def first(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The largest logit, and its token, of equals the lowest id, each [positions]."""
        best, token, _, _ = self._first()
        return best, token[:, 0]

    def two(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The largest logit, its token as of `first`, and the largest logit of the other tokens, each [positions]."""
        best, token, block, inside = self._first()
        beside = inside.scatter_(-1, token - block * self.size, -torch.inf).amax(-1)
        return best, token[:, 0], beside.maximum(self.maxima.scatter(-1, block, -torch.inf).amax(-1))

    def _first(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The largest logit [positions], its token and block [positions, 1], and that block's logits, a copy."""
        best, block = self.maxima.max(-1, keepdim=True)  # torch documents: of equals the first
        inside = self._inside(torch.arange(len(block), device=block.device), block)
        return best[:, 0], block * self.size + inside.argmax(-1, keepdim=True), block, inside

    def at_least(self, values: torch.Tensor) -> torch.Tensor:
        """At least so many tokens have larger logits than `values` float32 [positions]: int64 [positions]."""
        return (self.maxima > values[:, None]).sum(-1)

    def best(self, rows: torch.Tensor, k: int) -> torch.Tensor:
        """The k largest logits of some positions, `rows` int64: [rows, k], the largest first; k is at most the size of
        the vocabulary. No block but those with the k largest maxima can add to them."""
        maxima = self.maxima[rows]
        return self._inside(rows, maxima.topk(min(k, maxima.shape[-1])).indices).topk(k).values

    def _inside(self, rows: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
        """The logits of blocks, int64 [rows, blocks], of these rows: a copy, [rows, blocks x size], minus infinity
        beyond the vocabulary."""
        vocabulary = self.logits.shape[-1]
        token = (blocks[..., None] * self.size + torch.arange(self.size, device=blocks.device)).flatten(1)
        logits = self.logits[rows[:, None], token.clamp_max(vocabulary - 1)]
        return logits.masked_fill_(token >= vocabulary, -torch.inf) if vocabulary % self.size else logits
