"""step.all: named steps side by side, all of them settled before it returns."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from durably import (
    InvalidOption,
    RunFailed,
    RunStatus,
    Step,
    StepFailed,
    StepOutputError,
    job,
)
from durably.testing import settle
from tests.core.kit import Bodies, Gate, Tab, interrupted, record, steps_told


def fail(message: str) -> None:
    raise OSError(message)


async def test_results_come_by_name_in_the_order_given(tab: Tab) -> None:
    gates = {name: Gate() for name in ("c", "a", "b")}
    ended: list[str] = []

    async def work(name: str) -> str:
        await gates[name]()
        ended.append(name)
        return name.upper()

    @job
    async def side_by_side(step: Step) -> list[tuple[str, str]]:
        results = await step.all(c=lambda: work("c"), a=lambda: work("a"), b=lambda: work("b"))
        return [(name, result) for name, result in results.items()]

    async with tab.durably(side_by_side) as durably:
        handle = await durably.trigger(side_by_side())
        for name in ("b", "c", "a"):
            await gates[name].open_once_settled()
        result = await handle.result()

        assert ended == ["b", "c", "a"]
        assert result == [("c", "C"), ("a", "A"), ("b", "B")]


async def test_all_are_under_way_at_once(tab: Tab) -> None:
    gates = [Gate(), Gate(), Gate()]

    @job
    async def side_by_side(step: Step) -> None:
        await step.all({f"part {number}": gate for number, gate in enumerate(gates)})

    async with tab.durably(side_by_side) as durably:
        handle = await durably.trigger(side_by_side())
        await asyncio.gather(*(gate.entered.wait() for gate in gates))
        for gate in gates:
            gate.open()
        await handle.result()

        assert [gate.visits for gate in gates] == [1, 1, 1]


async def test_functions_can_be_sync_and_names_any_text(tab: Tab) -> None:
    async def later() -> int:
        return 2

    @job
    async def mixed(step: Step) -> dict[str, object]:
        return await step.all({"with a space": lambda: 1, "later": later}, more=lambda: 3)

    async with tab.durably(mixed) as durably:
        result = await (await durably.trigger(mixed())).result()

        assert result == {"with a space": 1, "later": 2, "more": 3}


async def test_nothing_at_all_is_done_at_once(tab: Tab) -> None:
    @job
    async def nothing(step: Step) -> dict[str, object]:
        return await step.all({})

    async with tab.durably(nothing) as durably:
        assert await (await durably.trigger(nothing())).result() == {}


async def test_finished_ones_are_not_run_again(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def side_by_side(step: Step) -> dict[str, object]:
        return await step.all(done=lambda: bodies("done"), slow=gate)

    async with tab.life(side_by_side) as life:
        handle = await life.durably.trigger(side_by_side())
        await gate.entered.wait()
        await settle()
        await life.kill()
    gate.open()
    async with tab.durably(side_by_side) as durably:
        assert await durably.result(handle.id) == {"done": "done is done", "slow": "passed"}
        assert bodies.ran == ["done"]


async def test_failure_is_raised_when_all_have_settled(tab: Tab, gate: Gate) -> None:
    @job
    async def side_by_side(step: Step) -> None:
        await step.all(broken=lambda: fail("out of order"), slow=gate)

    async with tab.durably(side_by_side) as durably:
        handle = await durably.trigger(side_by_side())
        await gate.entered.wait()
        await settle()
        before = (await durably.get_run(handle.id)).status
        gate.open()

        with pytest.raises(RunFailed, match="out of order in step 'broken'"):
            await handle.result()
        assert before is RunStatus.RUNNING


async def test_first_failure_in_the_order_given_is_raised_whichever_came_first(tab: Tab) -> None:
    gates = {name: Gate() for name in ("a", "b", "c")}

    async def break_down(name: str) -> None:
        await gates[name]()
        raise OSError(f"{name} is out of order")

    @job
    async def side_by_side(step: Step) -> None:
        await step.all(
            fine=lambda: None,
            a=lambda: break_down("a"),
            b=lambda: break_down("b"),
            c=lambda: break_down("c"),
        )

    async with tab.durably(side_by_side) as durably:
        handle = await durably.trigger(side_by_side())
        for name in ("c", "b", "a"):
            await gates[name].open_once_settled()

        with pytest.raises(RunFailed, match="a is out of order in step 'a'"):
            await handle.result()


async def test_failures_that_are_not_raised_are_not_complained_about(tab: Tab) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: complaints.append(context)
    )

    @job
    async def side_by_side(step: Step) -> str:
        try:
            await step.all(a=lambda: fail("a"), b=lambda: fail("b"), c=lambda: fail("c"))
        except StepFailed as error:
            return error.step
        return "not reached"

    async with tab.durably(side_by_side) as durably:
        assert await (await durably.trigger(side_by_side())).result() == "a"
    await settle()
    gc.collect()

    assert complaints == []


async def test_siblings_of_a_failed_one_keep_their_checkpoints(
    tab: Tab, gate: Gate, bodies: Bodies
) -> None:
    def break_down() -> None:
        bodies("broken")
        raise OSError("out of order")

    @job
    async def side_by_side(step: Step) -> list[str]:
        try:
            await step.all(a=lambda: bodies("a"), broken=break_down, b=lambda: bodies("b"))
        except StepFailed as error:
            await gate()
            return [error.step]
        return []

    run_id = await interrupted(tab, side_by_side, gate)
    async with tab.durably(side_by_side) as durably:
        told = record(durably)
        result = await durably.result(run_id)
        steps = {step.name: step.status for step in await durably.get_steps(run_id)}

        assert result == ["broken"]
        assert sorted(bodies.ran) == ["a", "b", "broken"]
        assert steps == {"a": "completed", "broken": "failed", "b": "completed"}
        assert steps_told(told, "step:start") == []


async def test_result_that_cannot_be_stored_is_the_failure_of_its_step(tab: Tab) -> None:
    caught: list[StepFailed] = []

    @job
    async def side_by_side(step: Step) -> None:
        try:
            await step.all(fine=lambda: 1, strange=object)
        except StepFailed as error:
            caught.append(error)

    async with tab.durably(side_by_side) as durably:
        handle = await durably.trigger(side_by_side())
        await handle.result()

        assert [(type(error), error.step) for error in caught] == [(StepOutputError, "strange")]
        assert len(await durably.get_steps(handle.id)) == 2


async def test_cancel_outranks_a_failure(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def side_by_side(step: Step) -> None:
        try:
            await step.all(broken=lambda: fail("out of order"), slow=gate)
        except StepFailed:
            bodies("caught")

    async with tab.durably(side_by_side) as durably:
        handle = await durably.trigger(side_by_side())
        await gate.entered.wait()
        await settle()
        await durably.cancel(handle.id)
        await settle()

        assert (await durably.get_run(handle.id)).status is RunStatus.CANCELLED
        assert bodies.ran == []


async def test_lost_lease_outranks_a_failure(tab: Tab, gate: Gate, bodies: Bodies) -> None:
    @job
    async def side_by_side(step: Step) -> None:
        try:
            await step.all(broken=lambda: fail("out of order"), slow=gate)
        except StepFailed:
            bodies("caught")

    async with tab.durably(side_by_side) as durably:
        handle = await durably.trigger(side_by_side())
        await gate.entered.wait()
        await settle()
        tab.visibility.hide()  # So that nothing is claimed in the next term.
        await settle()
        tab.disk.epoch += 1  # Another tab has taken over.
        await durably.trigger(side_by_side())
        await settle()

        assert (await durably.get_run(handle.id)).status is RunStatus.PENDING
        assert bodies.ran == []


async def test_run_stopped_side_by_side_leaves_nothing_to_complain_about(
    tab: Tab, gate: Gate
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: complaints.append(context)
    )

    @job
    async def side_by_side(step: Step) -> None:
        await step.all(left=gate, right=lambda: gate(), broken=lambda: fail("out of order"))

    async with tab.durably(side_by_side) as durably:
        handle = await durably.trigger(side_by_side())
        await gate.entered.wait()
        await settle()
        await durably.cancel(handle.id)
        await settle()
    gc.collect()

    assert complaints == []


async def test_leaving_lets_all_of_them_finish(tab: Tab) -> None:
    left, right = Gate(), Gate()

    @job
    async def side_by_side(step: Step) -> dict[str, str]:
        return await step.all(left=left, right=right)

    async def open_one_by_one() -> None:
        await left.open_once_settled()
        await right.open_once_settled()

    async with tab.durably(side_by_side) as durably:
        handle = await durably.trigger(side_by_side())
        await asyncio.gather(left.entered.wait(), right.entered.wait())
        opening = asyncio.ensure_future(open_one_by_one())

    await opening
    async with tab.durably(side_by_side) as later:
        steps = await later.get_steps(handle.id)
        assert await later.result(handle.id) == {"left": "passed", "right": "passed"}
        assert [step.name for step in steps] == ["left", "right"]
        assert (left.visits, right.visits) == (1, 1)


async def test_job_that_gives_up_on_all_cancels_all(tab: Tab) -> None:
    left, right = Gate(), Gate()

    @job
    async def give_up(step: Step) -> str:
        task = asyncio.ensure_future(step.all(left=left, right=right))
        await asyncio.gather(left.entered.wait(), right.entered.wait())
        task.cancel()
        await asyncio.wait([task])
        return "gave up"

    async with tab.durably(give_up) as durably:
        told = record(durably, "step:cancel")
        handle = await durably.trigger(give_up())
        result = await handle.result()

        assert result == "gave up"
        assert sorted(event.step for event in told) == ["left", "right"]
        assert await durably.get_steps(handle.id) == []


async def test_all_inside_a_step_is_refused(tab: Tab, bodies: Bodies) -> None:
    @job
    async def nest(step: Step) -> None:
        await step.run("outer", lambda: step.all(inner=lambda: bodies("inner")))

    async with tab.durably(nest) as durably:
        handle = await durably.trigger(nest())
        with pytest.raises(RunFailed, match=r"NestedStep: Step 'inner'.*step 'outer'"):
            await handle.result()
        assert bodies.ran == []


async def test_name_of_an_earlier_step_is_refused_with_both_places(
    tab: Tab, bodies: Bodies
) -> None:
    @job
    async def twice(step: Step) -> None:
        await step.run("a", bodies, "a")
        await step.all(a=lambda: bodies("a"))

    async with tab.durably(twice) as durably:
        handle = await durably.trigger(twice())
        with pytest.raises(RunFailed, match=r"DuplicateStep.*'a'.*step_all.py:\d+.*all.py:\d+"):
            await handle.result()
        assert bodies.ran == ["a"]


@pytest.mark.parametrize(
    ("branches", "more", "option"),
    [
        ({"a": "no function"}, {}, "fn"),
        ({}, {"a": None}, "fn"),
        ({"a": print}, {"a": print}, "branches"),
        ({"": print}, {}, "a step's name"),
        ({7: print}, {}, "a step's name"),
        ({"half a \ud800 pair": print}, {}, "a step's name"),
        ([print], {}, "branches"),
        (None, {}, "branches"),
        (print, {}, "branches"),
    ],
    ids=lambda value: None,
)
async def test_what_cannot_run_side_by_side_is_refused_before_anything_runs(
    tab: Tab, bodies: Bodies, branches: Any, more: dict[str, Any], option: str
) -> None:
    errors: list[InvalidOption] = []

    @job
    async def misuse(step: Step) -> None:
        good = {"good": lambda: bodies("good")}
        try:
            await step.all(good | branches if isinstance(branches, dict) else branches, **more)
        except InvalidOption as error:
            errors.append(error)
        await settle()

    async with tab.durably(misuse) as durably:
        handle = await durably.trigger(misuse())
        await handle.result()

        assert [error.option for error in errors] == [option]
        assert bodies.ran == []
