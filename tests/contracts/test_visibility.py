"""The visibility of tests keeps the contract of its port; that of CPython never changes."""

from __future__ import annotations

import pytest

from durably.local import AlwaysVisible
from durably.testing import FakeVisibility
from tests.contracts.visibility import Sight, VisibilityContract


class FakeSight(Sight):
    def __init__(self) -> None:
        self._fake = self.visibility = FakeVisibility()

    async def hide(self) -> None:
        self._fake.hide()

    async def show(self) -> None:
        self._fake.show()


class TestFakeVisibility(VisibilityContract):
    @pytest.fixture
    def sight(self) -> Sight:
        return FakeSight()


def test_process_is_always_visible() -> None:
    visibility = AlwaysVisible()
    visibility.subscribe(lambda signal: None)()

    assert visibility.is_visible
