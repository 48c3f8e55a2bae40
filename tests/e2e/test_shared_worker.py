"""Python in a SharedWorker leads, and follows, like a page."""

from __future__ import annotations

from tests.e2e.chromium import Chromium
from tests.e2e.host import Host
from tests.server import EffectServer


def test_page_follows_a_shared_worker_and_takes_over_when_it_ends(
    chromium: Chromium, server: EffectServer
) -> None:
    worker = Host(chromium.page, server.url)
    page = Host(chromium.new_window(server.url + "/pages/blank.html"), server.url)
    server.hold("second")
    worker.open(thread="shared worker").wait_for_event("step:start", step="second")
    server.wait_until_held("second")
    page.open().wait_for_event("tab:follower")
    page.wait_for("triggered", disposition="idempotent")
    takeovers = page.events("tab:leader")
    worker.page.close()
    page.wait_for_event("tab:leader")
    server.release("second")

    assert page.result() == [1, 2, 1]
    assert not takeovers


def test_shared_worker_follows_a_page_and_takes_over_when_it_is_closed(
    chromium: Chromium, server: EffectServer
) -> None:
    page = Host(chromium.page, server.url)
    worker = Host(chromium.new_window(server.url + "/pages/blank.html"), server.url)
    server.hold("second")
    page.open()
    server.wait_until_held("second")
    worker.open(thread="shared worker").wait_for_event("tab:follower")
    worker.wait_for("triggered", disposition="idempotent")
    takeovers = worker.events("tab:leader")
    page.page.close()
    worker.wait_for_event("tab:leader")
    server.release("second")

    assert worker.result() == [1, 2, 1]
    assert not takeovers
