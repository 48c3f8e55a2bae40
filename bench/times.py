"""Times that were taken in a page, and what stands for all of them."""

from __future__ import annotations

import statistics

Times = dict[str, list[float]]
"""Milliseconds, by what was timed."""


def medians(times: Times) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in times.items()}
