"""The contract of the Channel port, for every implementation.

To add one, derive ``Channels`` for it, give its fixture the name ``channels``, and derive a test
class from ``ChannelContract``. That something does *not* arrive is shown by what arrives after it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from durably.ports import Channel


class Channels(ABC):
    """Makes the sides of channels, and closes at the end what a test has left open."""

    @abstractmethod
    def make(self, name: str = "contract") -> Channel: ...


class Inbox:
    """What has arrived at one side."""

    def __init__(self, channel: Channel) -> None:
        self.messages: list[str] = []
        self._arrived = asyncio.Event()
        self.unsubscribe = channel.subscribe(self._receive)

    def _receive(self, message: str) -> None:
        self.messages.append(message)
        self._arrived.set()

    async def until(self, message: str) -> list[str]:
        while message not in self.messages:
            self._arrived.clear()
            await self._arrived.wait()
        return self.messages


class ChannelContract:
    async def test_message_arrives_at_every_other_side(self, channels: Channels) -> None:
        sender, one, two = (channels.make() for _ in range(3))
        inboxes = [Inbox(one), Inbox(two)]
        sender.post("hello")

        for inbox in inboxes:
            assert await inbox.until("hello") == ["hello"]

    async def test_message_does_not_arrive_at_its_own_side(self, channels: Channels) -> None:
        sender, other = channels.make(), channels.make()
        own = Inbox(sender)
        sender.post("mine")
        other.post("yours")

        assert await own.until("yours") == ["yours"]

    async def test_message_does_not_arrive_while_it_is_posted(self, channels: Channels) -> None:
        sender, other = channels.make(), channels.make()
        inbox = Inbox(other)
        sender.post("hello")
        at_once = list(inbox.messages)

        assert at_once == []
        await inbox.until("hello")

    async def test_messages_keep_their_order(self, channels: Channels) -> None:
        sender, other = channels.make(), channels.make()
        inbox = Inbox(other)
        sent = [str(number) for number in range(50)]
        for message in sent:
            sender.post(message)

        assert await inbox.until("49") == sent

    async def test_text_arrives_as_it_was_posted(self, channels: Channels) -> None:
        sender, other = channels.make(), channels.make()
        inbox = Inbox(other)
        text = '{"a": "ä 漢字 🐍", "b": "\\u0000"}' + "x" * 100_000
        sender.post(text)

        assert await inbox.until(text) == [text]

    async def test_channels_of_other_names_hear_nothing(self, channels: Channels) -> None:
        sender, other = channels.make("one"), channels.make("two")
        inbox = Inbox(other)
        sender.post("for one")
        channels.make("two").post("for two")

        assert await inbox.until("for two") == ["for two"]

    async def test_every_subscriber_of_a_side_gets_a_message(self, channels: Channels) -> None:
        sender, other = channels.make(), channels.make()
        inboxes = [Inbox(other), Inbox(other)]
        sender.post("hello")

        for inbox in inboxes:
            assert await inbox.until("hello") == ["hello"]

    async def test_who_has_unsubscribed_gets_nothing(self, channels: Channels) -> None:
        sender, other = channels.make(), channels.make()
        gone, stays = Inbox(other), Inbox(other)
        gone.unsubscribe()
        sender.post("hello")
        await stays.until("hello")

        assert gone.messages == []

    async def test_nothing_is_kept_for_a_late_listener(self, channels: Channels) -> None:
        sender, present = channels.make(), channels.make()
        inbox = Inbox(present)
        sender.post("early")
        await inbox.until("early")
        late = Inbox(channels.make())
        sender.post("late")

        assert await late.until("late") == ["late"]

    async def test_closed_side_gets_nothing_more_even_if_it_was_on_its_way(
        self, channels: Channels
    ) -> None:
        sender, closing, other = (channels.make() for _ in range(3))
        closed, stays = Inbox(closing), Inbox(other)
        sender.post("on its way")
        closing.close()
        sender.post("later")
        await stays.until("later")

        assert closed.messages == []
