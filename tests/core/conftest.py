"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.core.kit import Bodies, Gate, OpenStore, Tab, open_store


@pytest.fixture
def tab() -> Tab:
    """A tab with its own disk, clock, lock and visibility; its lives follow one another."""
    return Tab()


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
