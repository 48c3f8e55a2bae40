"""Tabs of one origin: who leads, what the others ask of it, and what ends a term."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from durably import (
    InvalidOption,
    NewerSchema,
    NoAnswer,
    NotOpen,
    RunConflict,
    RunFailed,
    RunNotFound,
    RunStatus,
    Step,
    Tabs,
    ValidationError,
    WaitNotFound,
    job,
    protocol,
    schema,
)
from durably.database import Database
from durably.desk import Desk
from durably.protocol import ANSWER_TIMEOUT
from durably.testing import FakeLeadership, MemoryMirror, settle
from tests.core.kit import Bodies, Gate, Tab, record, types, until
from tests.core.tabs import another, idle, pair, silence, watch_channel


@job
async def fail(step: Step) -> None:
    raise ValueError("no")


# Following


async def test_second_tab_follows_and_says_so(tab: Tab) -> None:
    async with tab.durably(idle) as leader:
        second = another(tab).durably(idle)
        told = record(second)
        async with second:
            await settle()

            assert types(told) == ["tab:follower"]
            assert (leader.tabs.role, second.tabs.role) == ("leader", "follower")
            owner = leader._leader._owner
            assert leader.tabs == Tabs("leader", owner, tab.disk.epoch, is_visible=True)
            assert second.tabs == Tabs("follower", owner, tab.disk.epoch, is_visible=True)


async def test_role_is_told_inside_the_block_only(tab: Tab) -> None:
    durably = tab.durably(idle)

    with pytest.raises(NotOpen):
        _ = durably.tabs
    async with durably:
        assert durably.tabs.role == "leader"
    with pytest.raises(NotOpen):
        _ = durably.tabs


async def test_what_a_follower_triggers_is_executed_by_the_leader_alone(
    tab: Tab, bodies: Bodies
) -> None:
    @job
    async def act(step: Step, name: str) -> str:
        return await step.run("act", bodies, name)

    async with pair(tab, act) as tabs:
        handle = await tabs.follower.trigger(act("a"), labels={"of": "the follower"})

        assert handle.disposition == "created"
        assert await handle.result() == "a is done"
        assert bodies.ran == ["a"]
        run = await tabs.follower.get_run(handle.id)
        assert run == await tabs.leader.get_run(handle.id)
        assert (run.status, run.output) == (RunStatus.COMPLETED, "a is done")
        assert await tabs.follower.list_runs(labels={"of": "the follower"}) == [run]
        assert [step.name for step in await tabs.follower.get_steps(handle.id)] == ["act"]
        assert await tabs.follower.get_attempts(handle.id) == await tabs.leader.get_attempts(
            handle.id
        )


async def test_follower_gets_the_errors_that_the_leader_would_raise(tab: Tab) -> None:
    async with pair(tab, idle, fail) as tabs:
        handle = await tabs.follower.trigger(fail())

        with pytest.raises(RunFailed, match="ValueError: no"):
            await handle.result()
        with pytest.raises(RunNotFound, match="nobody"):
            await tabs.follower.get_run("nobody")
        with pytest.raises(RunConflict, match="already failed"):
            await tabs.follower.cancel(handle.id)
        with pytest.raises(WaitNotFound, match="nothing"):
            await tabs.follower.signal("nothing")
        with pytest.raises(InvalidOption, match="limit"):
            await tabs.follower.list_runs(limit=-1)


async def test_follower_joins_a_run_by_its_idempotency_key(tab: Tab) -> None:
    async with pair(tab, idle) as tabs:
        first = await tabs.leader.trigger(idle(), idempotency_key="k", labels={"a": "b"})
        handle = await tabs.follower.trigger(idle(), idempotency_key="k")

        assert (handle.id, handle.disposition) == (first.id, "idempotent")
        assert handle.run.labels == {"a": "b"}


async def test_follower_cancels_signals_deletes_and_purges(tab: Tab, gate: Gate) -> None:
    @job
    async def ask(step: Step) -> object:
        wait = await step.prepare_wait("answer", metadata={"to": "you"})
        return (await step.wait_for(wait)).payload

    @job
    async def stand(step: Step) -> None:
        await step.run("stand", gate)

    async with pair(tab, ask, stand) as tabs:
        asking, standing = [await tabs.follower.trigger(call) for call in (ask(), stand())]
        await settle()
        (wait,) = await tabs.follower.get_waits(asking.id)
        receipt = await tabs.follower.signal(wait.id, {"yes": (1, 2)})
        await tabs.follower.cancel(standing.id)

        assert receipt.run_id == asking.id
        assert await asking.result() == {"yes": (1, 2)}
        assert (await tabs.leader.get_run(standing.id)).status is RunStatus.CANCELLED
        await tabs.follower.delete_run(standing.id)
        await tab.clock.advance(10)
        assert await tabs.follower.purge_runs(older_than=5) == 1
        assert await tabs.leader.list_runs() == []


async def test_follower_hears_what_happens_to_the_runs_it_listens_to(tab: Tab, gate: Gate) -> None:
    @job
    async def stand(step: Step) -> str:
        step.progress(1, 2)
        return await step.run("stand", gate)

    async with pair(tab, stand) as tabs:
        handle = await tabs.leader.trigger(stand())
        await gate.entered.wait()
        heard = [event async for event in _opened(tabs.follower.subscribe(handle.id), gate)]

        assert types(heard) == [
            "run:claimed",
            "run:progress",
            "step:complete",
            "run:complete",
        ]
        assert heard[-1].output == "passed"
        assert heard[-1].sequence > heard[0].sequence


async def _opened(events: AsyncIterator[Any], gate: Gate) -> AsyncIterator[Any]:
    """Open the gate when the reader has caught up with where the run stands."""
    async for event in events:
        yield event
        if event.type == "run:progress":
            gate.open_once_settled()


async def test_leader_sends_no_events_that_nobody_listens_to(tab: Tab) -> None:
    async with pair(tab, idle) as tabs:
        sent = watch_channel(tab)
        await (await tabs.leader.trigger(idle())).result()
        await settle()

        assert "event" not in sent


async def test_tab_alone_sends_one_message_when_it_begins_to_lead_and_sets_no_timer(
    tab: Tab,
) -> None:
    sent = watch_channel(tab)
    async with tab.durably(idle) as durably:
        await (await durably.trigger(idle())).result()
        await tab.clock.advance(60)

        assert sent == ["beat"]
        assert tab.clock.timers == []


# The next leader


async def test_follower_leads_when_the_leader_closes(tab: Tab) -> None:
    first = tab.durably(idle)
    await first.__aenter__()
    handle = await first.trigger(idle())
    await handle.result()
    async with another(tab).durably(idle) as second:
        told = record(second)
        await first.__aexit__(None, None, None)
        await settle()

        assert types(told) == ["tab:leader"]
        assert await second.result(handle.id) == "done"


async def test_waiting_for_a_result_outlives_the_leader(tab: Tab, gate: Gate) -> None:
    @job
    async def stand(step: Step) -> str:
        return await step.run("stand", gate)

    async with pair(tab, stand) as tabs:
        leadership: Any = tabs.leader._environment.leadership
        handle = await tabs.follower.trigger(stand())
        waiting = asyncio.ensure_future(handle.result())
        await gate.entered.wait()
        leadership.lose()
        gate.open()

        assert await waiting == "passed"
        assert tabs.follower.tabs.role == "leader"
        assert gate.visits == 2


async def test_request_under_way_when_the_leader_ends_is_sent_again_and_makes_one_run(
    tab: Tab,
) -> None:
    async with pair(tab, idle) as tabs:
        leadership: Any = tabs.leader._environment.leadership
        triggering = asyncio.ensure_future(tabs.follower.trigger(idle()))
        await until(lambda: tab.disk.image and b"idle" in tab.disk.image)
        # Stored; the answer is not on its way yet, and will never be.
        leadership.lose()
        handle = await triggering

        assert handle.disposition == "created"
        assert await handle.result() == "done"
        assert [run.id for run in await tabs.follower.list_runs()] == [handle.id]
        assert tabs.follower.tabs.role == "leader"


@pytest.mark.parametrize("keys", [{"idempotency_key": "k"}, {"concurrency_key": "k"}])
async def test_trigger_with_a_key_that_comes_twice_makes_one_run(
    tab: Tab, keys: dict[str, str]
) -> None:
    async with pair(tab, idle, autostart=False) as tabs:
        leadership: Any = tabs.leader._environment.leadership
        triggering = asyncio.ensure_future(tabs.follower.trigger(idle(), **keys))
        await until(lambda: tab.disk.image and b"idle" in tab.disk.image)
        leadership.lose()
        handle = await triggering

        assert handle.disposition == "created"
        assert len(await tabs.follower.list_runs()) == 1


async def test_cancel_that_comes_twice_is_no_conflict(tab: Tab) -> None:
    async with pair(tab, idle, autostart=False) as tabs:
        leadership: Any = tabs.leader._environment.leadership
        handle = await tabs.follower.trigger(idle())
        writes = tab.disk.writes
        cancelling = asyncio.ensure_future(tabs.follower.cancel(handle.id))
        await until(lambda: tab.disk.writes > writes)
        leadership.lose()
        await cancelling

        assert (await tabs.follower.get_run(handle.id)).status is RunStatus.CANCELLED


async def test_request_that_nobody_answers_is_given_up(tab: Tab) -> None:
    async with pair(tab, idle) as tabs:
        silence(tabs.leader)
        tabs.other.visibility.hide()  # So that it has no right to take the leadership.
        asking = asyncio.ensure_future(tabs.follower.list_runs())
        await tab.clock.advance(ANSWER_TIMEOUT)

        with pytest.raises(NoAnswer, match="'runs'"):
            await asking


@pytest.mark.parametrize("is_visible", [True, False])
async def test_doctor_of_a_follower_says_that_the_leader_is_frozen(
    tab: Tab, is_visible: bool
) -> None:
    async with pair(tab, idle) as tabs:
        if not is_visible:
            tabs.other.visibility.hide()
        silence(tabs.leader)
        asking = asyncio.ensure_future(tabs.follower.doctor())
        await tab.clock.advance(20)
        diagnosis = await asking

        assert tabs.follower.tabs.role == "follower"
        assert diagnosis.silence is not None
        assert diagnosis.silence.kind == "leader-frozen"
        assert "no life for 20 s" in str(diagnosis)
        assert "takes over after stale_threshold" in str(diagnosis)
        assert (diagnosis.health, diagnosis.unfinished, diagnosis.runs) == (None, None, ())
        assert not diagnosis.is_sound


async def test_doctor_of_a_follower_waits_for_a_leader_that_takes_its_time_and_goes_on(
    tab: Tab, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(desk: Desk, limit: int) -> object:
        await gate()
        return await examine(desk, limit)

    examine = Desk.doctor
    monkeypatch.setattr(Desk, "doctor", slow)
    async with pair(tab, idle) as tabs:
        asking = asyncio.ensure_future(tabs.follower.doctor())
        await tab.clock.advance(60)
        gate.open()
        diagnosis = await asking

        assert diagnosis.silence is None
        assert diagnosis.is_sound


async def test_follower_that_stood_still_itself_calls_no_leader_frozen(tab: Tab) -> None:
    async with pair(tab, idle) as tabs:
        silence(tabs.leader)
        await tab.clock.advance(9)
        await tab.clock.freeze(100)
        asking = asyncio.ensure_future(tabs.follower.doctor())
        await tab.clock.advance(9)

        assert not asking.done()
        asking.cancel()


async def test_request_of_another_version_is_refused_with_a_reason(tab: Tab) -> None:
    import json

    from durably.local import LocalChannel

    async with tab.durably(idle):
        replies: list[dict[str, Any]] = []
        channel = LocalChannel(f"tabs-{id(tab.lock)}")
        channel.subscribe(lambda message: replies.append(json.loads(message)))
        for verb, arguments in (("teleport", []), ("run", {"record": "Nothing"}), ("_flush", [])):
            request = {"protocol": 1, "kind": "request", "from": "x", "id": verb}
            channel.post(json.dumps({**request, "verb": verb, "arguments": arguments}))
        channel.post("no JSON")
        await settle()

        errors = {reply["id"]: reply["error"] for reply in replies if reply["kind"] == "reply"}
        assert {verb: error["error"] for verb, error in errors.items()} == {
            "teleport": "ValidationError",
            "run": "ValidationError",
            "_flush": "ValidationError",
        }


async def test_request_of_another_protocol_is_refused_with_a_reason(
    tab: Tab, caplog: pytest.LogCaptureFixture
) -> None:
    other = another(tab)
    async with tab.durably(idle) as leader:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(protocol, "PROTOCOL", 2)
            async with other.durably(idle) as newer:
                with pytest.raises(ValidationError, match="another version of durably"):
                    await newer.trigger(idle())

                assert await leader.list_runs() == []
    assert "has another version of durably; reload" in caplog.text


async def test_leader_without_a_job_leaves_its_runs_to_the_next_leader_that_has_it(
    tab: Tab,
) -> None:
    @job
    async def new_in_this_version(step: Step) -> str:
        return "done"

    old = tab.durably(idle)
    await old.__aenter__()
    async with another(tab).durably(new_in_this_version) as new:
        handle = await new.trigger(new_in_this_version())
        await settle()
        before = await new.get_run(handle.id)
        (diagnosed,) = (await new.doctor()).runs
        await old.__aexit__(None, None, None)

        assert before.status is RunStatus.PENDING
        assert "unknown-job" in diagnosed.kinds
        assert await handle.result() == "done"
        assert new.tabs.role == "leader"


async def test_tab_of_an_older_version_stands_back_behind_a_newer_schema_and_says_so(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer_schema = schema.SCHEMA_VERSION
    async with tab.life(idle, autostart=False) as newer:
        await newer.durably.trigger(idle())
        async with another(tab).durably(idle) as older:
            told = record(older)
            monkeypatch.setattr(schema, "SCHEMA_VERSION", 1)
            await newer.close()
            with pytest.raises(NewerSchema, match="update durably"):
                await older.list_runs()
            image = tab.disk.image

            assert types(told) == ["storage:refused", "worker:error"]
            assert told[0].error == "NewerSchema"
            assert f"schema {newer_schema}" in told[0].reason
    monkeypatch.undo()
    assert tab.disk.image == image
    async with tab.durably(idle) as updated:
        (run,) = await updated.list_runs()

        assert await updated.result(run.id) == "done"


async def test_messages_that_cannot_be_read_are_passed_over(
    tab: Tab, caplog: pytest.LogCaptureFixture
) -> None:
    import json

    from durably.local import LocalChannel

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: complaints.append(context)
    )
    async with pair(tab, idle) as tabs:
        channel = LocalChannel(f"tabs-{id(tab.lock)}")
        for message in (
            {"kind": "listen"},
            {"kind": "reply"},
            {"kind": "beat"},
            {"kind": "event", "event": {"record": "events.Nothing"}},
            {"kind": "event", "event": {"record": "os.environ"}},
        ):
            channel.post(json.dumps({"protocol": 1, "from": "x", **message}))
        await settle()

        assert complaints == []
        assert caplog.text.count("A message of another tab cannot be read") >= 4
        assert await (await tabs.follower.trigger(idle())).result() == "done"


# Terms


async def test_lost_leadership_ends_the_term_and_a_new_one_begins(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    @job
    async def two_steps(step: Step) -> str:
        await step.run("a", bodies, "a")
        await gate()
        return await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        told = record(durably)
        epoch = tab.disk.epoch
        durably._environment.leadership.lose()  # type: ignore[union-attr]
        gate.open()

        assert await handle.result() == "b is done"
        assert types(told)[0] == "tab:leader"
        assert tab.disk.epoch == epoch + 1
        assert bodies.ran == ["a", "b"]


async def test_tab_that_has_lost_the_leadership_makes_one_last_commit(tab: Tab, gate: Gate) -> None:
    @job
    async def work(step: Step) -> str:
        return await step.run("work", gate)

    async with tab.durably(work, heartbeat_interval=1) as durably:
        await durably.trigger(work())
        await gate.entered.wait()
        await tab.clock.advance(
            1.5
        )  # A renewal is written; the next checkpoint would take it along.
        next_one = FakeLeadership(tab.lock)
        waiting = asyncio.ensure_future(next_one.acquire("the next", lambda: None))
        await settle()
        before = tab.disk.writes
        durably._environment.leadership.lose()  # type: ignore[union-attr]
        await settle()

        assert tab.disk.writes - before == 1
        await waiting
        next_one.release()


async def test_commit_under_way_when_the_leadership_is_lost_does_not_count_for_the_next_term(
    tab: Tab,
) -> None:
    async with tab.durably(idle) as durably:
        for _ in range(5):
            await (await durably.trigger(idle())).result()
        triggering = asyncio.ensure_future(durably.trigger(idle()))
        await asyncio.sleep(0)
        durably._environment.leadership.lose()  # type: ignore[union-attr]
        told = record(durably)
        await settle()
        await asyncio.gather(triggering, return_exceptions=True)

        assert types(told).count("tab:leader") == 1
        assert "storage:lost" not in types(told)
        assert await (await durably.trigger(idle())).result() == "done"


async def test_waiting_for_a_result_outlives_a_term(tab: Tab, gate: Gate) -> None:
    @job
    async def wait(step: Step) -> str:
        return await step.run("wait", gate)

    async with tab.durably(wait) as durably:
        handle = await durably.trigger(wait())
        waiting = asyncio.ensure_future(handle.result())
        await gate.entered.wait()
        tab.disk.epoch += 1  # Another tab takes over, and is gone again.
        gate.open()

        assert await waiting == "passed"


async def test_fenced_tab_writes_nothing_more(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def two_steps(step: Step) -> None:
        await step.run("a", gate)
        await step.run("b", bodies, "b")

    async with tab.durably(two_steps) as durably:
        handle = await durably.trigger(two_steps())
        await gate.entered.wait()
        # Another tab has taken the lock, and works on.
        thief = object()
        tab.lock.holder = thief
        other = Database("test", MemoryMirror("test", tab.disk), tab.clock)
        await other.open()
        image, writes = tab.disk.image, tab.disk.writes
        told = record(durably)
        gate.open()
        await settle()

        assert (tab.disk.image, tab.disk.writes) == (image, writes)
        assert "step:complete" not in types(told)
        assert types(told) == ["tab:follower", "step:cancel", "tab:follower"]
        assert bodies.ran == []
        await other.close()
        tab.lock.release(thief)
        await durably.result(handle.id)
        assert gate.visits == 2


async def test_leadership_that_is_lost_after_leaving_opens_nothing(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        pass
    durably._environment.leadership.lose()  # type: ignore[union-attr]

    with pytest.raises(NotOpen):
        await durably.trigger(idle())


async def test_trigger_that_is_fenced_is_asked_of_the_next_leader(tab: Tab) -> None:
    async with tab.durably(idle) as durably:
        tab.disk.epoch += 1
        handle = await durably.trigger(idle())

        assert await handle.result() == "done"
        assert len(await durably.list_runs()) == 1
