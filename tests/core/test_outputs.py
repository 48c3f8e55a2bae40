"""What becomes of a run whose job returns something else than it says."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from durably import Job, RunFailed, Step, job
from durably.events import RunFail
from tests.core.kit import Gate, Tab, interrupted, only_run


@dataclass
class Receipt:
    items: list[int]


@job
async def returns_what_it_says(step: Step) -> Receipt:
    return Receipt([1, 2])


@job
async def returns_a_str_as_an_int(step: Step) -> int:
    return "1"  # type: ignore[return-value]


@job
async def returns_an_odd_item(step: Step) -> Receipt:
    return Receipt([1, 2, 3, "4"])  # type: ignore[list-item]


@job
async def returns_something_as_nothing(step: Step) -> None:
    return 1  # type: ignore[return-value]


@job
async def says_nothing(step: Step):  # type: ignore[no-untyped-def]
    return ("whatever",)


async def test_output_that_fits_completes_the_run(tab: Tab) -> None:
    async with tab.durably(returns_what_it_says) as durably:
        handle = await durably.trigger(returns_what_it_says())

        assert await handle.result() == Receipt([1, 2])


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        (returns_a_str_as_an_int, "$: expected int, got str ('1')"),
        (returns_an_odd_item, "$.items[3]: expected int, got str ('4')"),
        (returns_something_as_nothing, "$: expected None, got int (1)"),
    ],
    ids=lambda value: value.name if isinstance(value, Job) else "",
)
async def test_output_that_does_not_fit_fails_the_run_and_says_where(
    tab: Tab, job: Job[[], object], problem: str
) -> None:
    async with tab.durably(job) as durably:
        handle = await durably.trigger(job())

        with pytest.raises(RunFailed) as raised:
            await handle.result()

    error = raised.value.error
    assert error.type == "durably.errors.OutputMismatch"
    assert f"{job.name!r}" in error.message
    assert problem in error.message


async def test_mismatch_is_stored_without_an_output(tab: Tab) -> None:
    async with tab.life(returns_an_odd_item) as life:
        handle = await life.durably.trigger(returns_an_odd_item())
        with pytest.raises(RunFailed):
            await handle.result()
        told = [event.error for event in life.told if isinstance(event, RunFail)]
        await life.close()

    async with tab.durably(returns_an_odd_item) as durably:
        run = await only_run(durably)
    assert run.status == "failed"
    assert run.output is None
    assert [run.error] == told


async def test_job_without_return_annotation_may_return_anything(tab: Tab) -> None:
    async with tab.durably(says_nothing) as durably:
        assert await (await durably.trigger(says_nothing())).result() == ("whatever",)


async def test_output_after_replay_is_judged_too(tab: Tab, gate: Gate) -> None:
    @job
    async def goes_wrong(step: Step) -> list[int]:
        found = await step.run("find", lambda: [1, "2"])
        await gate()
        return found  # type: ignore[return-value]

    run_id = await interrupted(tab, goes_wrong, gate)

    async with tab.durably(goes_wrong) as durably:
        with pytest.raises(RunFailed, match=r"\$\[1\]: expected int, got str"):
            await durably.result(run_id)
