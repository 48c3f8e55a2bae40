"""The promises of durable execution in a tab, one test each, on real deaths of real tabs.

What a step did is counted by a server outside of the browser. A step that is to be under way when
the tab dies is one whose effect the server has seen and whose answer it keeps back.
"""

from __future__ import annotations

import pytest

from tests.e2e.chromium import Chromium
from tests.e2e.conftest import OpenChromium
from tests.e2e.host import Host
from tests.server import EffectServer


@pytest.fixture
def host(chromium: Chromium, server: EffectServer) -> Host:
    return Host(chromium.page, server.url)


def counts(server: EffectServer) -> dict[str, int]:
    """How often the world has seen each effect."""
    names = [effect.name for effect in server.effects()]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def interrupt(host: Host, server: EffectServer, step: str, **options: object) -> None:
    """Begin a run and reload the tab while ``step`` is under way.

    Its answer is let go only afterwards: the first life of the tab never gets it.
    """
    server.hold(step)
    host.open(**options)
    server.wait_until_held(step)
    host.reload()
    server.release(step)


def test_finished_step_is_skipped_on_resume_and_its_value_is_the_stored_one(
    host: Host, server: EffectServer
) -> None:
    interrupt(host, server, "second")

    result = host.result()

    assert counts(server)["first"] == 1
    assert result[0] == 1
    assert len(host.events("step:replay", step="first")) == 1
    assert not host.events("step:start", step="first")


def test_step_under_way_at_the_crash_runs_again_from_its_beginning(
    host: Host, server: EffectServer
) -> None:
    interrupt(host, server, "second")

    result = host.result()

    assert counts(server)["second"] == 2
    assert result[1] == 2
    assert len(host.events("step:start", step="second")) == 1


def test_later_steps_run_normally_after_a_resume(host: Host, server: EffectServer) -> None:
    interrupt(host, server, "second")

    result = host.result()

    assert counts(server) == {"first": 1, "second": 2, "third": 1}
    assert result == [1, 2, 1]


def test_run_goes_on_where_pyodide_switches_stacks(host: Host, server: EffectServer) -> None:
    """Every other page of these tests imports ``web/without_stack_switching.js``."""
    interrupt(host, server, "second", stack_switching="yes")

    assert host.wait_for("opening")["switches_stacks"] is True
    assert host.result() == [1, 2, 1]


def test_run_goes_on_where_pyodide_cannot_switch_stacks(host: Host, server: EffectServer) -> None:
    interrupt(host, server, "second")

    assert host.wait_for("opening")["switches_stacks"] is False
    assert host.result() == [1, 2, 1]


def test_heartbeat_moves_while_a_run_runs(host: Host, server: EffectServer) -> None:
    server.hold("second")
    host.open(heartbeat=0.2)
    server.wait_until_held("second")

    host.wait_for_event("run:heartbeat")
    (earlier,) = host.ask("runs")["runs"]
    host.wait_for_event("run:heartbeat", len(host.events("run:heartbeat")) + 2)
    (later,) = host.ask("runs")["runs"]
    server.release("second")

    assert earlier["status"] == later["status"] == "running"
    assert later["heartbeat_at"] > earlier["heartbeat_at"] > later["started_at"]
    assert host.result() == [1, 1, 1]


def test_run_with_a_stale_heartbeat_goes_back_to_pending_and_is_picked_up(
    host: Host, server: EffectServer
) -> None:
    interrupt(host, server, "second", proof="none", heartbeat=0.5, threshold=2)

    requeued = host.wait_for_event("run:requeued")
    claimed = host.wait_for_event("run:claimed")

    assert requeued["reason"] == "its heartbeat is stale"
    assert claimed["lease_generation"] == 2
    assert claimed["sequence"] > requeued["sequence"]
    assert host.result() == [1, 2, 1]


def test_run_marked_stale_restarts_from_its_last_checkpoint(
    host: Host, server: EffectServer
) -> None:
    interrupt(host, server, "third", proof="none", heartbeat=0.5, threshold=2)

    host.wait_for_event("run:requeued", reason="its heartbeat is stale")
    result = host.result()

    assert result == [1, 1, 2]
    assert counts(server) == {"first": 1, "second": 1, "third": 2}


def test_hidden_pauses_the_heartbeat_and_visible_resumes_it(
    chromium: Chromium, host: Host, server: EffectServer
) -> None:
    server.hold("second")
    host.open(heartbeat=0.2)
    server.wait_until_held("second")
    host.wait_for_event("run:heartbeat", 2)

    chromium.hide(host.page)
    (at_hiding,) = host.ask("runs")["runs"]
    # Real time on the page's own clock: five intervals in which a heartbeat could have come. A
    # hidden page's timers fire once a second.
    host.page.evaluate("new Promise((resolve) => setTimeout(resolve, 1000))")
    (while_hidden,) = host.ask("runs")["runs"]
    chromium.show(host.page)
    host.wait_for_event("run:heartbeat", len(host.events("run:heartbeat")) + 2)
    (shown,) = host.ask("runs")["runs"]
    server.release("second")

    assert while_hidden["heartbeat_at"] == at_hiding["heartbeat_at"]
    assert shown["heartbeat_at"] > while_hidden["heartbeat_at"]
    assert host.result() == [1, 1, 1]


def test_owner_suspended_past_the_threshold_goes_on_without_repeating_a_finished_step(
    chromium: Chromium, host: Host, server: EffectServer
) -> None:
    server.hold("second")
    host.open(heartbeat=0.5, threshold=1.5)
    server.wait_until_held("second")
    observer = chromium.new_page()

    chromium.freeze(host.page)
    # Real time on another page's clock: longer than the threshold.
    observer.evaluate("new Promise((resolve) => setTimeout(resolve, 2500))")
    server.release("second")
    chromium.thaw(host.page)
    chromium.show(host.page)

    assert host.result() == [1, 1, 1]
    assert counts(server) == {"first": 1, "second": 1, "third": 1}
    assert len(host.events("run:claimed")) == 1
    assert not host.events("run:requeued")


def test_upsert_step_is_safe_to_repeat(host: Host, server: EffectServer) -> None:
    server.hold("upsert", after=2)
    host.open(job="upserts")
    server.wait_until_held("upsert")
    host.reload()
    server.release("upsert")

    assert host.result() == 5
    written = [effect.body for effect in server.effects("upsert")]
    assert len(written) == 6
    assert {body["id"]: body["value"] for body in written} == {n: n * n for n in range(5)}


def test_check_before_act_step_acts_once(host: Host, server: EffectServer) -> None:
    interrupt(host, server, "charge", job="check_before_act")

    assert host.result() == 1
    assert counts(server) == {"charge": 1}


def test_batches_of_100_lose_at_most_one_batch(host: Host, server: EffectServer) -> None:
    server.hold("batch", after=4)
    host.open(job="batches")
    server.wait_until_held("batch")
    host.reload()
    server.release("batch")

    assert host.result() == 1000
    sent = [row for effect in server.effects("batch") for row in effect.body]
    assert sorted(set(sent)) == list(range(1000))
    assert len(sent) == 1100


THREADS = pytest.mark.parametrize("thread", ["main", "worker"])


@THREADS
class TestWaysToDie:
    """However the tab ends while the second step is under way, the run goes on from there."""

    def begin(self, host: Host, server: EffectServer, **options: object) -> None:
        """Returns when the second step has had its effect, and waits for the answer."""
        server.hold("second")
        host.open(**options)
        server.wait_until_held("second")

    def expect_one_repeat(self, host: Host, server: EffectServer) -> None:
        assert host.result() == [1, 2, 1]
        assert counts(server) == {"first": 1, "second": 2, "third": 1}

    def test_reload(self, host: Host, server: EffectServer, thread: str) -> None:
        self.begin(host, server, thread=thread)

        host.reload()
        server.release("second")

        self.expect_one_repeat(host, server)

    def test_tab_closed_and_reopened(
        self, chromium: Chromium, host: Host, server: EffectServer, thread: str
    ) -> None:
        self.begin(host, server, thread=thread)
        other = Host(chromium.new_page(), server.url)

        host.page.close()
        server.release("second")

        self.expect_one_repeat(other.open(thread=thread), server)

    def test_browser_killed_and_started_again(
        self, open_chromium: OpenChromium, server: EffectServer, thread: str
    ) -> None:
        first = open_chromium()
        self.begin(Host(first.page, server.url), server, thread=thread)

        first.kill()
        server.release("second")
        second = open_chromium()

        self.expect_one_repeat(Host(second.page, server.url).open(thread=thread), server)

    def test_page_crashed(
        self, chromium: Chromium, host: Host, server: EffectServer, thread: str
    ) -> None:
        self.begin(host, server, thread=thread)

        chromium.crash(host.page)
        server.release("second")

        other = Host(chromium.new_page(), server.url)
        self.expect_one_repeat(other.open(thread=thread), server)

    def test_page_frozen_and_thawed(
        self, chromium: Chromium, host: Host, server: EffectServer, thread: str
    ) -> None:
        self.begin(host, server, thread=thread)

        chromium.freeze(host.page)
        server.release("second")
        chromium.thaw(host.page)
        chromium.show(host.page)

        assert host.result() == [1, 1, 1]
        assert counts(server) == {"first": 1, "second": 1, "third": 1}

    def test_document_hidden_and_shown(
        self, chromium: Chromium, host: Host, server: EffectServer, thread: str
    ) -> None:
        self.begin(host, server, thread=thread, on_hidden="pause")

        chromium.hide(host.page)
        server.release("second")
        host.wait_for_event("step:complete", step="second")
        steps_while_hidden = [event["step"] for event in host.events("step:start")]
        chromium.show(host.page)

        assert host.result() == [1, 1, 1]
        assert steps_while_hidden == ["first", "second"]
        assert counts(server) == {"first": 1, "second": 1, "third": 1}
