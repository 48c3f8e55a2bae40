"""Waits: prepared, signalled or timed out, once; and what a signal is answered with."""

from __future__ import annotations

import asyncio
import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from durably import (
    Durably,
    InvalidOption,
    Receipt,
    RunFailed,
    RunStatus,
    SignalConflict,
    Step,
    UnstorableValue,
    Wait,
    WaitIsOver,
    WaitNotFound,
    WaitResult,
    job,
)
from durably.testing import settle
from tests.core.kit import Gate, Tab, only_wait, waits_of

HOUR = 3600


@dataclass
class Decision:
    who: str
    at: datetime


@job
async def ask(step: Step, timeout: float | None = None) -> object:
    wait = await step.prepare_wait("answer", timeout=timeout)
    return (await step.wait_for(wait)).payload


@job
async def ask_for_an_hour(step: Step) -> tuple[bool, object]:
    result = await step.wait_for(await step.prepare_wait("answer", timeout=HOUR))
    return result.timed_out, result.payload


# Signals


PAYLOADS: list[object] = [
    None,
    False,
    math.nan,
    (1, 2),
    datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
    Decision("Ada", datetime(2026, 11, 23, 12, 0)),
    {"text": "half a \ud800 pair", "bytes": b"\x00"},
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: type(payload).__name__)
async def test_job_gets_the_payload_of_the_signal_as_it_was_sent(tab: Tab, payload: object) -> None:
    got: list[WaitResult] = []

    @job
    async def look(step: Step) -> None:
        got.append(await step.wait_for(await step.prepare_wait("answer")))

    async with tab.durably(look) as durably:
        handle = await durably.trigger(look())
        wait = await only_wait(durably, handle.id)
        await durably.signal(wait.id, payload, signal_id="mine")
        await handle.result()

        (result,) = got
        assert (result.timed_out, result.signal_id) == (False, "mine")
        assert type(result.payload) is type(payload)
        assert repr(result.payload) == repr(payload)


async def test_signal_that_comes_before_the_run_waits_is_kept(tab: Tab, gate: Gate) -> None:
    @job
    async def ask_late(step: Step) -> object:
        wait = await step.prepare_wait("answer")
        await gate()
        return (await step.wait_for(wait)).payload

    async with tab.durably(ask_late) as durably:
        handle = await durably.trigger(ask_late())
        await gate.entered.wait()
        (wait,) = await durably.get_waits(handle.id)
        await durably.signal(wait.id, "early")
        gate.open()

        assert await handle.result() == "early"
        assert (await durably.get_run(handle.id)).lease_generation == 1


async def test_signal_that_comes_before_the_wait_is_kept_over_a_crash(tab: Tab, gate: Gate) -> None:
    @job
    async def ask_late(step: Step) -> object:
        wait = await step.prepare_wait("answer")
        await gate()
        return (await step.wait_for(wait)).payload

    async with tab.life(ask_late) as life:
        handle = await life.durably.trigger(ask_late())
        await gate.entered.wait()
        (wait,) = await life.durably.get_waits(handle.id)
        await life.durably.signal(wait.id, "early")
        await life.kill()
    gate.open()
    async with tab.durably(ask_late) as durably:
        assert await durably.result(handle.id) == "early"


async def test_signal_is_durable_when_it_returns(tab: Tab) -> None:
    async with tab.life(ask) as life:
        handle = await life.durably.trigger(ask())
        wait = await only_wait(life.durably, handle.id)
        tab.visibility.hide()  # So that nothing else is written.
        await settle()
        await life.durably.signal(wait.id, "go")
        await life.kill()
    async with tab.durably(ask) as later:
        (stored,) = await later.get_waits(handle.id)
        assert (stored.outcome, stored.payload) == ("signal", "go")
        tab.visibility.show()
        assert await later.result(handle.id) == "go"


async def test_receipt_says_what_was_accepted_and_when(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)
        await tab.clock.advance(7)
        receipt = await durably.signal(wait.id, "go", signal_id="mine")

        assert receipt == Receipt(wait.id, handle.id, "mine", tab.clock.now())


async def test_signal_without_an_id_is_given_one(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)
        receipt = await durably.signal(wait.id)
        (stored,) = await durably.get_waits(handle.id)

        assert receipt.signal_id == stored.signal_id
        with pytest.raises(WaitIsOver):
            await durably.signal(wait.id)


async def signalled(tab: Tab, durably: Durably, payload: object) -> tuple[str, str, Receipt]:
    handle = await durably.trigger(ask(timeout=HOUR))
    wait = await only_wait(durably, handle.id)
    receipt = await durably.signal(wait.id, payload, signal_id="mine")
    await tab.clock.advance(10)
    return handle.id, wait.id, receipt


async def test_same_signal_gets_the_first_receipt_again(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        run_id, wait_id, first = await signalled(tab, durably, {"a": 1, "b": [2]})
        await durably.result(run_id)
        await tab.clock.advance(2 * HOUR)

        # The order of the keys makes no other payload.
        assert await durably.signal(wait_id, {"b": [2], "a": 1}, signal_id="mine") == first


async def test_same_signal_gets_the_first_receipt_again_in_a_later_life(tab: Tab) -> None:
    async with tab.life(ask) as life:
        _, wait_id, first = await signalled(tab, life.durably, "go")
        await life.kill()
    async with tab.durably() as later:
        assert await later.signal(wait_id, "go", signal_id="mine") == first


async def test_same_signal_gets_the_first_receipt_again_after_a_cancel(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)
        tab.visibility.hide()  # The run is not claimed.
        first = await durably.signal(wait.id, "go", signal_id="mine")
        await durably.cancel(handle.id)

        assert await durably.signal(wait.id, "go", signal_id="mine") == first


@pytest.mark.parametrize(
    ("first", "second"), [("go", "stop"), (1, True), (1, 1.0), ((1,), [1]), ({"a": 1}, {"a": 2})]
)
async def test_signal_id_with_another_payload_is_a_conflict(
    tab: Tab, first: object, second: object
) -> None:
    async with tab.durably(ask) as durably:
        run_id, wait_id, _ = await signalled(tab, durably, first)

        with pytest.raises(SignalConflict, match=r"'mine'.*another payload"):
            await durably.signal(wait_id, second, signal_id="mine")
        assert repr(await durably.result(run_id)) == repr(first)


async def test_second_signal_is_told_which_came_first(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        run_id, wait_id, _ = await signalled(tab, durably, "go")

        with pytest.raises(WaitIsOver, match=r"'answer'.*'mine' came first"):
            await durably.signal(wait_id, "go", signal_id="another")
        assert await durably.result(run_id) == "go"


async def test_signal_ids_belong_to_their_wait(tab: Tab) -> None:
    async with tab.durably(ask, max_concurrent_runs=2) as durably:
        handles = [await durably.trigger(ask()) for _ in range(2)]
        waits = [await only_wait(durably, handle.id) for handle in handles]
        for wait, payload in zip(waits, ("one", "two"), strict=True):
            await durably.signal(wait.id, payload, signal_id="the same")

        assert [await handle.result() for handle in handles] == ["one", "two"]


# Deadlines


async def test_wait_times_out_at_its_deadline(tab: Tab) -> None:
    async with tab.durably(ask_for_an_hour) as durably:
        handle = await durably.trigger(ask_for_an_hour())
        wait = await only_wait(durably, handle.id)
        await tab.clock.advance(HOUR - 1)
        was_waiting = (await durably.get_run(handle.id)).is_waiting
        await tab.clock.advance(1)

        assert wait.deadline_at == wait.created_at + HOUR * 1000
        assert was_waiting
        assert await handle.result() == (True, None)


async def test_timeout_can_be_a_timedelta(tab: Tab) -> None:
    @job
    async def ask_for_a_day(step: Step) -> bool:
        wait = await step.prepare_wait("answer", timeout=timedelta(days=1))
        return (await step.wait_for(wait)).timed_out

    async with tab.durably(ask_for_a_day) as durably:
        handle = await durably.trigger(ask_for_a_day())
        await settle()
        await tab.clock.advance(24 * HOUR)

        assert await handle.result() is True


async def test_signal_before_the_deadline_wins(tab: Tab) -> None:
    async with tab.durably(ask_for_an_hour) as durably:
        handle = await durably.trigger(ask_for_an_hour())
        wait = await only_wait(durably, handle.id)
        await tab.clock.advance(HOUR - 1)
        tab.visibility.hide()  # The deadline passes before the run goes on.
        await durably.signal(wait.id, "in time")
        await tab.clock.advance(2)
        tab.visibility.show()

        assert await handle.result() == (False, "in time")


async def test_signal_behind_the_deadline_is_refused(tab: Tab) -> None:
    async with tab.durably(ask_for_an_hour) as durably:
        handle = await durably.trigger(ask_for_an_hour())
        wait = await only_wait(durably, handle.id)
        await tab.clock.advance(HOUR)

        with pytest.raises(WaitIsOver, match="its time was over"):
            await durably.signal(wait.id, "late")
        assert await handle.result() == (True, None)


async def test_signal_behind_the_deadline_is_refused_though_nothing_has_looked_yet(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def ask_late(step: Step) -> bool:
        wait = await step.prepare_wait("answer", timeout=HOUR)
        await gate()
        return (await step.wait_for(wait)).timed_out

    async with tab.durably(ask_late) as durably:
        handle = await durably.trigger(ask_late())
        await gate.entered.wait()
        (wait,) = await durably.get_waits(handle.id)
        tab.clock._move(HOUR)  # No timer fires.
        with pytest.raises(WaitIsOver, match="its time was over"):
            await durably.signal(wait.id, "late")
        gate.open()

        assert await handle.result() is True


async def test_deadline_that_passed_before_the_run_waits_makes_it_wait_no_more(
    tab: Tab, gate: Gate
) -> None:
    @job
    async def ask_late(step: Step) -> bool:
        wait = await step.prepare_wait("answer", timeout=1)
        await gate()
        return (await step.wait_for(wait)).timed_out

    async with tab.durably(ask_late) as durably:
        handle = await durably.trigger(ask_late())
        await gate.entered.wait()
        tab.clock._move(2)  # No timer fires.
        gate.open()

        assert await handle.result() is True
        assert (await durably.get_run(handle.id)).lease_generation == 1


async def test_deadline_is_fixed_when_the_wait_is_first_prepared(tab: Tab) -> None:
    timeouts = iter([60, 9999, 9999])

    @job
    async def ask_again(step: Step) -> bool:
        wait = await step.prepare_wait("answer", timeout=next(timeouts))
        return (await step.wait_for(wait)).timed_out

    async with tab.life(ask_again) as life:
        handle = await life.durably.trigger(ask_again())
        wait = await only_wait(life.durably, handle.id)
        await tab.clock.advance(40)
        await life.kill()
    async with tab.durably(ask_again) as durably:
        await tab.clock.advance(19)
        (later,) = await waits_of(durably, handle.id)
        await tab.clock.advance(1)

        assert later == wait
        assert await durably.result(handle.id) is True


async def test_deadline_that_passes_between_two_lives_ends_the_wait(tab: Tab) -> None:
    async with tab.life(ask_for_an_hour) as life:
        handle = await life.durably.trigger(ask_for_an_hour())
        await only_wait(life.durably, handle.id)
        await life.kill()
    await tab.clock.advance(2 * HOUR)
    async with tab.durably(ask_for_an_hour) as durably:
        assert await durably.result(handle.id) == (True, None)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_wall_clock_that_jumps_ends_no_wait_early_or_late(tab: Tab, jump: int) -> None:
    async with tab.durably(ask_for_an_hour) as durably:
        handle = await durably.trigger(ask_for_an_hour())
        await only_wait(durably, handle.id)
        await tab.clock.advance(HOUR / 2)
        tab.clock.jump(jump)
        await tab.clock.advance(HOUR / 2 - 1)
        await durably.get_run(handle.id)
        await only_wait(durably, handle.id)
        await tab.clock.advance(1)

        assert await handle.result() == (True, None)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_wall_clock_that_jumps_ends_no_wait_early_for_a_signal(tab: Tab, jump: int) -> None:
    async with tab.durably(ask_for_an_hour) as durably:
        handle = await durably.trigger(ask_for_an_hour())
        wait = await only_wait(durably, handle.id)
        await tab.clock.advance(HOUR / 2)
        tab.clock.jump(jump)
        await durably.signal(wait.id, "in time")

        assert await handle.result() == (False, "in time")


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_wait_prepared_after_a_jump_ends_in_time(tab: Tab, jump: int) -> None:
    async with tab.durably(ask_for_an_hour) as durably:
        tab.clock.jump(jump)
        handle = await durably.trigger(ask_for_an_hour())
        await only_wait(durably, handle.id)
        await tab.clock.advance(HOUR - 1)
        await only_wait(durably, handle.id)
        await tab.clock.advance(1)

        assert await handle.result() == (True, None)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_wait_prepared_after_a_jump_ends_in_time_in_the_next_life(
    tab: Tab, jump: int
) -> None:
    async with tab.life(ask_for_an_hour) as life:
        tab.clock.jump(jump)
        handle = await life.durably.trigger(ask_for_an_hour())
        await only_wait(life.durably, handle.id)
        await life.kill()
    async with tab.durably(ask_for_an_hour) as durably:
        await tab.clock.advance(HOUR - 1)
        await only_wait(durably, handle.id)
        await tab.clock.advance(1)

        assert await durably.result(handle.id) == (True, None)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_wait_prepared_after_a_jump_beside_another_does_not_end_early_in_the_next_life(
    tab: Tab, jump: int
) -> None:
    async with tab.life(ask, ask_for_an_hour) as life:
        first = await life.durably.trigger(ask(timeout=9 * HOUR))
        await only_wait(life.durably, first.id)
        tab.clock.jump(jump)
        second = await life.durably.trigger(ask_for_an_hour())
        await only_wait(life.durably, second.id)
        await life.kill()
    async with tab.durably(ask, ask_for_an_hour) as durably:
        await tab.clock.advance(HOUR - 1)

        assert (await only_wait(durably, second.id)).outcome == "open"


async def test_machine_that_slept_finds_the_deadline_over_when_it_is_seen_again(tab: Tab) -> None:
    async with tab.durably(ask_for_an_hour) as durably:
        handle = await durably.trigger(ask_for_an_hour())
        await only_wait(durably, handle.id)
        tab.visibility.hide()
        await settle()
        tab.clock.jump(2 * HOUR)  # Asleep: the other clock stood still.
        tab.visibility.show()

        assert await handle.result() == (True, None)


async def test_no_timer_is_longer_than_a_browser_can_count(tab: Tab) -> None:
    year = 365 * 24 * HOUR
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask(timeout=year))
        await only_wait(durably, handle.id)
        waiting = asyncio.ensure_future(handle.result(timeout=2 * year))
        await settle()
        timers = tab.clock.timers
        await tab.clock.advance(year)

        assert len(timers) >= 2
        assert max(timers) < 2**31 / 1000
        assert await waiting is None


# What can be asked


async def test_waits_are_listed_in_the_order_in_which_they_were_prepared(tab: Tab) -> None:
    @job
    async def prepare(step: Step) -> None:
        for name in ("c", "a", "b"):
            await step.prepare_wait(name, metadata={"name": name})

    async with tab.durably(prepare) as durably:
        handle = await durably.trigger(prepare())
        await handle.result()
        waits = await durably.get_waits(handle.id)

        assert [wait.name for wait in waits] == ["c", "a", "b"]
        assert [wait.metadata for wait in waits] == [{"name": name} for name in ("c", "a", "b")]


async def test_open_waits_of_a_run_that_ended_take_no_signal(tab: Tab) -> None:
    @job
    async def prepare(step: Step) -> str:
        return (await step.prepare_wait("unused")).id

    async with tab.durably(prepare) as durably:
        handle = await durably.trigger(prepare())
        wait_id = await handle.result()
        (wait,) = await durably.get_waits(handle.id)

        assert wait.outcome == "closed"
        with pytest.raises(WaitIsOver, match="its run has ended"):
            await durably.signal(wait_id, "late")


async def test_id_of_a_wait_is_durable_before_the_job_has_it(tab: Tab) -> None:
    had: list[str] = []

    @job
    async def prepare(step: Step) -> object:
        wait = await step.prepare_wait("answer")
        had.append(wait.id)
        if len(had) == 1:
            tab.disk.is_dead = True  # Nothing lands from here on.
        return (await step.wait_for(wait)).payload

    async with tab.life(prepare) as life:
        await life.durably.trigger(prepare())
        await settle()
    async with tab.durably(prepare) as durably:
        await durably.signal(had[0], "go")
        (run,) = await durably.list_runs()

        assert await durably.result(run.id) == "go"
        assert set(had) == {had[0]}


async def test_wait_and_step_may_have_the_same_name(tab: Tab) -> None:
    @job
    async def both(step: Step) -> object:
        await step.run("answer", lambda: None)
        return (await step.wait_for(await step.prepare_wait("answer"))).payload

    async with tab.durably(both) as durably:
        handle = await durably.trigger(both())
        await durably.signal((await only_wait(durably, handle.id)).id, "go")

        assert await handle.result() == "go"


# Bad input


def circular() -> dict[str, object]:
    value: dict[str, object] = {}
    value["itself"] = value
    return value


def deep() -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(5000):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"name": ""}, "a wait's name"),
        ({"name": 7}, "a wait's name"),
        ({"name": None}, "a wait's name"),
        ({"name": "half a \ud800 pair"}, "a wait's name"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"timeout": math.inf}, "timeout"),
        ({"timeout": 1e300}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": "60"}, "timeout"),
        ({"timeout": timedelta(seconds=-1)}, "timeout"),
        ({"metadata": 7}, "metadata"),
        ({"metadata": [1]}, "metadata"),
        ({"metadata": {1: 2}}, "metadata"),
        ({"metadata": {"of": (1, 2)}}, "metadata"),
        ({"metadata": {"of": math.nan}}, "metadata"),
        ({"metadata": {"of": object()}}, "metadata"),
        ({"metadata": circular()}, "metadata"),
        ({"metadata": deep()}, "metadata"),
    ],
    ids=lambda value: None,
)
async def test_wait_that_cannot_be_prepared_is_refused_and_not_stored(
    tab: Tab, options: dict[str, Any], problem: str
) -> None:
    errors: list[InvalidOption] = []

    @job
    async def prepare(step: Step) -> None:
        try:
            await step.prepare_wait(**{"name": "answer", **options})
        except InvalidOption as error:
            errors.append(error)

    async with tab.durably(prepare) as durably:
        handle = await durably.trigger(prepare())
        await handle.result()

        assert [error.option for error in errors] == [problem]
        assert await durably.get_waits(handle.id) == []


async def test_name_of_a_wait_used_twice_is_refused_with_both_places(tab: Tab) -> None:
    @job
    async def twice(step: Step) -> None:
        await step.prepare_wait("answer")
        await step.prepare_wait("answer")

    async with tab.durably(twice) as durably:
        handle = await durably.trigger(twice())
        with pytest.raises(RunFailed, match=r"DuplicateStep.*'answer'.*test_waits.py:\d+.*py:\d+"):
            await handle.result()


async def test_wait_of_another_run_is_refused(tab: Tab) -> None:
    waits: list[Wait] = []

    @job
    async def swap(step: Step) -> None:
        waits.append(await step.prepare_wait("answer"))
        await step.wait_for(waits[0])

    async with tab.durably(swap) as durably:
        first = await durably.trigger(swap())
        await only_wait(durably, first.id)
        second = await durably.trigger(swap())

        with pytest.raises(RunFailed, match=r"InvalidOption: wait .*a wait that this run"):
            await second.result()


@pytest.mark.parametrize("wait", [None, "answer", 7])
async def test_what_is_no_wait_is_not_waited_for(tab: Tab, wait: Any) -> None:
    @job
    async def confuse(step: Step) -> None:
        await step.wait_for(wait)

    async with tab.durably(confuse) as durably:
        handle = await durably.trigger(confuse())
        with pytest.raises(RunFailed, match="InvalidOption: wait is"):
            await handle.result()


async def test_signal_for_a_wait_that_there_is_not_is_refused(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        with pytest.raises(WaitNotFound, match="'nowhere'"):
            await durably.signal("nowhere", 1)


async def test_signal_for_a_run_that_was_deleted_is_refused(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        run_id, wait_id, _ = await signalled(tab, durably, "go")
        await durably.delete_run(run_id)

        with pytest.raises(WaitNotFound):
            await durably.signal(wait_id, "go", signal_id="mine")


@pytest.mark.parametrize("wait_id", [None, 7, "", b"id", ["id"]])
async def test_id_of_a_wait_is_text(tab: Tab, wait_id: Any) -> None:
    async with tab.durably(ask) as durably:
        with pytest.raises((InvalidOption, WaitNotFound)):
            await durably.signal(wait_id, 1)


async def test_wait_itself_is_not_taken_for_its_id(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait: Any = await only_wait(durably, handle.id)

        with pytest.raises(InvalidOption, match="wait_id"):
            await durably.signal(wait, 1)


@pytest.mark.parametrize("signal_id", ["", 7, b"mine", "half a \ud800 pair"])
async def test_id_of_a_signal_is_text(tab: Tab, signal_id: Any) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)

        with pytest.raises(InvalidOption, match="signal_id"):
            await durably.signal(wait.id, 1, signal_id=signal_id)
        await only_wait(durably, handle.id)


async def test_payload_that_cannot_be_stored_is_refused_and_the_run_waits_on(tab: Tab) -> None:
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)

        with pytest.raises(UnstorableValue, match=r"payload\.of\[1\]"):
            await durably.signal(wait.id, {"of": [1, object()]})
        assert (await only_wait(durably, handle.id)).outcome == "open"


async def test_run_whose_payload_cannot_be_read_here_stays_pending(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("a_module_of_another_page")
    exec("import enum\nclass Answer(enum.Enum):\n    YES = 1", vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yes = vars(module)["Answer"].YES
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)
        tab.visibility.hide()
        await durably.signal(wait.id, yes)
        monkeypatch.delitem(sys.modules, module.__name__)
        tab.visibility.show()
        await settle()
        without_class = await durably.get_run(handle.id)

    monkeypatch.setitem(sys.modules, module.__name__, module)
    async with tab.durably(ask) as later:
        assert (without_class.status, without_class.error) == (RunStatus.PENDING, None)
        assert await later.result(handle.id) is yes


async def test_signal_can_be_sent_again_where_its_payload_cannot_be_read(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("a_module_of_another_page")
    exec("import enum\nclass Answer(enum.Enum):\n    YES = 1", vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yes = vars(module)["Answer"].YES
    async with tab.durably(ask) as durably:
        handle = await durably.trigger(ask())
        wait = await only_wait(durably, handle.id)
        await durably.signal(wait.id, yes, signal_id="mine")
        monkeypatch.delitem(sys.modules, module.__name__)

        with pytest.raises(SignalConflict):
            await durably.signal(wait.id, "yes", signal_id="mine")
