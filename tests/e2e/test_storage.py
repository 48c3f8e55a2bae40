"""What IndexedDB holds: folded while a run is busy, refused when it was tampered with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import Chromium
from tests.e2e.conftest import OpenChromium
from tests.e2e.host import Host
from tests.e2e.leveldb import damage, tear, wait_until_gone
from tests.faults.faults import Quota
from tests.server import EffectServer

# Runs `body` with the log and the chunks of the database "test" open for writing, from a page that
# has no durably in it, and returns its result once the transaction is complete.
IN_STORES = """
([body, argument]) => new Promise((resolve, reject) => {
  const opening = indexedDB.open("durably:test");
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const db = opening.result;
    const transaction = db.transaction(["log", "chunks"], "readwrite");
    let answer = null;
    const work = new Function("log", "chunks", "argument", "answer", body);
    work(transaction.objectStore("log"), transaction.objectStore("chunks"), argument,
      (value) => { answer = value; });
    transaction.oncomplete = () => { db.close(); resolve(answer); };
    transaction.onabort = () => reject(transaction.error);
  };
})
"""

KEYS = """
  log.getAllKeys().onsuccess = (log) => {
    chunks.getAllKeys().onsuccess = (chunks) => {
      answer({ log: log.target.result, chunks: chunks.target.result });
    };
  };
"""

# A number for each record that changes with any of its bytes.
SUMS = """
  log.getAllKeys().onsuccess = (keys) => log.getAll().onsuccess = (values) => {
    const mix = (sum, byte) => (sum * 31 + byte) % 1e9;
    const sums = values.target.result.map((buffer) => new Uint8Array(buffer).reduce(mix, 7));
    answer(keys.target.result.map((key, i) => [key.join("."), sums[i]]));
  };
"""

ALTER_BLOCK = """
  log.get(argument).onsuccess = ({ target }) => {
    const bytes = new Uint8Array(target.result);
    bytes[bytes.length - 100] ^= 1;
    log.put(target.result, argument);
  };
"""

DELETE_RECORD = "log.delete(argument);"

EMPTY_LOG = "log.clear();"

TEAR_LAST_RECORD = """
  log.openCursor(null, "prev").onsuccess = ({ target }) => {
    const { value } = target.result;
    target.result.update(value.slice(0, value.byteLength - 128));
  };
"""

DELETE_CHUNK = """
  chunks.openKeyCursor(argument).onsuccess = ({ target }) => chunks.delete(target.result.key);
"""


# Chromium's own button on its page about IndexedDB: the connections end as on an I/O error.
PRESS_FORCE_CLOSE = """
() => {
  const pressed = (root) => [...root.querySelectorAll("*")].some((element) => {
    if (!element.matches(".force-close")) return element.shadowRoot && pressed(element.shadowRoot);
    element.click();
    return true;
  });
  return pressed(document);
}
"""


@pytest.fixture
def host(chromium: Chromium, server: EffectServer) -> Host:
    return Host(chromium.page, server.url)


@pytest.fixture
def outsider(chromium: Chromium, host: Host, server: EffectServer) -> Page:
    """A page of the same origin without durably, behind the host's."""
    page = chromium.new_page(server.url + "/pages/blank.html")
    chromium.show(host.page)
    return page


def in_stores(page: Page, body: str, argument: object = None) -> Any:
    return page.evaluate(IN_STORES, [body, argument])


def fill(host: Host, count: int) -> None:
    """Store a run of so many steps, and leave the page, so that nothing is open any more."""
    host.open(program="storage", count=count).wait_for("opened")
    host.page.goto("about:blank")


def test_long_run_is_folded_into_chunks_and_its_log_is_trimmed(host: Host, outsider: Page) -> None:
    host.open(program="storage", count=600).wait_for("opened")
    outsider.wait_for_function(
        f"""async () => {{
          const keys = await ({IN_STORES})([{json.dumps(KEYS)}, null]);
          return keys.chunks.length > 0 && keys.log.length < 500;
        }}""",
        timeout=20_000,
        polling=100,
    )

    opened = host.reload().wait_for("opened")

    assert opened["steps"] == [600, 600]


def test_busy_run_goes_on_when_the_browser_closes_its_connection_in_the_middle_of_a_commit(
    chromium: Chromium, host: Host, server: EffectServer
) -> None:
    count, marks = 400, 8
    internals = chromium.new_page("chrome://indexeddb-internals")
    chromium.show(host.page)
    host.open(job="many_steps", count=count)
    for mark in range(1, marks):
        server.wait_for("mark", mark)
        internals.goto("chrome://indexeddb-internals")
        internals.wait_for_function(PRESS_FORCE_CLOSE, polling=20)

    assert host.result() == count
    assert len(server.effects("mark")) == marks
    assert not host.events("storage:lost")


def test_busy_run_meets_a_full_storage_and_goes_on_each_time_there_is_room_again(
    chromium: Chromium, host: Host, outsider: Page, server: EffectServer
) -> None:
    count, marks = 800, 16
    quota = Quota(outsider, server.url)
    quota.make_room()
    host.open(job="many_steps", count=count)
    for incident in (1, 2, 3):
        server.wait_for("mark", len(server.effects("mark")) + 1)
        quota.fill()
        host.wait_for_event("storage:full", incident)
        quota.make_room()

    assert host.result() == count
    assert len(server.effects("mark")) == marks
    assert len(host.events("tab:leader")) == 1


def test_busy_run_that_is_folded_and_killed_goes_on_with_at_most_one_repeat(
    open_chromium: OpenChromium, server: EffectServer
) -> None:
    count, marks = 1200, 24
    browser = open_chromium()
    for mark in (7, 15, 20):
        Host(browser.page, server.url).open(job="many_steps", count=count)
        server.wait_for("mark", mark)
        browser.kill()
        browser = open_chromium()
    host = Host(browser.page, server.url).open(job="many_steps", count=count)

    assert host.wait_for("triggered")["disposition"] == "idempotent", "the storage was empty"
    assert host.result() == count
    assert len(server.effects("end")) == 1
    assert marks <= len(server.effects("mark")) <= marks + 3


def test_record_that_a_dying_browser_has_half_written_ruins_nothing(
    open_chromium: OpenChromium, profile: Path, server: EffectServer
) -> None:
    count, marks = 1200, 24
    browser = open_chromium()
    Host(browser.page, server.url).open(job="many_steps", count=count)
    server.wait_for("mark", 5)
    browser.kill()
    torn = tear(profile)
    browser = open_chromium()
    Host(browser.page, server.url).open(job="many_steps", count=count)
    wait_until_gone(torn)
    server.wait_for("mark", 10)
    browser.kill()
    host = Host(open_chromium().page, server.url).open(job="many_steps", count=count)

    assert host.wait_for("triggered")["disposition"] == "idempotent", "the storage was empty"
    assert host.result() == count
    assert marks <= len(server.effects("mark")) <= marks + 2


def test_storage_that_the_browser_has_deleted_is_told_as_lost_and_begins_anew_after_a_reload(
    open_chromium: OpenChromium, profile: Path, server: EffectServer
) -> None:
    browser = open_chromium()
    Host(browser.page, server.url).open(job="many_steps", count=1200)
    server.wait_for("mark", 5)
    browser.kill()
    damage(profile)
    host = Host(open_chromium().page, server.url).open(job="many_steps", count=50)
    text = host.wait_for_crash()
    marks = len(server.effects("mark"))
    host.reload()

    assert "StorageLost" in text
    assert "deleted all of it (IndexedDB (database was corrupt)" in text
    assert "Reload the page: it begins with an empty database" in text
    assert host.wait_for("triggered")["disposition"] == "created"
    assert host.result() == 50
    assert len(server.effects("mark")) == marks + 1


@pytest.mark.parametrize(
    ("damage", "argument", "complaint"),
    [
        (ALTER_BLOCK, [1, 3], "record 1.3 was altered"),
        (DELETE_RECORD, [1, 3], "record 1.3 is missing"),
        (DELETE_RECORD, [1, 0], "record 1.0 is missing"),
        (TEAR_LAST_RECORD, None, "was altered"),
        (EMPTY_LOG, None, "its log is missing"),
    ],
    ids=["block altered", "page removed", "head removed", "torn", "log emptied"],
)
def test_damaged_log_is_refused_and_never_overwritten(
    host: Host, outsider: Page, damage: str, argument: object, complaint: str
) -> None:
    fill(host, 10)
    in_stores(outsider, damage, argument)
    before = dict(in_stores(outsider, SUMS))

    text = host.open(program="storage").wait_for_crash()

    after = dict(in_stores(outsider, SUMS))
    assert "DamagedDatabase" in text
    assert complaint in text
    assert "Nothing was overwritten" in text
    assert {key: after.get(key) for key in before} == before


def test_missing_chunk_is_refused_and_never_overwritten(host: Host, outsider: Page) -> None:
    host.open(program="storage", count=300).wait_for("opened")
    outsider.wait_for_function(
        f"async () => (await ({IN_STORES})([{json.dumps(KEYS)}, null])).log.length < 250",
        timeout=20_000,
        polling=100,
    )
    host.page.goto("about:blank")
    in_stores(outsider, DELETE_CHUNK)
    before = in_stores(outsider, KEYS)["chunks"]

    text = host.open(program="storage").wait_for_crash()

    assert "DamagedDatabase" in text
    assert "chunk 0 is missing" in text
    assert in_stores(outsider, KEYS)["chunks"] == before


def test_newer_schema_is_refused_and_never_overwritten(host: Host, outsider: Page) -> None:
    host.open(program="storage", count=3, schema=99).wait_for("opened")
    host.page.goto("about:blank")
    before = dict(in_stores(outsider, SUMS))

    text = host.open(program="storage").wait_for_crash()

    after = dict(in_stores(outsider, SUMS))
    assert "NewerSchema" in text
    assert "schema 99" in text
    assert {key: after.get(key) for key in before} == before


@pytest.fixture
def without_storage(open_chromium: OpenChromium, profile: Path, server: EffectServer) -> Host:
    """A page in a browser whose user has blocked site data, where IndexedDB is refused."""
    preferences = profile / "Default" / "Preferences"
    preferences.parent.mkdir(parents=True)
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    preferences.write_text(json.dumps(blocked))
    return Host(open_chromium().page, server.url)


def test_refused_storage_is_a_clear_error(without_storage: Host) -> None:
    text = without_storage.open(program="storage").wait_for_crash()

    assert "StorageRefused" in text
    assert 'when_refused="memory"' in text


def test_refused_storage_runs_in_memory_where_that_was_asked_for(without_storage: Host) -> None:
    without_storage.open(program="storage", count=5, when_refused="memory")

    assert without_storage.wait_for("opened")["steps"] == [5]
    assert len(without_storage.events("storage:memory")) == 1
