"""Speed of `scoring` beside what one would otherwise run, on the same windows, interleaved in one process.

    python benchmarks/scoring.py [--device cuda] [--threads 2] [--repeats 5] [--rows 256]

`generate`: greedy generation plus one forward for the log-probabilities. `no cache`: generation with use_cache=False,
the setting of the published Pythia evaluation. All three give the same tokens; `scoring` also gives entropy, margin and
the probability under sampling. Windows of 32 + 32 tokens; the models have random weights, and the continuations are
what they generate, with a token replaced so that a quarter of the rows is verbatim, a quarter fails at once, and the
rest in between. Times are medians; ratios are medians of the ratios of each repeat.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from memlake.compute.engine.scoring import score
from memlake.compute.models.checkpoint import Checkpoint
from memlake.compute.models.conditions import Condition

PREFIX, CONTINUATION, VOCAB = 32, 32, 2048


def model(kind: str, layers: int, width: int):
    torch.manual_seed(0)
    shape = {
        "vocab_size": VOCAB,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 32,
        "initializer_range": 0.3,
    }
    if kind == "pythia":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**shape))
    return LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=width // 32))


def windows(m, rows: int, batch: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    prompt = torch.from_numpy(rng.integers(1, VOCAB, (rows, PREFIX))).to(m.device)
    ids = torch.cat([generate(m, p, True) for p in prompt.split(batch)])
    for row in range(rows):
        if row % 4:
            at = PREFIX + (0 if row % 4 == 1 else int(rng.integers(1, CONTINUATION - 1)))
            ids[row, at] = (ids[row, at] + 1) % VOCAB
    return ids


def generate(m, prompt: torch.Tensor, use_cache: bool) -> torch.Tensor:
    return m.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        min_new_tokens=CONTINUATION,
        max_new_tokens=CONTINUATION,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=use_cache,
    )


@torch.inference_mode()
def plain(m, ids: torch.Tensor, batch: int, use_cache: bool) -> np.ndarray:
    """Greedy tokens of the continuations, and their log-probabilities (thrown away: only the work counts)."""
    made = []
    for piece in ids.split(batch):
        made.append(generate(m, piece[:, :PREFIX], use_cache)[:, PREFIX:])
        logits = m(piece).logits[:, PREFIX - 1 : -1].float()
        logits.log_softmax(-1).gather(-1, piece[:, PREFIX:, None]).cpu()
    return torch.cat(made).cpu().numpy()


def timed(function):
    start = perf_counter()
    out = function()
    return perf_counter() - start, out


def compare(name: str, m, rows: int, batch: int, repeats: int) -> None:
    ids = windows(m, rows, batch)
    tokens, prefix = list(ids.cpu().numpy()), np.full(rows, PREFIX)
    checkpoint = Checkpoint(name, m, 2048, None, VOCAB, Condition("float32", "sdpa"))
    runs = {
        "scoring": lambda: score(checkpoint, tokens, prefix, batch_size=batch).generated,
        "generate": lambda: plain(m, ids, batch, True),
        "no cache": lambda: plain(m, ids, batch, False),
    }
    times = {way: [] for way in runs}
    outs = {way: run() for way, run in runs.items()}  # once for warmth, and to see that all agree
    same = float((outs["scoring"] == outs["generate"]).all(-1).mean())
    for _ in range(repeats):
        for way, run in runs.items():
            times[way].append(timed(run)[0])
    ratio = {
        way: median(t / s for t, s in zip(times[way], times["scoring"], strict=True))
        for way in ("generate", "no cache")
    }
    size = sum(p.numel() for p in m.parameters()) / 1e6
    speed = " ".join(f"{rows / median(times[way]):10.1f}" for way in runs)
    print(
        f"{name:18} {size:8.2f} {batch:6} {speed} {ratio['generate']:8.2f} {ratio['no cache']:8.2f} {same:6.3f}",
        flush=True,
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--rows", type=int, default=256)
    options.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    a = options.parse_args()
    torch.set_num_threads(a.threads)
    print(
        f"torch {torch.__version__}, {a.device}, {a.threads} threads, {a.rows} rows, {a.repeats} repeats; rows a second"
    )
    print(
        f"{'model':18} {'params M':>7} {'batch':>6} {'scoring':>10} {'generate':>10} {'no cache':>10}"
        f" {'faster x':>8} {'faster x':>8} {'same':>6}"
    )
    for name, kind, layers, width in (("pythia 4x128", "pythia", 4, 128), ("llama 12x256", "llama", 12, 256)):
        m = model(kind, layers, width).eval().requires_grad_(False).to(a.device)
        for batch in a.batch:
            compare(name, m, a.rows, batch, a.repeats)


if __name__ == "__main__":
    main()
