"""Times that were taken in a page, and what stands for all of them."""

from __future__ import annotations

import statistics

CLOCK_STEP = 0.1
"""The clock of a page goes in steps of so many ms, inside which ``median_grouped`` interpolates."""

Times = dict[str, list[float]]
"""Milliseconds, by what was timed."""


def medians(times: Times) -> dict[str, float]:
    return {name: statistics.median_grouped(values, CLOCK_STEP) for name, values in times.items()}
