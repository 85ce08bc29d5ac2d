"""What the figures about attention heads share: which rows they show."""

from __future__ import annotations

import pandas as pd

RUN = "`memlake compute run head_ablation --model MODEL --corpus CORPUS`, or `memlake demo` for everything"


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one method, peer_mean where it was run, and not of control corpora."""
    methods = rows["method"].unique()
    method = "peer_mean" if "peer_mean" in methods else min(methods, default=None)
    rows = rows[rows["method"] == method]
    return rows[rows["role"] != "control"] if "role" in rows else rows
