"""How often the document-cluster intervals of `queries/macros.sql` hold the true value, beside those of one degree of
freedom for each document but one.

    python -m benchmarks.coverage [--lakes 2000] [--seed 1]

A lake has C texts of equal size (5), of 1 to 8 sequences, or of sizes that follow a Pareto distribution, so that a few
texts hold most; sequences of a text are alike by the intraclass correlation. A rate: the sequences of a text have the
property with a probability of the text's own (beta-binomial), of mean p. A mean: of normal values.
"""

from __future__ import annotations

import argparse
from itertools import product

import duckdb
import numpy as np
import pyarrow as pa

from memlake.queries.catalog import HERE

TEXTS = (5, 10, 20, 50, 200)
SIZES = ("equal", "1 to 8", "Pareto 2", "Pareto 1.5", "Pareto 1.1")
CORRELATIONS, RATES = (0.1, 0.5), (0.05, 0.3)
ASK = """
select share(p between low and high), share(abs(mean) <= margin)
from (
    select p, cluster_low(m, n) as low, cluster_high(m, n) as high,
        sum(x) / sum(n) as mean, cluster_margin(x, n) as margin
    from drawn
    group by lake, p
)
"""
ONE_LESS = "create or replace macro degrees_of_freedom(n) as count(*) filter (n > 0) - 1.0"


def sizes(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> np.ndarray:
    """Sequences of each text: lakes x texts."""
    if kind == "equal":
        return np.full(shape, 5)
    if kind == "1 to 8":
        return rng.integers(1, 9, shape)
    return np.ceil(rng.pareto(float(kind.split()[1]), shape)).clip(1, 10**6).astype(int)


def draw(rng: np.random.Generator, lakes: int, texts: int, kind: str, alike: float, p: float) -> pa.Table:
    """One row is one text of one lake: n sequences, m with the property, x the sum of their values."""
    n = sizes(rng, kind, (lakes, texts))
    own = rng.beta(p * (1 / alike - 1), (1 - p) * (1 / alike - 1), n.shape)
    x = rng.normal(0, np.sqrt(n**2 * alike + n * (1 - alike)))
    columns = {"lake": np.arange(lakes)[:, None], "p": p, "m": rng.binomial(n, own), "n": n, "x": x}
    return pa.table({name: np.broadcast_to(column, n.shape).ravel() for name, column in columns.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lakes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    print("| sizes | texts | rate: one less | rate | mean: one less | mean |\n|---|---|---|---|---|---|")
    for kind, texts in product(SIZES, TEXTS):
        cases = [draw(rng, args.lakes, texts, kind, *case) for case in product(CORRELATIONS, RATES)]
        found = [[coverage(rows, macros) for rows in cases] for macros in (ONE_LESS, "")]
        cells = [spread([case[of] for case in way]) for of in (0, 1) for way in found]
        print(f"| {kind} | {texts} | {' | '.join(cells)} |", flush=True)


def spread(shares: list[float]) -> str:
    return f"{min(shares):.3f} to {max(shares):.3f}"


def coverage(rows: pa.Table, macros: str) -> tuple[float, float]:
    """Of the rate and of the mean; macros: what replaces those of the file."""
    con = duckdb.connect()
    con.execute((HERE / "macros.sql").read_text(encoding="utf-8") + macros)
    con.register("drawn", rows)
    return con.execute(ASK).fetchone()


if __name__ == "__main__":
    main()
