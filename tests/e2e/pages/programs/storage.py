"""Opens a database and says what it found; for databases that were tampered with."""

import os

from kit import option, tell, tell_event

from durably import Durably, Step, job, schema


@job
async def fill(step: Step, count: int, size: int = 2000) -> int:
    for number in range(count):
        await step.run("fill", os.urandom, size, key=number)
    return count


async def main() -> None:
    # A version of the library that is yet to come.
    schema.SCHEMA_VERSION = int(option("schema", str(schema.SCHEMA_VERSION)))
    durably = Durably(
        option("database", "test"),
        jobs=[fill],
        when_refused=option("when_refused", "error"),
    )
    durably.on("*", tell_event)
    async with durably:
        count = int(option("count", "0"))
        if count:
            run = await durably.trigger(fill(count, int(option("size", "2000"))))
            await run.result()
        runs = await durably.list_runs()
        steps = [len(await durably.get_steps(run.id)) for run in runs]
        tell("opened", runs=len(runs), steps=steps)
