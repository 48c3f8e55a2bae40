"""The channel of CPython keeps the contract of its port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from durably.local import LocalChannel
from durably.ports import Channel
from tests.contracts.channel import ChannelContract, Channels


class LocalChannels(Channels):
    def __init__(self) -> None:
        self._made: list[LocalChannel] = []

    def make(self, name: str = "contract") -> Channel:
        channel = LocalChannel(name)
        self._made.append(channel)
        return channel

    def close(self) -> None:
        for channel in self._made:
            channel.close()


class TestLocalChannel(ChannelContract):
    @pytest.fixture
    def channels(self) -> Iterator[Channels]:
        channels = LocalChannels()
        yield channels
        channels.close()
