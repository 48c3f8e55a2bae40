"""Runs move between a browser and a process of CPython, and a damaged database leaves as it is.

What a step did is counted by a server outside of both.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from durably.container import unpack
from durably.rescue import restore
from tests.e2e import moving_process
from tests.e2e.chromium import Chromium
from tests.e2e.conftest import OpenChromium
from tests.e2e.host import Host
from tests.e2e.moving_process import PASSPHRASE
from tests.e2e.test_content_security_policy import POLICY
from tests.e2e.test_resumability import counts
from tests.e2e.test_storage import ALTER_BLOCK, IN_STORES, KEYS, SUMS, in_stores
from tests.server import EffectServer

T = TypeVar("T")


@pytest.fixture
def host(chromium: Chromium, server: EffectServer) -> Host:
    return Host(chromium.page, server.url)


@contextmanager
def process(url: str, folder: Path, verb: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed at the end of the block."""
    command = [sys.executable, str(moving_process.__file__), url, str(folder), verb]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def ask(running: subprocess.Popen[str], line: str) -> str:
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(f"{line}\n")
    running.stdin.flush()
    return running.stdout.readline()


def test_half_done_run_goes_on_from_the_browser_in_a_process(
    host: Host, server: EffectServer, tmp_path: Path
) -> None:
    server.hold("second")
    host.open(program="moving", triggers="yes")
    server.wait_until_held("second")
    exported = host.ask("export", "exported")["data"]
    host.page.goto("about:blank")
    server.release("second")

    with process(server.url, tmp_path, "import") as running:
        (result,) = json.loads(ask(running, exported))

    assert result == [1, 2, 1]
    assert counts(server) == {"first": 1, "second": 2, "third": 1}


def test_half_done_run_goes_on_from_a_process_in_the_browser(
    host: Host, server: EffectServer, tmp_path: Path
) -> None:
    server.hold("second")
    with process(server.url, tmp_path, "export") as running:
        server.wait_until_held("second")
        exported = ask(running, "now").strip()
    server.release("second")

    host.open(program="moving").wait_for("ready")
    imported = host.ask(f"import {exported}", "imported")

    assert (len(imported["created"]), imported["known"]) == (1, [])
    assert host.result() == [1, 2, 1]
    assert counts(server) == {"first": 1, "second": 2, "third": 1}


def test_imported_run_survives_the_death_of_the_browser_that_took_it(
    open_chromium: OpenChromium, server: EffectServer, tmp_path: Path
) -> None:
    server.hold("second")
    with process(server.url, tmp_path, "export") as running:
        server.wait_until_held("second")
        exported = ask(running, "now").strip()
    browser = open_chromium()
    host = Host(browser.page, server.url).open(program="moving")
    host.wait_for("ready")
    host.ask(f"import {exported}", "imported")
    browser.kill()
    server.release("second")

    host = Host(open_chromium().page, server.url).open(program="moving")

    host.wait_for_event("run:complete")
    assert counts(server)["first"] == 1
    assert counts(server)["third"] == 1
    assert host.ask(f"import {exported}", "imported")["created"] == []


@pytest.mark.parametrize("policy", ["none", "strict"])
def test_tampered_database_is_exported_as_it_is(
    chromium: Chromium, host: Host, server: EffectServer, tmp_path: Path, policy: str
) -> None:
    outsider = chromium.new_page(server.url + "/pages/blank.html")
    chromium.show(host.page)
    host.open(program="storage", count=10).wait_for("opened")
    host.page.goto("about:blank")
    in_stores(outsider, ALTER_BLOCK, [1, 5])
    if policy == "strict":
        for prefix in ("/pages/host.html", "/pyodide/", "/js/", "/web/"):
            server.set_headers(prefix, {"Content-Security-Policy": POLICY})
        host.open(program="moving", opens="no", registered=1)
    else:
        host.open(program="moving", opens="no")
    host.wait_for("ready")
    refused = host.ask("open", "refused")["text"]
    before = in_stores(outsider, SUMS)

    data = base64.b64decode(host.ask("export", "exported")["data"])

    problems = elsewhere(restore(data, tmp_path, passphrase=PASSPHRASE))
    _, lines = elsewhere(unpack(data, PASSPHRASE))
    steps, integrity = counted(tmp_path)
    assert "record 1.5 was altered" in refused
    assert in_stores(outsider, SUMS) == before
    assert len([line for line in lines if line["store"] == "log"]) == len(before)
    assert "record 1.5 is missing; the rest is left out" in problems
    assert (0 < steps < 10, integrity) == (True, "ok")


def test_whole_database_is_put_together_from_chunks_and_log(
    chromium: Chromium, host: Host, server: EffectServer, tmp_path: Path
) -> None:
    outsider = chromium.new_page(server.url + "/pages/blank.html")
    chromium.show(host.page)
    host.open(program="storage", count=300).wait_for("opened")
    outsider.wait_for_function(
        f"async () => (await ({IN_STORES})([{json.dumps(KEYS)}, null])).log.length < 250",
        timeout=20_000,
        polling=100,
    )
    host.open(program="moving", opens="no").wait_for("ready")

    data = base64.b64decode(host.ask("export", "exported")["data"])

    problems = elsewhere(restore(data, tmp_path, passphrase=PASSPHRASE))
    assert in_stores(outsider, KEYS)["chunks"]
    assert problems == []
    assert counted(tmp_path) == (300, "ok")


def test_database_whose_values_the_browser_has_lost_is_exported_without_them(
    open_chromium: OpenChromium, profile: Path, server: EffectServer, tmp_path: Path
) -> None:
    """Chromium keeps values that are 64 KiB and more when compressed in files of their own."""
    browser = open_chromium()
    host = Host(browser.page, server.url)
    host.open(program="storage", count=2, size=200_000).wait_for("opened")
    browser.close()
    lost = [path for path in profile.glob("**/IndexedDB/*.blob/**/*") if path.is_file()]
    for path in lost:
        path.unlink()

    host = Host(open_chromium().page, server.url).open(program="moving", opens="no")
    host.wait_for("ready")
    data = base64.b64decode(host.ask("export", "exported")["data"])

    _, lines = elsewhere(unpack(data, PASSPHRASE))
    unreadable = [line["key"] for line in lines if "unreadable" in line]
    problems = elsewhere(restore(data, tmp_path, passphrase=PASSPHRASE))
    assert 1 <= len(unreadable) <= len(lost)
    assert len([line for line in lines if "bytes" in line]) > 2
    assert problems[0].startswith(f"record {unreadable[0]}: NotReadableError")


def counted(folder: Path) -> tuple[int, str]:
    """The steps in the database that was put together, and what SQLite thinks of it."""
    with closing(sqlite3.connect(folder / "test.sqlite3")) as connection:
        (steps,) = connection.execute("select count(*) from steps").fetchone()
        (integrity,) = connection.execute("pragma integrity_check").fetchone()
    return steps, integrity


def elsewhere(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it in another thread: in this one Playwright's event loop runs."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result()
