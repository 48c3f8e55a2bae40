"""Opens a database beside tabs of other versions, and tells what it is refused."""

import asyncio

import jobs
from kit import on_ask, tell, tell_event

from durably import Durably, DurablyError


async def main() -> None:
    durably = Durably("test", jobs=[jobs.three_steps])
    durably.on("*", tell_event)
    async with durably:
        on_ask(answer, durably)
        tell("opened")
        await asyncio.Event().wait()


async def answer(durably: Durably, question: str) -> None:
    try:
        run = await durably.trigger(jobs.three_steps(), idempotency_key="only")
        tell(question, disposition=run.disposition, result=await run.result())
    except DurablyError as error:
        tell(question, refusal=type(error).__name__, text=str(error))
