"""A database that a test does something to while it is open."""

import asyncio
import os
from dataclasses import asdict

import jobs
from kit import on_ask, option, tell, tell_event
from world import effect

from durably import Durably, Step, StorageError, job


@job
async def fill(step: Step, count: int, size: int) -> int:
    """Stores that many results of so many bytes, which nothing can make smaller."""
    for number in range(count):
        await step.run("fill", random_bytes, size, key=number)
    return count


async def random_bytes(size: int) -> bytes:
    await effect("fill")
    return os.urandom(size)


async def main() -> None:
    durably = Durably("test", jobs=[fill, jobs.three_steps], max_concurrent_runs=2)
    durably.on("*", tell_event)
    async with durably:
        on_ask(answer, durably)
        tell("opened", runs=len(await durably.list_runs()))
        if option("job", ""):
            await work(durably, option("job", ""))
        await asyncio.Event().wait()


async def work(durably: Durably, name: str) -> None:
    call = jobs.three_steps() if name == "three_steps" else fill(40, 60_000)
    run = await durably.trigger(call, idempotency_key="only")
    try:
        tell("result", value=await run.result())
    except StorageError as error:
        tell("refusal", question="result", type=type(error).__name__, text=str(error))


async def answer(durably: Durably, question: str) -> None:
    try:
        if question == "health":
            health = await durably.health()
            tell(question, **asdict(health), is_at_risk=health.is_at_risk)
        if question == "doctor":
            diagnosis = await durably.doctor()
            kinds = [list(run.kinds) for run in diagnosis.runs]
            tell(question, kinds=kinds, problems=list(diagnosis.problems), text=str(diagnosis))
        if question == "persist":
            tell(question, answer=await durably.persist())
        if question == "steps":
            runs = await durably.list_runs()
            tell(question, steps=[len(await durably.get_steps(run.id)) for run in runs])
        if question == "trigger":
            tell(question, id=(await durably.trigger(jobs.three_steps())).id)
    except StorageError as error:
        tell("refusal", question=question, type=type(error).__name__, text=str(error))
