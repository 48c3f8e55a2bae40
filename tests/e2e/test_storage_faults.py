"""What browsers, users and other tabs do to the storage of a tab that is open, really done."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import Chromium
from tests.e2e.conftest import OpenChromium
from tests.e2e.host import Host
from tests.server import EffectServer

QUOTA_BYTES = 2_000_000
FILL_COUNT = 40  # Steps that store more than the quota.

DELETE = """
() => new Promise((resolve, reject) => {
  const request = indexedDB.deleteDatabase("durably:test");
  request.onsuccess = () => resolve("deleted");
  request.onblocked = () => resolve("blocked");
  request.onerror = () => reject(request.error);
})
"""

UPGRADE = """
() => new Promise((resolve, reject) => {
  const request = indexedDB.open("durably:test", 2);
  request.onsuccess = () => { request.result.close(); resolve("upgraded"); };
  request.onblocked = () => resolve("blocked");
  request.onerror = () => reject(request.error);
})
"""

# A page that does not listen: it keeps its connection whatever another one wants to do.
HOLD_OPEN = """
() => new Promise((resolve, reject) => {
  const request = indexedDB.open("durably:test");
  request.onsuccess = () => { globalThis.held = request.result; resolve(); };
  request.onerror = () => reject(request.error);
})
"""

VERSIONS = "async () => (await indexedDB.databases()).map(({ name, version }) => [name, version])"

ALTER_RECORD = """
(key) => new Promise((resolve, reject) => {
  const opening = indexedDB.open("durably:test");
  opening.onsuccess = () => {
    const transaction = opening.result.transaction("log", "readwrite");
    const log = transaction.objectStore("log");
    log.get(key).onsuccess = ({ target }) => {
      const bytes = new Uint8Array(target.result);
      bytes[bytes.length - 100] ^= 1;
      log.put(target.result, key);
    };
    transaction.oncomplete = () => { opening.result.close(); resolve(); };
    transaction.onabort = () => reject(transaction.error);
  };
})
"""


@pytest.fixture
def host(chromium: Chromium, server: EffectServer) -> Host:
    chromium.watch_closes(chromium.page)
    return Host(chromium.page, server.url)


@pytest.fixture
def outsider(chromium: Chromium, host: Host, server: EffectServer) -> Page:
    """A page of the same origin without durably, behind the host's."""
    page = chromium.new_page(server.url + "/pages/blank.html")
    chromium.show(host.page)
    return page


def databases(page: Page) -> list[str]:
    names = [name for name, _ in page.evaluate(VERSIONS)]
    return [name for name in names if name.startswith("durably:")]


# Quota


def test_full_quota_stops_the_claiming_and_the_work_goes_on_when_there_is_room(
    chromium: Chromium, host: Host, server: EffectServer
) -> None:
    chromium.limit_storage(server.url, QUOTA_BYTES)
    host.open(program="faults", job="fill")
    full = host.wait_for_event("storage:full")
    health = host.ask("health")
    host.page.evaluate("ask('trigger')")
    chromium.hide(host.page)
    chromium.show(host.page)  # The worker looks for work whenever its page is shown.
    diagnosis = host.ask("doctor")
    done_while_full = host.events("step:complete")

    chromium.limit_storage(server.url, None)
    result = host.result()
    host.wait_for_event("run:complete", 2)

    assert 0 < full["usage_bytes"] <= full["quota_bytes"]
    assert health["is_full"]
    assert health["dirty_pages"] > 0
    assert diagnosis["kinds"] == [["storage-full", "running"], ["storage-full", "next"]]
    assert diagnosis["problems"] == []
    assert 0 < len(done_while_full) < FILL_COUNT
    assert result == FILL_COUNT
    assert len(server.effects("fill")) == FILL_COUNT
    assert len(host.events("storage:full")) == 1
    assert host.ask("doctor")["problems"] == []


def test_nothing_acknowledged_is_lost_by_a_browser_that_is_killed_at_its_quota(
    open_chromium: OpenChromium, server: EffectServer
) -> None:
    browser = open_chromium()
    browser.limit_storage(server.url, QUOTA_BYTES)
    host = Host(browser.page, server.url).open(program="faults", job="fill")
    host.wait_for_event("storage:full")
    acknowledged = len(host.events("step:complete"))
    started = len(server.effects("fill"))
    browser.kill()

    again = Host(open_chromium().page, server.url).open(program="faults", job="fill")
    result = again.result()

    assert acknowledged > 0
    assert result == FILL_COUNT
    assert len(again.events("step:replay")) >= acknowledged
    assert len(server.effects("fill")) <= FILL_COUNT + (started - acknowledged)


def test_quota_that_leaves_no_room_to_begin_is_a_clear_error(
    chromium: Chromium, host: Host, server: EffectServer
) -> None:
    chromium.limit_storage(server.url, 1)

    text = host.open(program="faults").wait_for_crash()

    assert "StorageFull" in text
    assert "Free some space" in text
    assert len(host.events("storage:full")) == 1


# The connection


def test_connection_that_the_browser_closes_costs_nothing(
    chromium: Chromium, host: Host, server: EffectServer
) -> None:
    server.hold("second")
    host.open(program="faults", job="three_steps")
    server.wait_until_held("second")
    for _ in range(3):
        chromium.close_databases(host.page)
    server.release("second")

    assert host.result() == [1, 1, 1]
    assert host.events("storage:lost") == []
    assert host.ask("doctor")["problems"] == []
    assert host.reload().wait_for("result")["value"] == [1, 1, 1]


# Gone


def test_data_cleared_under_a_running_tab_is_told_at_once_and_nothing_goes_on(
    chromium: Chromium, host: Host, outsider: Page, server: EffectServer
) -> None:
    server.hold("second")
    host.open(program="faults", job="three_steps")
    server.wait_until_held("second")
    chromium.clear_storage(server.url)
    lost = host.wait_for_event("storage:lost")
    stopped = host.wait_for_event("worker:error")
    server.release("second")
    refusal = host.ask("trigger", "refusal")

    assert "cleared" in lost["reason"]
    assert "stops working" in stopped["message"]
    assert refusal["type"] == "StorageLost"
    assert not host.events("step:complete", step="second")
    assert server.effects("third") == []
    assert "durably:test" not in databases(outsider)
    assert len(host.events("storage:lost")) == 1


def test_tab_that_follows_makes_nothing_empty_of_what_was_cleared(
    chromium: Chromium, host: Host, outsider: Page, server: EffectServer
) -> None:
    host.open(program="faults", job="three_steps").wait_for("result")
    follower = Host(chromium.new_page(), server.url)
    follower.open(program="faults", job="three_steps").wait_for("result")
    chromium.clear_storage(server.url)
    for one in (host, follower):
        one.wait_for_event("worker:error")

    assert [one.ask("trigger", "refusal")["type"] for one in (host, follower)] == [
        "StorageLost"
    ] * 2
    assert len(follower.events("tab:follower")) >= 1
    assert "durably:test" not in databases(outsider)


def test_database_that_another_tab_deletes_stands_in_nobodys_way_and_an_idle_tab_is_told(
    host: Host, outsider: Page
) -> None:
    host.open(program="faults", job="three_steps").wait_for("result")
    outcome = outsider.evaluate(DELETE)
    lost = host.wait_for_event("storage:lost")
    host.wait_for_event("worker:error")
    refusal = host.ask("trigger", "refusal")

    assert outcome == "deleted"
    assert "deleted" in lost["reason"]
    assert refusal["type"] == "StorageLost"
    assert databases(outsider) == []


def test_database_that_a_newer_version_upgrades_is_left_to_it(
    host: Host, outsider: Page, server: EffectServer
) -> None:
    server.hold("second")
    host.open(program="faults", job="three_steps")
    server.wait_until_held("second")
    outcome = outsider.evaluate(UPGRADE)
    lost = host.wait_for_event("storage:lost")
    stopped = host.wait_for_event("worker:error")
    server.release("second")
    text = host.reload().wait_for_crash()

    assert outcome == "upgraded"
    assert len(host.events("storage:refused", error="NewerSchema")) == 1
    assert "a newer version of durably" in lost["reason"]
    assert "a newer version of durably" in stopped["message"]
    assert "NewerSchema" in text
    assert "format 2" in text
    assert "update durably" in text
    assert outsider.evaluate(VERSIONS) == [["durably:test", 2]]


def test_open_that_another_tab_holds_up_is_refused_and_not_waited_for_without_end(
    chromium: Chromium, host: Host, outsider: Page, server: EffectServer
) -> None:
    host.open(program="faults", job="three_steps").wait_for("result")
    host.page.goto("about:blank")
    outsider.evaluate(HOLD_OPEN)
    third = chromium.new_page(server.url + "/pages/blank.html")
    outcome = third.evaluate(DELETE)
    chromium.show(host.page)

    text = host.open(program="faults").wait_for_crash()

    assert outcome == "blocked"
    assert len(host.events("storage:refused", error="StorageRefused")) == 1
    assert "StorageRefused" in text
    assert "another tab may be deleting or upgrading it" in text


# Damage and eviction


def test_record_altered_under_a_running_tab_is_found_by_the_doctor_and_left_as_it_is(
    host: Host, outsider: Page
) -> None:
    host.open(program="faults", job="three_steps").wait_for("result")
    sound = host.ask("doctor")
    outsider.evaluate(ALTER_RECORD, [1, 3])
    first, second = host.ask("doctor"), host.ask("doctor")

    assert sound["problems"] == []
    assert len(first["problems"]) == 1
    assert "record 1.3 was altered" in first["problems"][0]
    assert second == first


def test_storage_is_at_risk_until_the_user_lets_the_page_keep_it(
    chromium: Chromium, host: Host, server: EffectServer
) -> None:
    host.open(program="faults", job="three_steps").wait_for("result")
    refused = host.ask("persist")["answer"]
    at_risk = host.ask("health")
    chromium.keep_storage(server.url)
    granted = host.ask("persist")["answer"]
    safe = host.ask("health")

    assert (refused, at_risk["is_persisted"], at_risk["is_at_risk"]) == (False, False, True)
    assert (granted, safe["is_persisted"], safe["is_at_risk"]) == (True, True, False)
    assert (safe["place"], safe["role"], safe["epoch"]) == ("indexeddb", "leader", 1)
    assert safe["last_durable_at"] > 0
    assert 0 < safe["usage_bytes"] < safe["quota_bytes"]
