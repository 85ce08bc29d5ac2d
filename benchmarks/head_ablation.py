"""Exact head ablation beside full forwards with a hook, on the same sequences and heads, interleaved in one process.

    python -m benchmarks.head_ablation [--device cuda] [--dtype bfloat16] [--threads 2] [--layers 12 24]
    ... --device cuda --layers 24 --width 2048 --heads 16 --vocab 50304 --rows 64 --batch 64

`all logits`: for each head a full forward of the unmodified transformers model, with a hook that replaces the head by
the mean of its peers. `contin. logits`: the same, but unembedding the continuation positions only. Both in batches of
sequences of the size given, as ours traces them. GPT-NeoX with random weights from a config, its proportions those of
Pythia, 32 + 32 tokens; the second line above is a model of 1.4 billion parameters. Times are medians; ratios are
medians of the ratios of each repeat. passes: block passes of the full forwards / of ours.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from memlake.compute.engine.blocks import Blocks
from memlake.compute.engine.forward import batch
from memlake.compute.interventions.ablation import Ablation, Effects
from memlake.compute.models.checkpoint import Checkpoint
from memlake.compute.models.conditions import Condition

PREFIX, CONTINUATION = 32, 32


def model(a: argparse.Namespace, layers: int) -> Checkpoint:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=a.vocab,
        hidden_size=a.width,
        intermediate_size=4 * a.width,
        num_hidden_layers=layers,
        num_attention_heads=a.heads,
        max_position_embeddings=2048,
        dtype=a.dtype,
    )
    with torch.device(a.device):
        m = GPTNeoXForCausalLM._from_config(config, dtype=getattr(torch, a.dtype)).eval().requires_grad_(False)
    return Checkpoint(f"{layers} x {a.width}", m, 2048, None, a.vocab, Condition(a.dtype, "sdpa"))


def plainly(m, ids: torch.Tensor, heads: list[tuple[int, int]], size: int, all_logits: bool) -> Effects:
    """Full forwards with a hook."""
    logprob, match = torch.zeros(2, len(heads), len(ids), device=ids.device)
    for i, (layer, head) in enumerate(heads):

        def replace(_, args, head=head):
            x = args[0].unflatten(-1, (m.config.num_attention_heads, -1)).clone()
            x[..., head, :] = (x.sum(-2) - x[..., head, :]) / (x.shape[-2] - 1)
            return (x.flatten(-2),)

        hook = m.gpt_neox.layers[layer].attention.dense.register_forward_pre_hook(replace)
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            if all_logits:
                logits = m(part[:, :-1], use_cache=False).logits[:, PREFIX - 1 :]
            else:
                hidden = m.gpt_neox(part[:, :-1], use_cache=False).last_hidden_state
                logits = m.get_output_embeddings()(hidden[:, PREFIX - 1 :])
            logits, target = logits.float(), part[:, PREFIX:]
            found = logits.log_softmax(-1).gather(-1, target[..., None])[..., 0].sum(-1)
            logprob[i, start : start + size] = found
            match[i, start : start + size] = (logits.argmax(-1) == target).sum(-1)
        hook.remove()
    n_match = match.cpu().numpy().astype(np.int64)
    return Effects(logprob.cpu().numpy(), n_match, n_match == CONTINUATION)


def ours(c: Checkpoint, blocks: Blocks, ids: np.ndarray, heads: list[tuple[int, int]], size: int):
    """Effects, and the block passes they took."""
    parts, passes = [], 0.0
    for start in range(0, len(ids), size):
        part = list(ids[start : start + size])
        ablation = Ablation(c, blocks, batch(part, np.full(len(part), PREFIX)), "peer_mean")
        parts.append(ablation.effects(heads))
        passes += ablation.passes
    joined = (np.concatenate([getattr(p, name) for p in parts], 1) for name in ("logprob", "n_match", "memorized"))
    return Effects(*joined), passes


def timed(function: Callable) -> float:
    start = perf_counter()
    function()  # ends on the CPU, so that a GPU has finished too
    return perf_counter() - start


@torch.inference_mode()
def compare(a: argparse.Namespace, layers: int) -> None:
    c = model(a, layers)
    blocks = Blocks(c)
    ids = np.random.default_rng(0).integers(1, a.vocab, (a.rows, PREFIX + CONTINUATION))
    on_device = torch.from_numpy(ids).to(a.device)
    heads = [(layer, head) for layer in range(layers) for head in range(min(a.heads, a.heads_a_layer))]
    runs = {
        "ours": lambda: ours(c, blocks, ids, heads, a.batch)[0],
        "all": lambda: plainly(c.model, on_device, heads, a.batch, True),
        "continuation": lambda: plainly(c.model, on_device, heads, a.batch, False),
    }
    outs = {way: run() for way, run in runs.items()}  # once for warmth, and to see that all agree
    apart = np.abs(outs["ours"].logprob - outs["all"].logprob).max()
    same = (outs["ours"].n_match == outs["all"].n_match).mean()
    times = {way: [] for way in runs}
    for _ in range(a.repeats):
        for way, run in runs.items():
            times[way].append(timed(run))
    ratio = {way: median(t / o for t, o in zip(times[way], times["ours"], strict=True)) for way in runs}
    passes = layers * len(heads) * a.rows / ours(c, blocks, ids, heads, a.batch)[1]
    seconds = " ".join(f"{median(times[way]):9.2f}" for way in runs)
    size = sum(p.numel() for p in c.model.parameters()) / 1e6
    print(
        f"{c.name:12} {size:9.1f} {len(heads):6} {seconds} {ratio['all']:9.2f} {ratio['continuation']:12.2f}"
        f" {passes:7.2f} {apart:10.1e} {same:7.4f}",
        flush=True,
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cpu")
    options.add_argument("--dtype", default="float32")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--layers", type=int, nargs="+", default=[12, 24])
    options.add_argument("--width", type=int, default=384)
    options.add_argument("--heads", type=int, default=12)
    options.add_argument("--vocab", type=int, default=16384)
    options.add_argument("--rows", type=int, default=16, help="sequences")
    options.add_argument("--batch", type=int, default=16, help="sequences at once")
    options.add_argument("--heads-a-layer", type=int, default=4, help="heads ablated in each layer")
    a = options.parse_args()
    torch.set_num_threads(a.threads)
    where = torch.cuda.get_device_name() if a.device == "cuda" else f"CPU, {a.threads} threads"
    print(
        f"torch {torch.__version__}, {where}, {a.dtype}; {a.heads} heads, vocabulary {a.vocab}, {a.rows} sequences,"
        f" {a.batch} at once, {a.repeats} repeats"
    )
    print(
        f"{'':12} {'':9} {'':6} {'seconds:':>9} {'all':>9} {'contin.':>9} {'faster x:':>9} {'faster x:':>12} {'':7}"
        f" {'largest':>10} {'same':>7}\n"
        f"{'model':12} {'params M':>9} {'heads':>6} {'ours':>9} {'logits':>9} {'logits':>9} {'all':>9}"
        f" {'continuation':>12} {'passes':>7} {'difference':>10} {'matches':>7}"
    )
    for layers in a.layers:
        compare(a, layers)


if __name__ == "__main__":
    main()
