"""Plays schedules in a real Chromium, one after the other, each with the checker's verdict."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from playwright.sync_api import Playwright

from tests.faults.checker import Violation, check, repeats
from tests.faults.faults import Browser, Tab
from tests.faults.play import Play
from tests.faults.recorder import Line, Recorder
from tests.faults.schedule import Schedule


@dataclass(slots=True)
class Outcome:
    schedule: Schedule
    violations: list[Violation] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """What was done, by kind."""
    seen: Counter[str] = field(default_factory=Counter)
    """What the tabs told of it: their events and their troubles."""
    acks: int = 0
    repeats: int = 0
    seconds: float = 0.0
    lines: list[Line] = field(default_factory=list)


class Campaign:
    """One browser, one profile and one server, for many schedules. A context manager."""

    def __init__(self, playwright: Playwright, profile: Path, wheel: Path) -> None:
        self._playwright = playwright
        self._profile = profile
        self._recorder = Recorder(wheel)
        self._pool: dict[str, Tab] = {}
        self._plays = 0

    def __enter__(self) -> Self:
        self._recorder.__enter__()
        self._browser = Browser(self._playwright, self._profile, self._recorder)
        return self

    def __exit__(self, *exception: object) -> None:
        self._browser.close()
        self._recorder.__exit__()

    def play(self, schedule: Schedule) -> Outcome:
        """Play one schedule on a fresh database, to its end, and judge it."""
        self._plays += 1
        started = time.monotonic()
        outcome = Outcome(schedule)
        play = Play(self._browser, self._recorder, schedule, self._tabs(schedule), self._plays)
        play.begin()
        play.befall()
        outcome.faults = play.faults
        play.finish()
        evidence = play.evidence()
        outcome.violations = check(evidence)
        outcome.repeats = repeats(evidence)
        outcome.lines = evidence.lines
        outcome.acks = len({(x["run"], x["step"]) for x in evidence.told("acked")})
        outcome.seen = Counter(line["type"] for line in evidence.told("event"))
        outcome.seen += Counter({"trouble": len(evidence.told("trouble"))})
        play.leave()
        outcome.seconds = time.monotonic() - started
        return outcome

    def _tabs(self, schedule: Schedule) -> list[Tab]:
        """The tabs of a schedule: those that are still there from the last one are used again."""
        counts: Counter[str] = Counter()
        tabs = []
        for thread in schedule.threads:
            counts[thread] += 1
            name = f"{thread}{counts[thread]}"
            tabs.append(self._pool.setdefault(name, Tab(name, thread)))
        return tabs
