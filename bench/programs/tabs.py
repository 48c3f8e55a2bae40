"""What a second tab costs the one that leads, and how soon it answers and takes over."""

import asyncio
import statistics
import time

from kit import on_ask, option, tell

from durably import Durably, Step, job
from durably.events import TabLeader

TRIGGERS = 50
MEASURED = 300


@job
async def many_steps(step: Step, count: int) -> list[float]:
    times = []
    for number in range(count):
        started = time.perf_counter()
        await step.run(f"step-{number}", int, number)
        times.append((time.perf_counter() - started) * 1000)
    return times


async def main() -> None:
    durably = Durably(option("database", "tabs"), jobs=[many_steps])
    durably.on("tab:leader", tell_leader)
    async with durably:
        fill = int(option("fill", "0"))
        if fill:
            await durably.trigger_and_wait(many_steps(fill))
        on_ask(act, durably)
        tell("ready", role=durably.tabs.role)
        await asyncio.Event().wait()


def tell_leader(event: TabLeader) -> None:
    tell("leads", at=event.at)


async def act(durably: Durably, wanted: str) -> None:
    if wanted == "checkpoints":
        times = await durably.trigger_and_wait(many_steps(MEASURED))
    else:
        times = []
        for _ in range(TRIGGERS):
            started = time.perf_counter()
            await durably.trigger(many_steps(0))
            times.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(0.02)  # The leader is idle again.
    tell(wanted, median=statistics.median_grouped(times, 0.1))
