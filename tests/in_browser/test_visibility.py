"""The document, and what a page forwards to its worker, keep the contract of Visibility."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from durably.browser.visibility import DocumentVisibility, ForwardedVisibility, page_visibility
from durably.ports import VisibilitySignal
from tests.contracts.visibility import Sight, VisibilityContract
from tests.in_browser.page import js_object, outside


class DocumentSight(Sight):
    """A document that says that it is hidden; tests/e2e hides one truly."""

    def __init__(self, world: Any) -> None:
        self.visibility = DocumentVisibility()
        self.world = world

    async def hide(self) -> None:
        self.world.show("hidden")

    async def show(self) -> None:
        self.world.show("visible")


class ForwardedSight(Sight):
    """Messages as web/forward_visibility.js sends them."""

    def __init__(self, world: Any) -> None:
        self.visibility = ForwardedVisibility()
        self.world = world

    async def forward(self, signal: VisibilitySignal, is_visible: bool) -> None:
        message = js_object(durably="visibility", signal=signal, isVisible=is_visible)
        await self.world.say(message)

    async def hide(self) -> None:
        await self.forward("hidden", False)

    async def show(self) -> None:
        await self.forward("visible", True)


class BrowserContract(VisibilityContract):
    async def test_only_subscriber_can_unsubscribe_while_it_is_told(self, sight: Sight) -> None:
        told: list[VisibilitySignal] = []

        def once(signal: VisibilitySignal) -> None:
            told.append(signal)
            unsubscribe()

        unsubscribe = sight.visibility.subscribe(once)
        await sight.hide()
        await sight.show()

        assert told == ["hidden"]

    async def test_one_can_subscribe_again_after_all_have_gone(self, sight: Sight) -> None:
        told: list[VisibilitySignal] = []
        for change in (sight.hide, sight.show):
            unsubscribe = sight.visibility.subscribe(told.append)
            await change()
            unsubscribe()
            unsubscribe()

        assert told == ["hidden", "visible"]


class TestDocumentVisibility(BrowserContract):
    @pytest.fixture
    async def sight(self) -> AsyncIterator[DocumentSight]:
        sight = DocumentSight(await outside())
        yield sight
        sight.world.show("")

    async def test_freeze_and_resume_are_told(self, sight: DocumentSight) -> None:
        told: list[VisibilitySignal] = []
        unsubscribe = sight.visibility.subscribe(told.append)
        for event in ("freeze", "resume", "pageshow"):
            sight.world.passEvent(event)
        unsubscribe()

        assert told == ["freeze", "resume", "resume"]

    async def test_page_with_a_document_reads_it(self) -> None:
        assert isinstance(page_visibility(), DocumentVisibility)


class TestForwardedVisibility(BrowserContract):
    @pytest.fixture
    async def sight(self) -> ForwardedSight:
        return ForwardedSight(await outside())

    async def test_freeze_and_resume_are_told(self, sight: ForwardedSight) -> None:
        told: list[VisibilitySignal] = []
        unsubscribe = sight.visibility.subscribe(told.append)
        await sight.forward("freeze", False)
        state = sight.visibility.is_visible
        await sight.forward("resume", True)
        unsubscribe()

        assert told == ["freeze", "resume"]
        assert (state, sight.visibility.is_visible) == (False, True)

    async def test_page_is_asked_when_somebody_begins_to_listen(
        self, sight: ForwardedSight
    ) -> None:
        heard = sight.world.questions()
        unsubscribes = [sight.visibility.subscribe(lambda signal: None) for _ in range(2)]
        questions = (await heard).to_py()
        for unsubscribe in unsubscribes:
            unsubscribe()

        assert questions == ["visibility?"]

    @pytest.mark.parametrize("data", [None, 7, "visibility", {}, {"durably": "other"}])
    async def test_other_messages_are_left_alone(self, sight: ForwardedSight, data: object) -> None:
        told: list[VisibilitySignal] = []
        unsubscribe = sight.visibility.subscribe(told.append)
        await sight.world.say(js_object(**data) if isinstance(data, dict) else data)
        await sight.hide()
        unsubscribe()

        assert told == ["hidden"]
