"""The engine on CPython, on a WAL file: checkpoints and runs a second, empty and well filled."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from durably import Durably
from durably.clock import SystemClock
from durably.database import Database
from durably.local import FileMirror
from durably.store import Store
from durably.store.runs import NewRun

sys.path.insert(0, str(Path(__file__).parent / "programs"))
import engine

FINISHED_RUNS, STEPS_EACH = 1000, 1000
ROUNDS = 5


async def measure() -> dict[str, float]:
    """Rates by what was counted; ``empty`` and ``full`` are taken in turns, in one process."""
    with tempfile.TemporaryDirectory(prefix="durably-bench-") as folder:
        await fill(Path(folder) / "full.sqlite3")
        async with opened("empty", folder) as empty, opened("full", folder) as full:
            rates: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                for name, durably in (("empty", empty), ("full", full)):
                    for kind, rate in (await engine.rates(durably, 2000, 500)).items():
                        rates.setdefault(f"{kind}, {name}", []).append(rate)
        return {name: statistics.median(values) for name, values in rates.items()}


def opened(name: str, folder: str) -> Durably:
    return Durably(name, jobs=[engine.steps, engine.one_step], directory=folder)


async def fill(path: Path) -> None:
    """Put finished runs into a file, past the engine."""
    database = Database("full", FileMirror("full", path), SystemClock())
    await database.open()
    store = Store(database)
    for _ in range(FINISHED_RUNS):
        with database.transaction():
            store.runs.create(NewRun("one_step", '{"number":1}'), 1)
            claim = store.leases.claim(["one_step"], "filler", 1)
            assert claim is not None
            for position in range(STEPS_EACH):
                store.steps.checkpoint(
                    claim.lease,
                    f"step[{position}]",
                    position=position,
                    attempt=1,
                    output="1",
                    started_at=1,
                    now=1,
                )
            store.leases.complete(claim.lease, "1", 1, keeps_outputs=False)
    await database.close()


if __name__ == "__main__":
    began = time.perf_counter()
    print(asyncio.run(measure()), f"in {time.perf_counter() - began:.0f} s")
