"""Two tabs of one origin, for the tests of leading and following."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from durably import Durably, Job, Step, job
from durably.local import LocalChannel
from durably.testing import settle
from tests.core.kit import Tab


@job
async def idle(step: Step) -> str:
    return "done"


def another(first: Tab) -> Tab:
    """One more tab of the same origin, with a visibility of its own."""
    return Tab(disk=first.disk, clock=first.clock, lock=first.lock)


@dataclass
class Pair:
    """A tab that leads, and one that follows it."""

    leader: Durably
    follower: Durably
    tab: Tab
    other: Tab


@asynccontextmanager
async def pair(tab: Tab, *jobs: Job[..., object], **options: Any) -> AsyncIterator[Pair]:
    other = another(tab)
    async with (
        tab.durably(*jobs, **options) as leader,
        other.durably(*jobs, **options) as follower,
    ):
        await settle()
        yield Pair(leader, follower, tab, other)


def silence(leader: Durably) -> None:
    """From now on the leader neither hears nor says anything, as in a frozen page."""
    answering: Any = leader._leader._answering
    answering._timer.cancel()
    answering._line.on_message = lambda message: None


def watch_channel(tab: Tab) -> list[str]:
    """The kinds of the messages that are sent from now on."""
    kinds: list[str] = []
    LocalChannel(f"tabs-{id(tab.lock)}").subscribe(
        lambda message: kinds.append(json.loads(message)["kind"])
    )
    return kinds
