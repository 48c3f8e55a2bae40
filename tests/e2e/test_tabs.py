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


def test_thawed_leader_is_fenced_and_what_it_writes_late_is_never_acknowledged(
    chromium: Chromium, server: EffectServer
) -> None:
    zombie, successor = (Host(page, server.url) for page in (chromium.page, chromium.new_page()))
    chromium.show(zombie.page)
    server.hold("second")
    zombie.open()
    server.wait_until_held("second")

    chromium.freeze(zombie.page)
    chromium.show(successor.page)
    # The frozen page keeps its lock. Without the lock, nothing but the fence keeps the two apart.
    successor.open(proof="none", heartbeat=0.5, threshold=1.5)
    successor.wait_for_event("run:requeued")
    server.release("second")
    result = successor.result()
    chromium.thaw(zombie.page)
    chromium.show(zombie.page)
    zombie.wait_for_event("tab:follower")

    assert result == [1, 2, 1]
    assert zombie.result() == [1, 2, 1]
    assert not zombie.events("step:complete", step="second")
    assert [effect.name for effect in server.effects()] == ["first", "second", "second", "third"]
