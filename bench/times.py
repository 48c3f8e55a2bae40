"""Times that were taken in turns, and what stands for all of them."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

Times = dict[str, list[float]]
"""Milliseconds, by what was timed."""


def shuffled(turns: Iterable[T], number: int) -> list[T]:
    """In another order for each ``number``, and the same one in each run of the benchmarks.

    Who comes behind one that still winds down, or whose writes are still being put in order, has
    less of the machine to run on.
    """
    ordered = list(turns)
    return random.Random(number).sample(ordered, len(ordered))


def medians(times: Times) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in times.items()}
