"""A leader with nothing to do, or Pyodide alone."""

from __future__ import annotations

import asyncio

from kit import option, tell


async def main() -> None:
    if option("library", "yes") == "no":
        tell("ready")
        await asyncio.Event().wait()
    from durably import Durably, Step, job

    @job
    async def one_step(step: Step) -> None:
        await step.run("step", int)

    async with Durably(f"idle-{option('thread', 'main')}", jobs=[one_step]) as durably:
        await durably.trigger_and_wait(one_step())
        tell("ready")
        await asyncio.Event().wait()
