"""Two tabs of one origin: one leads, the other says so and waits its turn."""

from __future__ import annotations

import pytest

from tests.e2e.chromium import Chromium
from tests.e2e.host import Host
from tests.server import EffectServer


@pytest.mark.parametrize("thread", ["main", "worker"])
def test_second_tab_says_that_another_leads_and_takes_over_when_that_one_is_gone(
    chromium: Chromium, server: EffectServer, thread: str
) -> None:
    first, second = (Host(page, server.url) for page in (chromium.page, chromium.new_page()))
    chromium.show(first.page)
    server.hold("second")
    first.open(thread=thread)
    server.wait_until_held("second")

    chromium.show(second.page)
    second.open(thread=thread).wait_for_event("tab:follower")
    claimed_while_waiting = second.events("run:claimed")
    first.page.close()
    server.release("second")

    assert second.result() == [1, 2, 1]
    assert not claimed_while_waiting
    assert len(second.events("tab:leader")) == 1


def test_leader_that_is_fenced_stops_and_its_result_is_not_acknowledged(
    chromium: Chromium, server: EffectServer
) -> None:
    first, second = (Host(page, server.url) for page in (chromium.page, chromium.new_page()))
    chromium.show(first.page)
    server.hold("second")
    first.open()
    server.wait_until_held("second")

    # Without the lock nothing but the fence keeps two tabs apart.
    chromium.show(second.page)
    second.open(proof="none", heartbeat=0.5, threshold=1.5)
    second.wait_for_event("run:requeued")
    server.release("second")
    result = second.result()
    first.wait_for_event("tab:follower")

    assert result == [1, 2, 1]
    assert [effect.name for effect in server.effects()].count("third") == 1
    assert not first.events("step:complete", step="second")
