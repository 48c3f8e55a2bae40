"""How long a reload takes to the first step that it resumes, from navigation, part by part."""

from __future__ import annotations

import asyncio
import itertools

from js import performance
from kit import option, tell


async def main() -> None:
    count = int(option("steps", "20"))
    name = f"startup-{count}"
    at = {
        "page and Pyodide": performance.getEntriesByName("pyodide")[0].startTime,
        "the wheel": performance.now(),
    }
    from durably import Durably, Step, job

    at["import durably"] = performance.now()

    async def resumed() -> None:
        """The step that was under way, and is again after each reload."""
        at["replay"] = performance.now()
        names = list(at)
        parts = {later: at[later] - at[earlier] for earlier, later in itertools.pairwise(names)}
        tell("result", parts={names[0]: at[names[0]], **parts}, total=at["replay"])
        await asyncio.Event().wait()

    @job
    async def steps_and_wait(step: Step, count: int) -> None:
        at["claim"] = performance.now()
        for number in range(count):
            await step.run("step", int, number, key=number)
        await step.run("resumed", resumed)

    if option("fills", ""):
        await fill(name, count)
    durably = Durably(name, jobs=[steps_and_wait])
    async with durably:
        at["open"] = performance.now()
        await asyncio.Event().wait()


async def fill(name: str, count: int) -> None:
    from filling import fill_pending, is_stored

    from durably.store.runs import NewRun

    if not await is_stored(name):
        await fill_pending(name, NewRun("steps_and_wait", f'{{"count":{count}}}'), count)
