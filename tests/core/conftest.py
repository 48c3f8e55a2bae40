"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durably.testing import FakeClock
from tests.core.kit import Bodies, Gate, OpenStore, Process, Tab, open_store


@pytest.fixture
def tab() -> Tab:
    """A tab with its own disk, clock, lock and visibility; its lives follow one another."""
    return Tab()


@pytest.fixture
def clock() -> FakeClock:
    """The clock that the processes of a test have in common."""
    return FakeClock()


@pytest.fixture
def processes(tmp_path: Path, clock: FakeClock) -> tuple[Process, Process]:
    """Two processes that share one file: neither leads, and neither proves the other's death."""
    path = tmp_path / "shared.sqlite3"
    return Process(path, clock), Process(path, clock)


@pytest.fixture
def bodies() -> Bodies:
    return Bodies()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def opened() -> AsyncIterator[OpenStore]:
    async with open_store() as opened:
        yield opened
