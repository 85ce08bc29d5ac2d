"""What small commands cost: CPU seconds (user and system) of the whole command with all its processes.

    python -m benchmarks.latency --lake LAKE [--repeats 5] [--model mini-pythia-300k]

LAKE is one that `memlake demo` made; it is copied, and a file of 45 of its documents is ingested into the copy, sampled
for one tokenizer and scored, as a user would. Beside them what Python costs that imports what they cannot do without.
Figures are the least of the repeats, which a busy machine disturbs least. Any version of memlake can be measured that
`python -m memlake` of this process would run.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

DOCUMENTS = 45
TEXTS = f"select text from documents where corpus = 'python_environment' and domain = 'prose' limit {DOCUMENTS}"
MODEL_CLASS = "transformers.models.gpt_neox.modeling_gpt_neox"
BARE = ("typer", "duckdb, pyarrow, deltalake", "tokenizers", "torch, transformers", MODEL_CLASS, "great_expectations")


def cost(words: list[str], folder: Path) -> tuple[float, float]:
    """CPU and wall seconds of a command that has to succeed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    wall, after = perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def ask(sql: str, folder: Path) -> list[dict]:
    """The rows of a question to the lake in a folder."""
    words = [sys.executable, "-m", "memlake", "sql", sql, "--format", "json"]
    return [json.loads(line) for line in subprocess.check_output(words, cwd=folder, text=True).splitlines()]


def commands(model: str) -> dict[str, list[str]]:
    """The commands in the order in which they are run, by what the table calls them."""
    corpus = ["--corpus", "few"]
    return {
        "--help": ["--help"],
        'sql "select 1"': ["sql", "select 1"],
        'sql "select count(*) from matches"': ["sql", "select count(*) from matches"],
        "query run memorization_rate": ["query", "run", "memorization_rate"],
        f"ingest run jsonl, {DOCUMENTS} documents": ["ingest", "run", "jsonl", "--path", "few.jsonl", *corpus],
        "ingest sample, one tokenizer": ["ingest", "sample", *corpus, "--model", model],
        "compute plan scoring": ["compute", "plan", "scoring", *corpus, "--model", model, "--role", "control"],
        "compute run scoring": ["compute", "run", "scoring", *corpus, "--model", model, "--role", "control"],
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--lake", type=Path, required=True)
    asked.add_argument("--repeats", type=int, default=5)
    asked.add_argument("--model", default="mini-pythia-300k")
    given = asked.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="latency-") as place:
        for _ in range(given.repeats):
            folder = Path(place)
            shutil.rmtree(folder / "lake", ignore_errors=True)
            shutil.copytree(given.lake, folder / "lake")
            texts = ask(TEXTS, folder)
            (folder / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
            for name in BARE:
                found.setdefault(f"python -c 'import {name}'", []).append(cost(["-c", f"import {name}"], folder))
            for name, words in commands(given.model).items():
                found.setdefault(name, []).append(cost(["-m", "memlake", *words], folder))
        (counted,) = ask("select count(*) as n from matches where corpus = 'few'", folder)
    print(f"{counted['n']} sequences; CPU and wall seconds, the least of {given.repeats}\n")
    print("| command | CPU | wall |\n|---|---|---|")
    for name, times in found.items():
        cpu, wall = (min(column) for column in zip(*times, strict=True))
        print(f"| `{name}` | {cpu:.2f} | {wall:.2f} |")


if __name__ == "__main__":
    main()
