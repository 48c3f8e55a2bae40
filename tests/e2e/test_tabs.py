"""Tabs of one origin: one leads, the others follow it and take over when it cannot go on."""

from __future__ import annotations

import pytest

from tests.e2e.chromium import Chromium
from tests.e2e.host import Host
from tests.server import EffectServer


def two_tabs(chromium: Chromium, server: EffectServer) -> tuple[Host, Host]:
    first, second = (Host(page, server.url) for page in (chromium.page, chromium.new_page()))
    chromium.show(first.page)
    return first, second


@pytest.mark.parametrize(
    ("of_leader", "of_follower"),
    [("main", "main"), ("main", "worker"), ("worker", "main"), ("worker", "worker")],
)
def test_follower_takes_over_when_the_leader_is_closed(
    chromium: Chromium, server: EffectServer, of_leader: str, of_follower: str
) -> None:
    first, second = two_tabs(chromium, server)
    server.hold("second")
    first.open(thread=of_leader)
    server.wait_until_held("second")

    chromium.show(second.page)
    second.open(thread=of_follower).wait_for_event("tab:follower")
    joined = second.wait_for("triggered")
    claimed_while_following = second.events("run:claimed")
    first.page.close()
    server.release("second")

    assert joined["disposition"] == "idempotent"
    assert second.result() == [1, 2, 1]
    assert not claimed_while_following
    assert len(second.events("tab:leader")) == 1


def test_leader_that_is_hidden_hands_over_behind_the_step_under_way(
    chromium: Chromium, server: EffectServer
) -> None:
    first, second = two_tabs(chromium, server)
    server.hold("second")
    first.open()
    server.wait_until_held("second")

    chromium.show(second.page)
    second.open().wait_for("triggered")
    server.release("second")

    assert second.result() == [1, 1, 1]
    assert first.result() == [1, 1, 1]
    assert len(second.events("tab:leader")) == 1
    assert len(first.events("tab:follower")) == 1
    assert [effect.name for effect in server.effects()] == ["first", "second", "third"]


def test_follower_takes_over_at_once_when_the_page_of_the_leader_is_frozen(
    chromium: Chromium, server: EffectServer
) -> None:
    frozen, follower = two_tabs(chromium, server)
    server.hold("second")
    frozen.open()
    server.wait_until_held("second")
    follower.open().wait_for("triggered")

    chromium.freeze(frozen.page)
    chromium.show(follower.page)
    server.release("second")
    follower.wait_for_event("tab:leader")
    result = follower.result()
    chromium.thaw(frozen.page)
    chromium.show(frozen.page)

    assert result == [1, 2, 1]
    assert frozen.result() == [1, 2, 1]
    assert not frozen.events("step:complete", step="second")
    assert [effect.name for effect in server.effects()] == ["first", "second", "second", "third"]


def test_visible_follower_steals_the_lock_of_a_leader_that_stands_still(
    chromium: Chromium, server: EffectServer
) -> None:
    """A worker is told of no freeze, so it keeps its lock."""
    frozen, follower = two_tabs(chromium, server)
    server.hold("second")
    frozen.open(thread="worker", heartbeat=0.5, threshold=3)
    server.wait_until_held("second")
    chromium.show(follower.page)
    # In front, but the leader does not hear of it: it must not hand over before it is frozen.
    chromium.freeze(frozen.page)
    follower.open(heartbeat=0.5, threshold=3).wait_for_event("tab:follower")
    chromium.show(follower.page)
    server.release("second")
    follower.wait_for_event("tab:leader")

    assert follower.result() == [1, 2, 1]
    chromium.thaw(frozen.page)
    chromium.show(frozen.page)
    frozen.wait_for_event("step:cancel", step="second", reason="lease-lost")
    assert frozen.result() == [1, 2, 1]
    assert [effect.name for effect in server.effects()] == ["first", "second", "second", "third"]


def test_doctor_of_a_follower_tells_of_a_leader_that_is_frozen(
    chromium: Chromium, server: EffectServer
) -> None:
    frozen, follower = two_tabs(chromium, server)
    server.hold("second")
    frozen.open(thread="worker", heartbeat=0.5)
    server.wait_until_held("second")
    follower.open(heartbeat=0.5).wait_for("triggered")
    alive = follower.ask("doctor")
    # It cannot hand over: its step is under way.
    chromium.show(follower.page)
    chromium.freeze(frozen.page)
    silent = follower.ask("doctor")
    chromium.thaw(frozen.page)
    chromium.show(frozen.page)
    server.release("second")

    assert alive["silence"] is None
    assert silent["silence"] == "leader-frozen"
    assert "it is frozen" in silent["text"]
    assert frozen.result() == follower.result() == [1, 1, 1]


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
