"""How often `profile_similarity` calls two layer profiles alike, at 5 %, that have nothing to do with one another.

    python -m benchmarks.profile_nulls [--pairs 1000] [--seed 1]

A profile is a walk over the layers, each `alike` times the one before plus noise (AR(1), stationary): neighbouring
layers of real models resemble each other, and shuffling the layers undoes that, while shifting them in a circle does
not.
"""

from __future__ import annotations

import argparse

import duckdb
import numpy as np
import pyarrow as pa

from memlake.queries.catalog import prepare
from memlake.queries.finding import find
from memlake.warehouse import schema

LAYERS = ((24, 24), (24, 36), (32, 32), (64, 64))
ALIKE = (0.0, 0.95)
SHUFFLES = 199


def walks(rng: np.random.Generator, alike: float, shape: tuple[int, int]) -> np.ndarray:
    """Profiles x layers."""
    steps = rng.normal(size=shape)
    for layer in range(1, shape[1]):
        steps[:, layer] = alike * steps[:, layer - 1] + np.sqrt(1 - alike**2) * steps[:, layer]
    return steps


def lake(a: np.ndarray, b: np.ndarray) -> duckdb.DuckDBPyConnection:
    """Two models whose profiles, pairs x layers, are measured under as many methods, which are never compared."""
    con = duckdb.connect()
    con.execute("create schema stored")
    for name in schema.names():
        columns = ", ".join(f'"{c.name}" {c.sql_type}' for c in schema.table(name).columns)
        con.execute(f"create table stored.{name} ({columns})")
    for model, profiles in (("a", a), ("b", b)):
        pair, layer = (i.ravel() for i in np.indices(profiles.shape))
        con.register("drops", pa.table({"pair": pair, "layer": layer, "drop": profiles.ravel()}))
        con.execute(
            "insert into stored.models by name select ? as model, 'f' as family, 'c' as base_condition", [model]
        )
        con.execute(
            "insert into stored.head_effects by name select pair || ? as cell, ? as model, 'x' as corpus,"
            " 'd' as domain, 'c' as condition, pair::varchar as method, layer, 0 as head, 5 as n,"
            " -drop as mean_delta_logprob from drops",
            [model, model],
        )
    return prepare(con)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    sql = find("profile_similarity").sql(permutations=SHUFFLES)
    print("| layers | alike | shuffled | shifted |\n|---|---|---|---|")
    for a, b in LAYERS:
        for alike in ALIKE:
            con = lake(walks(rng, alike, (args.pairs, a)), walks(rng, alike, (args.pairs, b)))
            shares = con.execute(f"select avg((p <= 0.05)::int), avg((p_shifted <= 0.05)::int) from ({sql})").fetchone()
            print(f"| {a}, {b} | {alike} | {' | '.join(f'{share:.3f}' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main()
