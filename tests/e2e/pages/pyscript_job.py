"""A PyScript page that runs a job: `<script type="py">`, on the main thread or in a worker."""

from jobs import three_steps
from world import effect

from durably import Durably


async def main() -> None:
    async with Durably("test", jobs=[three_steps]) as durably:
        run = await durably.trigger(three_steps(), idempotency_key="only")
        await effect("result", await run.result())


await main()
