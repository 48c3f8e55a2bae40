"""A page that goes into the back-forward cache and comes back checks everything before it acts."""

from __future__ import annotations

import pytest

from tests.e2e.chromium import Chromium
from tests.e2e.host import Host
from tests.server import EffectServer

BLANK = "/pages/blank.html"

# A page that is put away becomes hidden behind `pagehide`, and is frozen a few milliseconds later.
COUNT_LATE_TRANSACTIONS = """
(() => {
  const counts = globalThis.__transactions = { before: 0, late: 0 };
  let isAway = false, isLate = false;
  addEventListener("pagehide", () => { isAway = true; });
  document.addEventListener("visibilitychange", () => { isLate = isAway; });
  addEventListener("pageshow", () => { isAway = isLate = false; }, true);
  const { transaction } = IDBDatabase.prototype;
  IDBDatabase.prototype.transaction = function (...parameters) {
    counts[isLate ? "late" : "before"] += 1;
    return transaction.apply(this, parameters);
  };
})()
"""


@pytest.fixture
def host(chromium: Chromium, server: EffectServer) -> Host:
    # Chromium keeps no page that forbids to store it, or that has read what forbids it.
    server.set_headers("/", {"Cache-Control": "no-cache"})
    return Host(chromium.page, server.url)


@pytest.fixture
def other(host: Host, chromium: Chromium, server: EffectServer) -> Host:
    """In a window of its own: both stay visible, and nobody hands over."""
    return Host(chromium.new_window(server.url + BLANK), server.url)


def test_leader_that_comes_back_leads_again_and_begins_the_step_under_way_anew(
    chromium: Chromium, host: Host, server: EffectServer
) -> None:
    server.hold("second")
    host.open().wait_for_event("step:start", step="second")
    server.wait_until_held("second")
    with chromium.away(host.page, server.url + BLANK):
        pass
    host.wait_for_event("tab:leader", 2)
    server.release("second")

    assert host.result() == [1, 2, 1]
    assert not host.events("tab:follower")
    assert len(host.events("step:cancel", step="second", reason="lease-lost")) == 1
    assert [effect.name for effect in server.effects()] == ["first", "second", "second", "third"]


def test_page_that_is_put_away_begins_nothing_behind_its_last_commit(
    chromium: Chromium, host: Host, server: EffectServer
) -> None:
    host.page.add_init_script(COUNT_LATE_TRANSACTIONS)
    server.hold("second")
    host.open().wait_for_event("step:start", step="second")
    server.wait_until_held("second")
    with chromium.away(host.page, server.url + BLANK):
        pass
    counts = host.page.evaluate("globalThis.__transactions")
    server.release("second")

    assert host.result() == [1, 2, 1]
    assert counts["before"] > 0
    assert counts["late"] == 0


def test_leader_that_comes_back_while_another_tab_leads_follows_it(
    chromium: Chromium, host: Host, other: Host, server: EffectServer
) -> None:
    server.hold("second")
    host.open().wait_for_event("step:start", step="second")
    server.wait_until_held("second")
    other.open(stay="yes").wait_for("triggered")
    with chromium.away(host.page, server.url + BLANK):
        server.wait_until_held("second", 2)
    host.wait_for_event("tab:follower")
    server.release("second")

    assert other.result() == host.result() == [1, 2, 1]
    assert len(host.events("tab:leader")) == 1
    assert [effect.name for effect in server.effects()] == ["first", "second", "second", "third"]


def test_leader_that_comes_back_when_the_next_one_is_gone_knows_what_that_one_did(
    chromium: Chromium, host: Host, other: Host, server: EffectServer
) -> None:
    host.open(job="approval", stay="yes").wait_for_event("run:waiting")
    with chromium.away(host.page, server.url + BLANK):
        other.open(job="approval").wait_for("triggered", disposition="idempotent")
        other.ask("signal", "signalled")
        result = other.result()
        other.page.close()
    host.wait_for_event("tab:leader", 2)
    steps = host.ask("steps")["steps"]

    assert result == host.result() == "yes"
    assert [step["name"] for step in steps] == ["ask", "publish"]
    assert len(server.effects("ask")) == len(server.effects("publish")) == 1


def test_follower_that_comes_back_hears_what_it_has_missed(
    chromium: Chromium, host: Host, other: Host, server: EffectServer
) -> None:
    server.hold("second")
    other.open(stay="yes").wait_for_event("step:start", step="second")
    server.wait_until_held("second")
    host.open().wait_for("triggered")
    with chromium.away(host.page, server.url + BLANK):
        server.release("second")
        other.wait_for("result")

    assert host.result() == [1, 1, 1]
    assert not host.events("tab:leader")
    assert len(server.effects()) == 3
