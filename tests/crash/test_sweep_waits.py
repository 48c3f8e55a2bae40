"""The crash sweep for what comes from outside: waits, signals, steps side by side, metadata."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from durably import Durably, Job, Receipt, RunStatus, Step, StorageError, job
from durably.testing import Fault, settle
from tests.core.kit import Life, Tab, until

KEY = "the one run"
SIGNAL_ID = "the one signal"
MOST_WRITES = 100
"""A sweep that goes on for longer than this never ends."""
MOST_SENDINGS = 3


@dataclass
class World:
    """What is outside of the program, and so survives it."""

    asked: str | None = None
    """The wait that the outside was asked to signal."""
    receipts: list[Receipt] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)
    """The steps whose metadata was acknowledged."""
    told: list[str] = field(default_factory=list)
    ran_after_told: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    """The log lines that were told."""

    def begin(self, name: str) -> None:
        if name in self.told:
            self.ran_after_told.append(name)

    def ask(self, wait_id: str) -> None:
        assert self.asked in (None, wait_id), "the wait is the same in every life"
        self.asked = wait_id

    async def answer(self, durably: Durably) -> None:
        """Send the signal in each life, and again where the storage went away meanwhile."""
        await until(lambda: self.asked is not None)
        assert self.asked is not None
        payload = {"approved": True, "by": ("Ada", 7)}
        for _ in range(MOST_SENDINGS):
            try:
                receipt = await durably.signal(self.asked, payload, signal_id=SIGNAL_ID)
            except StorageError:
                await settle()
            else:
                self.receipts.append(receipt)
                return


def swept_job(world: World) -> Job[[], object]:
    @job(name="swept")
    async def run(step: Step) -> list[object]:
        async def work(name: str) -> str:
            world.begin(name)
            step.log(name)
            await step.set_metadata({"step": name})
            world.noted.append(name)
            return name

        wait = await step.prepare_wait("approval", metadata={"for": "all"})
        unused = await step.prepare_wait("unused", timeout=3600)
        sides = await step.all(left=lambda: work("left"), right=lambda: work("right"))
        await step.run("ask", world.ask, wait.id)
        result = await step.wait_for(wait)
        await step.run("after", work, "after")
        return [*sides.items(), result.payload, result.timed_out, unused.name]

    return run


@dataclass(frozen=True)
class End:
    """How it all ended, as far as nobody may be able to tell that there were crashes."""

    status: RunStatus
    output: object
    steps: frozenset[tuple[str, str]]
    waits: tuple[tuple[str, str, object, object, str | None], ...]
    metadata: frozenset[tuple[str, str, str]]
    """Of the tries that completed."""
    receipts: int


async def begin(tab: Tab, world: World) -> tuple[Life, Job[[], object]]:
    swept = swept_job(world)
    life = Life(tab, tab.durably(swept, persist_logs=True))

    def hear(event: Any) -> None:
        if event.type == "step:complete":
            world.told.append(event.step)
        elif event.type == "log:write":
            world.heard.append(event.message)

    life.durably.on("*", hear)
    return life, swept


async def live(life: Life, swept: Job[[], object], world: World) -> str:
    """Everything there is to do, from the opening to the end of the run."""
    await life.begin()
    handle = await life.durably.trigger(swept(), idempotency_key=KEY)
    answering = asyncio.ensure_future(world.answer(life.durably))
    try:
        await handle.result()
        await answering
    finally:
        answering.cancel()
        await asyncio.wait([answering])
    return handle.id


async def first_life(tab: Tab, world: World) -> None:
    """A life up to its fault, or to its end."""
    life, swept = await begin(tab, world)
    living = asyncio.ensure_future(live(life, swept, world))
    await until(lambda: living.done() or tab.disk.is_dead)
    if tab.disk.is_dead:
        await settle()
        await life.kill()
        return
    try:
        await living
        await life.close()
    except StorageError:
        await life.kill()


async def last_life(tab: Tab, world: World) -> End:
    life, swept = await begin(tab, world)
    try:
        run_id = await live(life, swept, world)
        run = await life.durably.get_run(run_id)
        steps = await life.durably.get_steps(run_id)
        waits = await life.durably.get_waits(run_id)
        attempts = await life.durably.get_attempts(run_id)
        lines = [line.message for line in await life.durably.get_logs(run_id)]
        await life.close()
    finally:
        await life.kill()
    stored = iter(lines)
    assert all(line in stored for line in world.heard), "what was told is stored, in that order"
    assert [one.outcome for one in attempts if one.outcome == "running"] == []
    return End(
        run.status,
        run.output,
        frozenset((step.name, step.status) for step in steps),
        tuple((one.name, one.outcome, one.metadata, one.payload, one.signal_id) for one in waits),
        frozenset(
            (one.step, one.outcome, repr(one.metadata))
            for one in attempts
            if one.outcome == "completed"
        ),
        len({repr(receipt) for receipt in world.receipts}),
    )


@pytest.mark.parametrize(
    ("fault", "lands"),
    [("lost", False), ("lost", True), ("die", False), ("die", True)],
    ids=["lost", "lost though it landed", "died before it landed", "died after it landed"],
)
async def test_every_write_can_fail_and_the_end_is_the_same(fault: Fault, lands: bool) -> None:
    plain = await last_life(Tab(), World())
    assert (plain.status, plain.receipts) == (RunStatus.COMPLETED, 1)

    for number in range(1, MOST_WRITES):
        tab, world = Tab(), World()
        tab.disk.fail(number, fault, lands=lands)
        await first_life(tab, world)
        was_reached = tab.disk.writes >= number
        tab.disk.revive()
        end = await last_life(tab, world)

        assert end == plain, f"write {number}"
        assert world.ran_after_told == [], f"write {number}"
        if not was_reached:
            break
    else:
        raise AssertionError("the sweep does not end")
    assert number > 8, "the sweep has seen the waits, the signal and the resumption"


@pytest.mark.parametrize("lands", [False, True])
async def test_metadata_that_was_acknowledged_is_there_whatever_write_its_program_dies_at(
    lands: bool,
) -> None:
    for number in range(1, MOST_WRITES):
        tab, world = Tab(), World()
        tab.disk.fail(number, "die", lands=lands)
        await first_life(tab, world)
        was_reached = tab.disk.writes >= number
        tab.disk.revive()
        tab.visibility.hide()  # Nothing goes on.
        async with tab.durably(swept_job(world)) as durably:
            runs = await durably.list_runs()
            attempts = [one for run in runs for one in await durably.get_attempts(run.id)]
            waits = [one for run in runs for one in await durably.get_waits(run.id)]

        with_metadata = {one.step for one in attempts if one.metadata == {"step": one.step}}
        assert set(world.noted) <= with_metadata, f"write {number}"
        assert world.asked is None or world.asked in {wait.id for wait in waits}
        assert len(world.receipts) <= len([one for one in waits if one.outcome == "signal"])
        if not was_reached:
            break
    else:
        raise AssertionError("the sweep does not end")


async def test_full_storage_at_every_write_delays_and_changes_nothing() -> None:
    plain = await last_life(Tab(), World())

    for number in range(1, MOST_WRITES):
        tab, world = Tab(), World()
        tab.disk.fail(number, "full")
        ending = asyncio.ensure_future(last_life(tab, world))
        for _ in range(3):
            await settle()
            await tab.clock.advance(2)

        assert await ending == plain, f"write {number}"
        assert world.ran_after_told == [], f"write {number}"
        if tab.disk.writes < number:
            break
    else:
        raise AssertionError("the sweep does not end")


async def test_crash_in_every_life_loses_nothing_that_was_acknowledged() -> None:
    """Each life gets some writes further than the one before, and dies."""
    plain = await last_life(Tab(), World())
    tab, world = Tab(), World()
    for _ in range(MOST_WRITES):
        # Opening takes a write or two, and a life has to get further than that.
        tab.disk.fail(tab.disk.writes + 5, "die")
        await first_life(tab, world)
        was_dead = tab.disk.is_dead or tab.disk._plan is not None
        tab.disk.revive()
        if not was_dead:
            break
    assert await last_life(tab, world) == plain
    assert world.ran_after_told == []
