"""How far short-circuiting can move the residual stream: a bound after every block and at every position, from the
weights and the run of the whole model alone.

It is in the spirit of the two theorems of arXiv 2501.05078 (at the block, and propagated), and not theirs.
Dot-product attention has no Lipschitz constant (Kim et al. 2021, arXiv 2006.04710), so that none is used: whatever its
weights become, a head's output stays among the values that it sees. With e what the residual stream may be off by,
after each block e + a + m, where, | | being Euclidean norms and s( ) spectral norms,

    norm        z is off by  d(e) = g min(e / sqrt(r r'), 2 sqrt(width)),  r' = max(r - e / sqrt(width), sqrt(eps))
                r: root mean square of the clean input (centred for LayerNorm), g: largest weight
    attention   a = s(output projection) x
                |v_t - o_t| + c d_t(e)                                          in a short-circuited block
                sqrt(sum_h (|o_th| + max_j<=t |v_jh|)^2) + c max_j<=t d_j(e)    in another, 0 where d_j(e) = 0 up to t
                o: heads' outputs, v: values, t, j: positions, h: heads; c^2: sum of s(a head's value projection)^2
    MLP         m = 1.13 s(up) s(down) d(e + a), 1.13 bounding the slope of GELU and SiLU;  gated:
                m = s(down) d (s(up) (max |silu(gate)| + 1.13 d max_i |gate_i|) + 1.13 s(gate) max |up|)

and a norm after a branch bounds a or m as the first line does; parallel branches both take d(e). It holds in exact
arithmetic; it is loose for small e, since attention may then be off by as much as for a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from memlake.compute.engine.blocks import Blocks, Trace
from memlake.compute.models.checkpoint import Checkpoint

SLOPE = 1.13  # of GELU (1.1289, its tanh form 1.1290) and of SiLU (1.0998), at most
EPS = 1e-5  # of a norm that does not say: OLMo 1's

Step = Callable[[torch.Tensor], torch.Tensor]  # how far something may be off -> how far what is computed from it may


@dataclass(frozen=True)
class _Weights:
    """Norms of the weights of one block."""

    output: float  # spectral, of the output projection
    values: float  # root of the sum over query heads of the squared spectral norms of their value projections
    mlp: tuple[float, ...]  # spectral, of its two or three linear maps in the order they are applied
    gate: float  # largest norm of a row of the first one


_weights: WeakKeyDictionary[nn.Module, dict[int, _Weights]] = WeakKeyDictionary()  # they cost more than a small cell


class Bounds:
    """Bounds for one batch of rows that has been traced, heads included."""

    def __init__(self, checkpoint: Checkpoint, blocks: Blocks, trace: Trace):
        self.blocks, self.trace = blocks, trace
        self.linear = Blocks(checkpoint)
        self.linear.clip = None  # clipping brings values nearer to one another, so that the bound may ignore it
        self.known = _weights.setdefault(checkpoint.model, {})
        self.steps: dict[int, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {}

    def after_each(self, ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, torch.Tensor]]:
        """Each block from the first short-circuited one on, with how far what leaves it may be off: float32 [ranges,
        rows of the trace, slots], each range (first, last) of blocks being short-circuited alone."""
        hidden = self.trace.hidden[0]
        off = torch.zeros(len(ranges), *hidden.shape[:2], device=hidden.device)
        begin, end = torch.tensor(ranges, device=hidden.device).T[..., None, None]
        for layer in range(int(begin.min()), self.blocks.n_layers):
            if layer not in self.steps:
                self.steps[layer] = self._block(layer)
            after = self.steps[layer](off, (begin <= layer) & (layer <= end))
            off = torch.where(begin <= layer, after, 0.0)
            yield layer, off

    def _block(self, layer: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """The step of one block, which is also told which ranges short-circuit it: bool [ranges, 1, 1]."""
        blocks, parts, block = self.blocks, self.blocks.parts, self.blocks.blocks[layer]
        norm = {name: getattr(block, own) if own else None for name, own in vars(parts.norms).items()}
        weights = self._measured(layer)
        entering = self.trace.hidden[layer]
        heads = self.trace.heads[layer]
        values = blocks.identity(layer)(_apply(norm["before_attention"], entering))
        own = (values - heads).float().square().sum((-1, -2)).sqrt()
        reach = heads.float().norm(dim=-1) + values.float().norm(dim=-1).cummax(1).values
        reach = reach.square().sum(-1).sqrt()
        attention = blocks.projection(layer)(heads.flatten(-2))
        middle = entering if self.parallel else entering + _apply(norm["after_attention"], attention)
        inner = _apply(norm["before_mlp"], middle)
        mlp = getattr(block, parts.mlp)
        into_attention, into_mlp = _norm(norm["before_attention"], entering), _norm(norm["before_mlp"], middle)
        out_of_attention, out_of_mlp = _norm(norm["after_attention"], attention), _norm(norm["after_mlp"], mlp(inner))
        through_mlp = _mlp(mlp, weights, inner)

        def step(off: torch.Tensor, cut: torch.Tensor) -> torch.Tensor:
            z = into_attention(off)
            seen = z.cummax(-1).values
            whole = torch.where(seen > 0, reach + weights.values * seen, 0.0)
            a = out_of_attention(weights.output * torch.where(cut, own + weights.values * z, whole))
            return off + a + out_of_mlp(through_mlp(into_mlp(off if self.parallel else off + a)))

        return step

    @property
    def parallel(self) -> bool:
        flag = self.blocks.parts.parallel
        return bool(flag and getattr(self.blocks.base.config, flag))

    def _measured(self, layer: int) -> _Weights:
        if layer not in self.known:
            output = self.blocks.projection(layer).weight
            basis = torch.eye(self.blocks.base.config.hidden_size, dtype=output.dtype, device=output.device)
            heads = self.linear.identity(layer)
            by_head = (heads(basis) - heads(torch.zeros_like(basis[:1]))).float().transpose(0, 1)
            linears = [m.weight for m in _linears(getattr(self.blocks.blocks[layer], self.blocks.parts.mlp))]
            self.known[layer] = _Weights(
                output=float(_spectral(output)),
                values=float(_spectral(by_head).square().sum().sqrt()),
                mlp=tuple(float(_spectral(w)) for w in linears),
                gate=float(linears[0].float().norm(dim=1).max()),
            )
        return self.known[layer]


def _norm(norm: Any, states: torch.Tensor) -> Step:
    """The step of a norm whose clean input is `states` [rows, slots, width]; none: the step that changes nothing.

    u / r(u) with r(u)^2 = |u|^2 / width + eps is a projection of (u, sqrt(width eps)) brought to length sqrt(width),
    and for any two vectors |x / |x| - y / |y|| <= |x - y| / sqrt(|x| |y|)."""
    if norm is None:
        return lambda off: off
    u = states.float()
    rms = hasattr(norm, "variance_epsilon")
    eps = norm.variance_epsilon if rms else getattr(norm, "eps", EPS)
    u = u if rms else u - u.mean(-1, keepdim=True)
    radius, root = (u.square().mean(-1) + eps).sqrt(), u.shape[-1] ** 0.5
    weight = getattr(norm, "weight", None)
    scale = 1.0 if weight is None else float(weight.abs().max())

    def step(off: torch.Tensor) -> torch.Tensor:
        least = (radius - off / root).clamp_min(eps**0.5)
        return scale * (off / (radius * least).sqrt()).clamp_max(2 * root)

    return step


def _mlp(mlp: Any, weights: _Weights, inner: torch.Tensor) -> Step:
    """The step of an MLP whose clean input is `inner`."""
    if len(weights.mlp) == 2:
        up, down = weights.mlp
        return lambda off: SLOPE * up * down * off
    gate, up, down = weights.mlp
    to_gate, to_up, _ = _linears(mlp)
    gated = mlp.act_fn(to_gate(inner)).float().abs().amax(-1)
    upward = to_up(inner).float().abs().amax(-1)
    return lambda off: down * off * (up * (gated + SLOPE * weights.gate * off) + SLOPE * gate * upward)


def _linears(mlp: Any) -> list[nn.Linear]:
    """(up, down), or (gate, up, down): in all families they are declared in this order."""
    return [m for m in mlp.children() if isinstance(m, nn.Linear)]


def _apply(norm: nn.Module | None, states: torch.Tensor) -> torch.Tensor:
    return states if norm is None else norm(states)


def _spectral(weight: torch.Tensor) -> torch.Tensor:
    """The largest singular value of each matrix [..., m, n], from above: by less than 7 % up to 5,000 rows. With
    G = W W^T it is at most |G^32|^(1/64), | | being the Frobenius norm; a few products cost less than eigenvalues do,
    and unlike power iteration they never give too little."""
    w = weight.float()
    power = w @ w.mT if w.shape[-2] <= w.shape[-1] else w.mT @ w
    log = torch.zeros((), device=w.device)
    for k in range(6):
        if k:
            power = power @ power
        size = power.norm(dim=(-2, -1), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        power, log = power / size, log + size.log() / 2**k
    return (log / 2).exp()[..., 0, 0]
