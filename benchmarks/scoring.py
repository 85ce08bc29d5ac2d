"""Speed of `scoring` beside what one would otherwise run, on the same windows, interleaved in one process.

    python benchmarks/scoring.py [--shapes pythia-70m ...] [--verbatim 0 0.5 ...] [--rows 64] [--device cuda]

Greedy: `scoring` beside `generate`, which is greedy generation plus one forward for the log-probabilities, and, with
`--without-cache`, generation with use_cache=False, the setting of the published Pythia evaluation. All give the same
tokens. Forced: `scoring` without decoding beside a plain forward that reads the log-probability of each token and the
arg-max, both at the continuation's positions only, and beside lm-eval's `_loglikelihood_tokens` (`pip install -e
'.[benchmarks]'`; '-' without it), whose sums and verdicts are compared with ours. `scoring` also gives entropy, margin
and the probability under sampling.

Windows of 32 + 32 tokens; the models have random weights. A share of the continuations is what they generate; in the
others the first token is another, which leaves most to decode. Times are CPU seconds on a CPU; speeds are of the median
time, ratios medians of the ratios of each repeat.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from memlake.compute.engine.scoring import score
from memlake.compute.models.checkpoint import Checkpoint
from memlake.compute.models.conditions import Condition

PREFIX, CONTINUATION, POSITIONS = 32, 32, 2048
# config and model; layers, width, heads, vocabulary
SHAPES = {
    "pythia 4 x 128": (GPTNeoXConfig, GPTNeoXForCausalLM, 4, 128, 4, 2048),
    "llama 12 x 256": (LlamaConfig, LlamaForCausalLM, 12, 256, 8, 2048),
    "pythia-70m": (GPTNeoXConfig, GPTNeoXForCausalLM, 6, 512, 8, 50304),
    "pythia-160m": (GPTNeoXConfig, GPTNeoXForCausalLM, 12, 768, 12, 50304),
}


def build(shape: str):
    config, model, layers, width, heads, vocabulary = SHAPES[shape]
    torch.manual_seed(0)
    settings = config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        initializer_range=0.3,
        max_position_embeddings=POSITIONS,
    )
    return model(settings).eval().requires_grad_(False)


def generated(m, rows: int, batch: int) -> torch.Tensor:
    """Random prompts and what the model goes on with: int64 [rows, tokens]."""
    rng = np.random.default_rng(0)
    prompt = torch.from_numpy(rng.integers(1, m.config.vocab_size, (rows, PREFIX))).to(m.device)
    return torch.cat([generate(m, p, True) for p in prompt.split(batch)])


def windows(made: torch.Tensor, verbatim: float, vocabulary: int) -> torch.Tensor:
    """What was generated, with another first token in all but a share of the rows, which are spread evenly."""
    rows = np.arange(len(made))
    other = torch.from_numpy(np.floor((rows + 1) * verbatim) == np.floor(rows * verbatim)).to(made.device)
    ids = made.clone()
    ids[other, PREFIX] = (ids[other, PREFIX] + 1) % vocabulary
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
def forward(m, ids: torch.Tensor, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability of each token of the continuations, and whether it is the arg-max."""
    logprobs, match = [], []
    for piece in ids.split(batch):
        logits = m(piece[:, :-1], logits_to_keep=CONTINUATION).logits.float()
        target = piece[:, PREFIX:]
        logprobs.append(logits.log_softmax(-1).gather(-1, target[..., None])[..., 0].cpu())
        match.append((logits.argmax(-1) == target).cpu())
    return torch.cat(logprobs).numpy(), torch.cat(match).numpy()


@torch.inference_mode()
def greedy(m, ids: torch.Tensor, batch: int, use_cache: bool) -> np.ndarray:
    """Greedy tokens of the continuations; their log-probabilities are thrown away: only the work counts."""
    made = []
    for piece in ids.split(batch):
        made.append(generate(m, piece[:, :PREFIX], use_cache)[:, PREFIX:].cpu())
        forward(m, piece, batch)
    return torch.cat(made).numpy()


def harness(m, ids: torch.Tensor, batch: int) -> Callable[[], list[tuple[float, bool]]]:
    """lm-eval's log-likelihoods of the continuations, and whether each is greedy."""
    from lm_eval.models.huggingface import HFLM
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"a": 0}, unk_token="a"))  # it asks for one; tokens are given, so that it has no say
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="a", pad_token="a")
    lm: Any = HFLM(pretrained=m, tokenizer=tokenizer, batch_size=batch, max_length=POSITIONS)
    requests = [(("", str(i)), row[:PREFIX], row[PREFIX:]) for i, row in enumerate(ids.tolist())]
    return lambda: lm._loglikelihood_tokens(requests, disable_tqdm=True)


def measured(runs: dict[str, Callable], device: str, repeats: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of each run in each repeat, and what each gave the first time, which is not timed."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    outs = {way: run() for way, run in runs.items()}
    times: dict[str, list[float]] = {way: [] for way in runs}
    for _ in range(repeats):
        for way, run in runs.items():
            start = clock()
            run()
            times[way].append(clock() - start)
    return times, outs


def show(name: str, rows: int, times: dict[str, list[float]], ways: list[str], last: str) -> None:
    """A line: rows a second of each way, by how much the first is faster than the others, and one more word."""
    first = times[ways[0]]
    speeds = " ".join(f"{rows / median(times[way]) if way in times else '-':>10.4}" for way in ways)
    ratios = " ".join(
        f"{median(t / s for t, s in zip(times[way], first, strict=True)) if way in times else '-':>8.3}"
        for way in ways[1:]
    )
    print(f"{name:28} {speeds} {ratios} {last:>9}", flush=True)


def head(title: str, ways: list[str], last: str) -> None:
    print(f"{title:28}", *(f"{way:>10}" for way in ways), *["faster x"] * (len(ways) - 1), f"{last:>9}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    options.add_argument("--verbatim", type=float, nargs="+", default=[0, 0.05, 0.5, 1])
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--rows", type=int, default=64)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--without-cache", action="store_true")
    a = options.parse_args()
    torch.set_num_threads(a.threads)
    print(f"torch {torch.__version__}, {a.device}, {a.threads} threads, {a.rows} rows, batches of {a.batch},", end=" ")
    print(f"{a.repeats} repeats; rows a second")
    greedily = ["scoring", "generate", *["no cache"] * a.without_cache]
    for shape in a.shapes:
        m = build(shape).to(a.device)
        vocabulary = m.config.vocab_size
        checkpoint = Checkpoint(shape, m, POSITIONS, None, vocabulary, Condition("float32", "sdpa"))
        print(f"\n{shape}, {sum(p.numel() for p in m.parameters()) / 1e6:.4g} M parameters, vocabulary {vocabulary}")
        made, prefix = generated(m, a.rows, a.batch), np.full(a.rows, PREFIX)
        head("greedy, verbatim", greedily, "same")
        for verbatim in a.verbatim:
            ids = windows(made, verbatim, vocabulary)
            tokens = list(ids.cpu().numpy())
            runs: dict[str, Callable] = {
                "scoring": lambda: score(checkpoint, tokens, prefix, batch_size=a.batch).generated,  # noqa: B023
                "generate": lambda: greedy(m, ids, a.batch, True),  # noqa: B023
                "no cache": lambda: greedy(m, ids, a.batch, False),  # noqa: B023
            }
            times, outs = measured({way: runs[way] for way in greedily}, a.device, a.repeats)
            show(
                f"{verbatim:.0%}", a.rows, times, greedily, f"{(outs['scoring'] == outs['generate']).all(-1).mean():.3}"
            )
        forcedly = ["scoring", "forward", "lm-eval"]
        head("forced, verbatim", forcedly, "same")
        for verbatim in (0, 1):  # nothing is decoded, so that the shares between lie between
            ids = windows(made, verbatim, vocabulary)
            tokens = list(ids.cpu().numpy())
            runs = {
                "scoring": lambda: score(checkpoint, tokens, prefix, decode=False, batch_size=a.batch),  # noqa: B023
                "forward": lambda: forward(m, ids, a.batch),  # noqa: B023
            }
            if find_spec("lm_eval"):
                runs["lm-eval"] = harness(m, ids, a.batch)
            times, outs = measured(runs, a.device, a.repeats)
            ours, (logprobs, match) = outs["scoring"], outs["forward"]
            same = (ours.match == match).all(-1) & (np.abs(ours.logprob - logprobs).max(-1) < 1e-3)
            if "lm-eval" in outs:
                sums, whole = (np.array(column) for column in zip(*outs["lm-eval"], strict=True))
                same &= (ours.match.all(-1) == whole) & (np.abs(ours.logprob.sum(-1) - sums) < 1e-2)
            show(f"{verbatim:.0%}", a.rows, times, forcedly, f"{same.mean():.3}")


if __name__ == "__main__":
    main()
