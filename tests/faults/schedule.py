"""Random schedules: which tabs, which jobs, and what befalls them when; one for each seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_TABS = 4
HEARTBEAT = 0.25
THRESHOLD = 0.8
"""The stale threshold of the schedules, in seconds."""
LENGTH = 2.5
"""Seconds in which faults come; then what is left of the orders is done."""

DEATHS = ("reload", "close", "kill", "crash")
"""After one of these a page is loaded anew."""
STATES = ("freeze-short", "freeze-long", "hide", "quota", "clock", "offline")
"""These last a while, and are then taken back."""
MOMENTS = ("force-close", "steal")
FAULTS = (*DEATHS, *STATES, *MOMENTS)

LEADER = -1
"""In place of a tab: the one that leads when the fault comes."""

WEIGHTS: Mapping[str, float] = dict.fromkeys(FAULTS, 1.0) | {"kill": 0.8}


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    at: float
    """Seconds after the first step has begun."""
    tab: int
    lasts: float = 0.0
    """Seconds until it is taken back, or until a page that is gone is loaded anew."""
    stalls: bool = False
    """Whether another connection holds the store when it comes, so that commits are under way."""
    steals: bool = False
    """Whether the lock of the frozen page is taken from it, so that another tab can lead."""
    jump: float = 0.0
    """Milliseconds that the clock jumps."""

    @property
    def until(self) -> float:
        return self.at + self.lasts


@dataclass(frozen=True, slots=True)
class Order:
    """One run to be made, whoever triggers it first."""

    key: str
    job: str
    arguments: dict[str, Any]
    concurrency_key: str | None = None
    cancel_after: float | None = None
    signal_after: float | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    seed: int
    threads: tuple[str, ...]
    """Where each tab runs Python: ``main`` or ``worker``."""
    orders: tuple[Order, ...]
    faults: tuple[Fault, ...]

    @property
    def database(self) -> str:
        return f"faults-{self.seed}"

    def __str__(self) -> str:
        told = " ".join(
            f"{fault.at:.2f}:{fault.kind}{'+stall' * fault.stalls}{'+steal' * fault.steals}"
            f"@{'leader' if fault.tab == LEADER else fault.tab}"
            for fault in self.faults
        )
        jobs = ",".join(order.job for order in self.orders)
        return f"seed {self.seed} tabs {','.join(self.threads)} jobs {jobs} faults {told}"


def make_schedule(seed: int, weights: Mapping[str, float] = WEIGHTS) -> Schedule:
    """The same schedule for the same seed and weights, wherever it is made."""
    chance = random.Random(seed)
    count = chance.choice((1, 2, 2, 2, 3, 3, 4))
    threads = tuple(chance.choice(("main", "worker")) for _ in range(count))
    return Schedule(seed, threads, _orders(chance), _faults(chance, count, weights))


def _orders(chance: random.Random) -> tuple[Order, ...]:
    def pause(least: float, most: float) -> float:
        return round(chance.uniform(least, most), 3)

    makers = [
        lambda: Order(
            "sequence", "sequence", {"count": chance.randint(8, 14), "seconds": pause(0.05, 0.25)}
        ),
        lambda: Order(
            "parallel", "parallel", {"count": chance.randint(2, 4), "seconds": pause(0.1, 0.4)}
        ),
        lambda: Order(
            "waiting",
            "waiting",
            {"timeout": pause(0.5, 1.5)},
            signal_after=chance.choice((None, pause(0.1, 1.2))),
        ),
        lambda: Order("held", "held", {"seconds": 1.5}, cancel_after=pause(0.2, 1.4)),
        lambda: Order("failing", "failing", {}),
        lambda: Order("fragile", "fragile", {"count": chance.randint(3, 6)}),
        lambda: Order("burst", "burst", {"count": chance.randint(60, 250)}),
    ]
    orders = [makers[0](), *(make() for make in chance.sample(makers[1:], chance.randint(2, 4)))]
    if chance.random() < 0.4:
        arguments = {"count": 3, "seconds": pause(0.02, 0.1)}
        orders += [
            Order(f"keyed-{number}", "sequence", arguments, concurrency_key="one at a time")
            for number in range(2)
        ]
    return tuple(orders)


def _faults(chance: random.Random, tabs: int, weights: Mapping[str, float]) -> tuple[Fault, ...]:
    faults: list[Fault] = []
    for kind in chance.choices([*weights], [*weights.values()], k=chance.choice((1, 2, 3, 3, 4))):
        fault = Fault(
            kind,
            at=round(chance.uniform(0.0, LENGTH), 2),
            tab=chance.randrange(tabs) if chance.random() < 0.4 else LEADER,
            lasts=round(_lasts(chance, kind), 2),
            stalls=kind in (*DEATHS, "freeze-short", "freeze-long") and chance.random() < 0.5,
            steals=kind == "freeze-long" and chance.random() < 0.6,
            jump=chance.choice((-1, 1)) * 3_600_000.0 if kind == "clock" else 0.0,
        )
        if not any(_collide(fault, other) for other in faults):
            faults.append(fault)
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _lasts(chance: random.Random, kind: str) -> float:
    if kind == "freeze-short":
        return chance.uniform(0.1, 0.7 * THRESHOLD)
    if kind == "freeze-long":
        return chance.uniform(1.5 * THRESHOLD, 2 * THRESHOLD)
    if kind in ("close", "crash"):
        return chance.uniform(0.0, 0.5)
    return chance.uniform(0.2, 0.9) if kind in STATES else 0.0


def _collide(one: Fault, other: Fault) -> bool:
    """Whether the second would find the page, or the browser, in no state to feel it."""
    return one.at <= other.until + 0.1 and other.at <= one.until + 0.1
