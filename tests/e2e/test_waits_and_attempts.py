"""Waits, parallel steps and attempts, over real deaths of a real tab."""

from __future__ import annotations

import pytest

from tests.e2e.chromium import Chromium
from tests.e2e.conftest import OpenChromium
from tests.e2e.host import Host
from tests.server import EffectServer


@pytest.fixture
def host(chromium: Chromium, server: EffectServer) -> Host:
    return Host(chromium.page, server.url)


def test_waiting_run_is_found_again_after_a_reload_and_goes_on_when_it_is_signalled(
    host: Host, server: EffectServer
) -> None:
    host.open(job="approval").wait_for_event("run:waiting")
    host.reload().wait_for("triggered", disposition="idempotent")
    assert host.ask("runs")["runs"][0]["status"] == "waiting"
    host.ask("signal", "signalled")

    assert host.result() == "yes"
    assert len(server.effects("ask")) == 1
    assert len(server.effects("publish")) == 1


def test_signal_is_kept_when_the_browser_is_killed_right_behind_it(
    open_chromium: OpenChromium, server: EffectServer
) -> None:
    server.hold("ask")
    browser = open_chromium()
    host = Host(browser.page, server.url).open(job="approval")
    server.wait_until_held("ask")
    host.ask("signal", "signalled")
    browser.kill()
    server.release("ask")
    host = Host(open_chromium().page, server.url).open(job="approval")

    assert host.result() == "yes"
    assert not host.events("run:waiting")
    assert len(server.effects("ask")) == 2
    assert len(server.effects("publish")) == 1


def test_deadline_holds_over_a_reload(host: Host, server: EffectServer) -> None:
    host.open(job="approval", timeout=3).wait_for_event("run:waiting")
    host.reload()

    assert host.result() == "timed out"
    assert len(server.effects("ask")) == 1


def test_finished_siblings_of_parallel_steps_are_not_run_again(
    host: Host, server: EffectServer
) -> None:
    server.hold("middle")
    host.open(job="side_by_side")
    server.wait_until_held("middle")
    host.wait_for_event("step:complete", step="left")
    host.wait_for_event("step:complete", step="right")
    host.reload()
    server.release("middle")

    assert host.result() == {"left": 1, "middle": 2, "right": 1}


def test_metadata_of_a_try_survives_the_browser_that_was_killed_in_it(
    open_chromium: OpenChromium, server: EffectServer
) -> None:
    server.hold("call")
    browser = open_chromium()
    Host(browser.page, server.url).open(job="priced")
    server.wait_until_held("call")
    browser.kill()
    server.release("call")
    host = Host(open_chromium().page, server.url).open(job="priced", stay="yes")
    host.result()
    attempts = host.ask("attempts")["attempts"]

    assert [
        (attempt["number"], attempt["outcome"], attempt["reason"], attempt["metadata"])
        for attempt in attempts
    ] == [(1, "interrupted", "unknown", {"cost": 3}), (2, "completed", None, {"cost": 3})]
