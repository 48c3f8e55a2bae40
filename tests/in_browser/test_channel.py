"""BroadcastChannel keeps the contract of Channel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from js import BroadcastChannel, Object

from durably.browser.tabs import TabChannel
from durably.ports import Channel
from tests.contracts.channel import ChannelContract, Channels, Inbox


class TabChannels(Channels):
    def __init__(self, name: str) -> None:
        self.name = name
        self._made: list[TabChannel] = []

    def make(self, name: str = "contract") -> Channel:
        self._made.append(TabChannel(f"{self.name}-{name}"))
        return self._made[-1]

    def close(self) -> None:
        for channel in self._made:
            channel.close()


@pytest.fixture
def channels(name: str) -> Iterator[TabChannels]:
    channels = TabChannels(name)
    yield channels
    channels.close()


class TestTabChannel(ChannelContract):
    async def test_what_is_no_text_is_left_alone(self, channels: TabChannels) -> None:
        inbox = Inbox(channels.make())
        foreign = BroadcastChannel.new(f"durably:{channels.name}-contract")
        foreign.postMessage(Object.new())
        foreign.postMessage(7)
        foreign.postMessage("text")
        foreign.close()

        assert await inbox.until("text") == ["text"]

    async def test_channel_that_nobody_listens_to_keeps_nothing_alive(
        self, channels: TabChannels
    ) -> None:
        TabChannel(channels.name).post("hello")

        # The fixture that looks for proxies is the assertion.

    async def test_only_subscriber_can_unsubscribe_while_it_is_called(
        self, channels: TabChannels
    ) -> None:
        sender, once, other = (channels.make() for _ in range(3))
        stays = Inbox(other)
        heard: list[str] = []

        def hear(message: str) -> None:
            heard.append(message)
            unsubscribe()

        unsubscribe = once.subscribe(hear)
        sender.post("first")
        sender.post("second")
        await stays.until("second")

        assert heard == ["first"]
