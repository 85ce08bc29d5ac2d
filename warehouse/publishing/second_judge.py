"""Great Expectations as a second judge of what `audit` let pass: it knows nothing of our code, only numbers.

It judges profiles, not rows: those take it twenty times as long.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any


def out_of_range(numbers: Sequence[tuple[float | None, float, float]]) -> set[int]:
    """The places of those (observed, low, high) of which low <= observed <= high does not hold. None is not judged: an
    aggregate over no value has nothing to say. NaN is out of any range.

    All numbers are judged in one validation, for one takes 30 ms whatever its size. They are a long frame, for two
    expectations on it take so long and one for each of 40 columns 800 ms.
    """
    import pandas as pd

    places = [i for i, (observed, *_) in enumerate(numbers) if observed is not None]
    if not places:
        return set()
    frame = pd.DataFrame([numbers[i] for i in places], columns=["observed", "low", "high"], dtype="float64")
    batch, suite = _great_expectations()
    result = batch.get_batch({"dataframe": frame}).validate(suite, result_format="COMPLETE")
    for r in result.results:
        if r.exception_info.get("raised_exception"):
            raise RuntimeError(f"Great Expectations could not judge a profile: {r.exception_info}")
    return {places[i] for r in result.results for i in r.result["unexpected_index_list"]}


@cache
def _great_expectations() -> tuple[Any, Any]:
    """What takes a frame with the columns observed, low and high, and the suite that it meets."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports modules that Python 3.11 deprecates
        import great_expectations as gx
        from great_expectations import expectations as gxe
        from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    at_least = gxe.ExpectColumnPairValuesAToBeGreaterThanB
    options: dict[str, Any] = {"or_equal": True, "ignore_row_if": "neither"}  # neither value is missing: NaN is judged
    suite = gx.ExpectationSuite(
        name="profile",
        expectations=[
            at_least(column_A="observed", column_B="low", **options),
            at_least(column_A="high", column_B="observed", **options),
        ],
    )
    asset = context.data_sources.add_pandas("profile").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("all"), suite
