"""The contract of the Visibility port, for every implementation.

To add one, derive ``Sight`` for it, give its fixture the name ``sight``, and derive a test class
from ``VisibilityContract``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from durably.ports import Visibility, VisibilitySignal


class Sight(ABC):
    """A program that a test can hide and show. Each returns when its listeners were called."""

    visibility: Visibility

    @abstractmethod
    async def hide(self) -> None: ...

    @abstractmethod
    async def show(self) -> None: ...


class VisibilityContract:
    async def test_program_is_visible_at_first(self, sight: Sight) -> None:
        assert sight.visibility.is_visible

    async def test_state_follows_what_happens(self, sight: Sight) -> None:
        # Somebody has to listen: a worker only knows what it is told.
        unsubscribe = sight.visibility.subscribe(lambda signal: None)
        states = []
        for change in (sight.hide, sight.show, sight.hide, sight.show):
            await change()
            states.append(sight.visibility.is_visible)
        unsubscribe()

        assert states == [False, True, False, True]

    async def test_each_change_is_told(self, sight: Sight) -> None:
        told: list[VisibilitySignal] = []
        unsubscribe = sight.visibility.subscribe(told.append)
        await sight.hide()
        await sight.show()
        unsubscribe()

        assert told == ["hidden", "visible"]

    async def test_state_has_changed_already_when_a_change_is_told(self, sight: Sight) -> None:
        states: list[bool] = []
        unsubscribe = sight.visibility.subscribe(
            lambda signal: states.append(sight.visibility.is_visible)
        )
        await sight.hide()
        await sight.show()
        unsubscribe()

        assert states == [False, True]

    async def test_every_subscriber_is_told(self, sight: Sight) -> None:
        one: list[VisibilitySignal] = []
        two: list[VisibilitySignal] = []
        unsubscribes = [sight.visibility.subscribe(told.append) for told in (one, two)]
        await sight.hide()
        await sight.show()
        for unsubscribe in unsubscribes:
            unsubscribe()

        assert one == two == ["hidden", "visible"]

    async def test_who_has_unsubscribed_is_told_nothing(self, sight: Sight) -> None:
        one: list[VisibilitySignal] = []
        two: list[VisibilitySignal] = []
        unsubscribe_one = sight.visibility.subscribe(one.append)
        unsubscribe_two = sight.visibility.subscribe(two.append)
        unsubscribe_one()
        await sight.hide()
        await sight.show()
        unsubscribe_two()

        assert (one, two) == ([], ["hidden", "visible"])

    async def test_subscriber_can_unsubscribe_while_it_is_told(self, sight: Sight) -> None:
        told: list[VisibilitySignal] = []

        def once(signal: VisibilitySignal) -> None:
            told.append(signal)
            unsubscribe_once()

        unsubscribe_once = sight.visibility.subscribe(once)
        unsubscribe = sight.visibility.subscribe(told.append)
        await sight.hide()
        await sight.show()
        unsubscribe()

        assert told == ["hidden", "hidden", "visible"]
