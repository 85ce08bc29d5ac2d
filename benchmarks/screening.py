"""What screening costs and what it finds, beside taking every head away on every sequence, on a trained model.

    python -m benchmarks.screening [--folder DIR] [--threads 2] [--sequences 300] [--showings 24] [--orders 50]

Trains a GPT-NeoX model of 12 layers of 12 heads on windows of the demo's text until it has memorized most of them
(lake and model stay in the folder for the next time), and ablates all heads (peer_mean) on the memorized windows. From
that table of deltas each strategy is played at many budgets, on many orders of the sequences; some are then timed.

The truth: the 20 % of heads with the largest mean drop of log-probability over all sequences. It is noisy itself: the
first line says how well one half of the sequences finds what the other half says, and what the plainest ranking finds,
the lowest layers first. Cost: block passes, as a share of every head on every sequence. Rank correlation: Spearman's
over all heads, of the truth and what the strategy knows of each head (measured, or else estimated).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from memlake.compute.engine.batches import each_batch
from memlake.compute.engine.blocks import Blocks
from memlake.compute.interventions.ablation import Ablation, Tokenized, ablate
from memlake.compute.interventions.attribution import estimates
from memlake.compute.interventions.screen import DEFAULT, Screen
from memlake.compute.interventions.screening import IMPORTANT, Field, Screening, passes, spearman
from memlake.compute.miniatures.cells import showings, train_tokenizer
from memlake.compute.miniatures.training import Shown, train
from memlake.compute.models.checkpoint import Checkpoint
from memlake.compute.models.conditions import Condition
from memlake.demo import TRAINED
from memlake.warehouse.lake import Lake
from memlake.warehouse.models.registry import ModelSpec
from memlake.warehouse.models.tokenizer import Tokenizer, load_tokenizer
from memlake.warehouse.work.cluster import cluster

LAYERS, HEADS, WIDTH, PREFIX, LENGTH = 12, 12, 96, 32, 64
ALL = [(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
TOP = round(IMPORTANT * len(ALL))
# Without estimates every head starts; without rounds the estimates alone decide
STRATEGIES = {
    "fewer sequences": [Screen(0, ((1.0, share),), least=1) for share in (0.02, 0.05, 0.1, 0.2)],
    "halving": [
        Screen(0, ((1.0, 0.01), (0.5, 0.03), (0.25, 0.08)), least=1),
        Screen(0, ((1.0, 0.03), (0.5, 0.06), (0.25, 0.12)), least=1),
        Screen(0, ((1.0, 0.05), (0.5, 0.1), (0.25, 0.2)), least=1),
        Screen(0, ((1.0, 0.1), (0.5, 0.2), (0.25, 0.4)), least=1),
    ],
    "estimate": [Screen(share, (), least=1) for share in (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)],
    "estimate, then halving": [
        Screen(0.1, ((0.25, 0.05),), least=1),
        Screen(0.25, ((0.25, 0.1),), least=1),
        DEFAULT,
        Screen(0.5, ((0.5, 0.04), (0.25, 0.12)), least=1),
        Screen(0.5, ((0.4, 0.12),), least=1),
        Screen(0.5, ((0.25, 0.3),), least=1),
        Screen(1.0, ((0.3, 0.5),), least=1),
    ],
}
TIMED = (STRATEGIES["halving"][1], DEFAULT)
REPEATS = 3


def text(folder: Path, per_domain: int) -> tuple[Lake, Tokenizer]:
    """A lake with windows of the demo's text, and their tokenizer; as it is where it was made before."""
    from memlake.ingest.run import ingest
    from memlake.ingest.sampling.sample import sample

    lake = Lake.create(folder / "lake")
    with cluster():
        ingest(lake, TRAINED, {"limit": 300})
        spec = train_tokenizer(lake, "pythia", TRAINED)
        sample(lake, [TRAINED], [spec], per_domain=per_domain)
    return lake, load_tokenizer(ModelSpec(name=spec.name, location=spec.location, is_folder=True))


def trained(folder: Path, shown: list[Shown], vocab_size: int, rate: float) -> GPTNeoXForCausalLM:
    """The model, from the folder if it is there."""
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=vocab_size,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=256,
        initializer_range=0.04,
    )
    model = GPTNeoXForCausalLM._from_config(config, attn_implementation="sdpa")
    path = folder / f"model-{len(shown)}-{shown[0].times}.pt"
    if path.is_file():
        model.load_state_dict(torch.load(path))
    else:
        began = perf_counter()
        train(model, shown, rate, seed=0)
        torch.save(model.state_dict(), path)
        print(f"trained in {perf_counter() - began:.0f} s", flush=True)
    return model.eval().requires_grad_(False)


def memorized(model: GPTNeoXForCausalLM, shown: list[Shown], limit: int) -> Tokenized:
    """The shown windows of full length that the model has memorized, in random order."""
    tokens = [np.array(s.tokens[s.first : s.last]) for s in shown if s.last - s.first == LENGTH]
    with torch.inference_mode():
        best = [model(torch.from_numpy(t)[None]).logits[0].argmax(-1).numpy() for t in tokens]
    kept = [i for i, (t, b) in enumerate(zip(tokens, best, strict=True)) if (b[PREFIX - 1 : -1] == t[PREFIX:]).all()]
    print(f"{len(kept)} of {len(tokens)} windows memorized, {min(limit, len(kept))} taken", flush=True)
    kept = np.random.default_rng(0).permutation(kept)[:limit].tolist()
    return Tokenized([tokens[i] for i in kept], np.full(len(kept), PREFIX), kept)


def signed(checkpoint: Checkpoint, blocks: Blocks, windows: Tokenized) -> np.ndarray:
    """Attribution patching as published: d log p / d z . (s - z), float32 [heads, windows]."""
    found = np.zeros((len(ALL), len(windows.ids)), np.float32)

    def run(rows, b):
        with torch.no_grad():
            ablation = Ablation(checkpoint, blocks, b, "peer_mean")
        joined = []
        hooks = [
            blocks.projection(layer).register_forward_pre_hook(lambda _, args: joined.append(args[0]))
            for layer in range(LAYERS)
        ]
        hooks.append(blocks.blocks[0].register_forward_pre_hook(lambda _, args: (args[0].requires_grad_(), *args[1:])))
        log_p = checkpoint.model(b.ids, use_cache=False).logits.log_softmax(-1)[b.row, b.slot, b.target].sum()
        for hook in hooks:
            hook.remove()
        for layer, gradient in enumerate(torch.autograd.grad(log_p, joined)):
            move = (ablation.stand_in(layer) - ablation.trace.heads[layer]).flatten(-2)
            by_head = (gradient * move).unflatten(-1, (HEADS, -1)).sum((1, 3)).T
            found[layer * HEADS : (layer + 1) * HEADS, rows] = by_head

    each_batch(checkpoint, windows.tokens, windows.prefix, run)
    return found


def estimate_table(checkpoint: Checkpoint, blocks: Blocks, windows: Tokenized) -> np.ndarray:
    """The estimate of every head on every window, float32 [heads, windows]."""
    found = np.zeros((len(ALL), len(windows.ids)), np.float32)

    def run(rows, b):
        found[:, rows] = estimates(Ablation(checkpoint, blocks, b, "peer_mean")).reshape(len(ALL), -1)

    with torch.no_grad():
        each_batch(checkpoint, windows.tokens, windows.prefix, run)
    return found


def recall(values: np.ndarray, truth: np.ndarray) -> float:
    """Share of the heads with the lowest truth that have the lowest values."""
    return len(set(np.argsort(values)[:TOP]) & set(np.argsort(truth)[:TOP])) / TOP


def play(screen: Screen, deltas: np.ndarray, estimate: np.ndarray) -> tuple[float, float, float]:
    """Cost, recall and rank correlation of a screening that looks everything up in the tables [heads, sequences]."""
    n = deltas.shape[1]
    estimated = screen.sequences(screen.estimated, n)
    mean = estimate[:, :estimated].mean(1) if estimated else None
    cost = 4 * LAYERS * estimated
    truth = deltas.mean(1)
    known = ranked = np.zeros(len(ALL)) if mean is None else mean
    if screen.rounds:
        field = Field(len(ALL), n, screen)
        for heads, first, last in field.rounds(mean):
            cost += (last - first) * passes(LAYERS, [ALL[i] for i in heads])
            field.add(heads, deltas[heads, first:last])
        known = np.where(field.n > 0, field.mean, known)
        ranked = np.full(len(ALL), np.inf)
        ranked[field.leaders] = field.mean[field.leaders]
    return cost / (n * passes(LAYERS, ALL)), recall(ranked, truth), spearman(known, truth)


def row(strategy: str, screen: Screen, played: np.ndarray, speedup: str) -> None:
    rounds = ", then ".join(f"{heads:.0%} of the heads on {share:.0%}" for heads, share in screen.rounds)
    settings = "; ".join(filter(None, [f"estimates from {screen.estimated:.0%}" if screen.estimated else "", rounds]))
    name = f"**{strategy}** (default)" if screen == DEFAULT else strategy
    cost, found, rank = played.mean(0)
    print(
        f"| {name} | {settings} | {cost:.3f} | {1 / cost:.0f} | {speedup} | {found:.2f} ({played[:, 1].min():.2f})"
        f" | {rank:.2f} |",
        flush=True,
    )


def timed(c: Checkpoint, blocks: Blocks, windows: Tokenized, screen: Screen) -> tuple[float, dict]:
    """Seconds of a screening run, and its summary."""
    screening = Screening(c, blocks, windows, "peer_mean", screen=screen)
    began = perf_counter()
    for _ in screening.measured():
        pass
    return perf_counter() - began, screening.summary


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, default=Path("/tmp/memlake-screening"), help="for lake and model")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--per-domain", type=int, default=100, help="windows of each of the 4 domains, at most")
    options.add_argument("--showings", type=int, default=24, help="of each window in training")
    options.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    options.add_argument("--sequences", type=int, default=300, help="memorized windows to measure, at most")
    options.add_argument("--orders", type=int, default=50, help="random orders of the sequences")
    a = options.parse_args()
    lake, tokenizer = text(a.folder, a.per_domain)
    torch.set_num_threads(a.threads)
    settings = {"corpus": TRAINED, "tokenizer_digest": tokenizer.digest, "levels": [a.showings]}
    shown = showings(lake, settings, tokenizer)
    model = trained(a.folder, shown, tokenizer.vocab_size, a.rate)
    windows = memorized(model, shown, a.sequences)
    checkpoint = Checkpoint("12 x 12", model, 256, None, tokenizer.vocab_size, Condition("float32", "sdpa"))
    blocks = Blocks(checkpoint)
    began = perf_counter()
    clean, after = ablate(checkpoint, blocks, windows, ALL, "peer_mean")
    exact = perf_counter() - began
    deltas = after.logprob - clean.logprob
    report(a, checkpoint, blocks, windows, deltas, exact)
    unknown(checkpoint, blocks, shown, a.sequences // 3)


def unknown(checkpoint: Checkpoint, blocks: Blocks, shown: list[Shown], limit: int) -> None:
    """How the estimates do on windows of the same documents that were not shown in training."""
    tokens = [np.array(s.tokens[s.last + 40 :][:LENGTH]) for s in shown if len(s.tokens) >= s.last + 40 + LENGTH]
    windows = Tokenized(tokens[:limit], np.full(len(tokens[:limit]), PREFIX), list(range(len(tokens[:limit]))))
    clean, after = ablate(checkpoint, blocks, windows, ALL, "peer_mean")
    deltas = after.logprob - clean.logprob
    truth, half = deltas.mean(1), deltas.shape[1] // 2
    halves = recall(deltas[:, :half].mean(1), deltas[:, half:].mean(1))
    found = [table(checkpoint, blocks, windows).mean(1) for table in (signed, estimate_table)]
    plain, ours = (f"recall {recall(f, truth):.2f}, rank {spearman(f, truth):.2f}" for f in found)
    print(
        f"On {deltas.shape[1]} windows that were not shown (one half by the other: {halves:.2f}): signed attribution"
        f" patching {plain}; our estimate {ours}"
    )


def report(a, checkpoint: Checkpoint, blocks: Blocks, windows: Tokenized, deltas: np.ndarray, exact: float) -> None:
    n, truth = deltas.shape[1], deltas.mean(1)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(n) for _ in range(a.orders)]
    halves = [recall(deltas[:, o[: n // 2]].mean(1), deltas[:, o[n // 2 :]].mean(1)) for o in orders]
    layer = np.repeat(np.arange(LAYERS), HEADS)
    by_layer = np.bincount(layer[np.argsort(truth)[:TOP]], minlength=LAYERS)
    print(
        f"torch {torch.__version__}, CPU, {a.threads} threads; {n} sequences, every head on each: {exact:.0f} s\n"
        f"recall of one half's top {TOP} of {len(ALL)} heads by the other half: {np.mean(halves):.2f};"
        f" by the lowest layers first: {recall(layer, truth):.2f} (top heads by layer: {by_layer.tolist()})\n"
    )
    print("| strategy | settings (shares of the sequences) | cost | cheaper | faster | recall (worst) | rank |")
    print("|---|---|---|---|---|---|---|")
    plain = signed(checkpoint, blocks, windows)
    found = recall(plain.mean(1), truth)
    cost = 2 * LAYERS / passes(LAYERS, ALL)
    rank = spearman(plain.mean(1), truth)
    name = "attribution patching, signed"
    print(f"| {name} | estimates from 100% | {cost:.3f} | {1 / cost:.0f} | | {found:.2f} | {rank:.2f} |")
    estimate = estimate_table(checkpoint, blocks, windows)
    runs = {screen: [timed(checkpoint, blocks, windows, screen) for _ in range(REPEATS)] for screen in TIMED}
    for strategy, screens in STRATEGIES.items():
        for screen in screens:
            played = np.array([play(screen, deltas[:, o], estimate[:, o]) for o in orders])
            seconds = [run[0] for run in runs.get(screen, [])]
            row(strategy, screen, played, f"{exact / median(seconds):.1f}" if seconds else "")
    print(f"\nThe default's own account: {runs[DEFAULT][0][1]}")


if __name__ == "__main__":
    main()
