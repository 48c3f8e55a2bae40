"""Fills a database past the engine, in one transaction, and waits until it is folded."""

from __future__ import annotations

from js import indexedDB
from pyodide.code import run_js

from durably.browser.mirror import IndexedDBMirror
from durably.clock import SystemClock
from durably.database import Database
from durably.store import Store
from durably.store.runs import NewRun

STEPS_EACH = 1000
UNTIL_FOLDED = """
async (name) => {
  const db = await new Promise((resolve, reject) => {
    const request = indexedDB.open(`durably:${name}`);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const logBytes = () => new Promise((resolve, reject) => {
    const request = db.transaction("log").objectStore("log").getAll();
    request.onsuccess = () =>
      resolve(request.result.reduce((sum, record) => sum + record.byteLength, 0));
    request.onerror = () => reject(request.error);
  });
  while (await logBytes() > 1 << 20) await new Promise((done) => setTimeout(done, 200));
  db.close();
}
"""


async def is_stored(name: str) -> bool:
    return any(database.name == f"durably:{name}" for database in await indexedDB.databases())


async def fill_finished(name: str, steps: int, output: str = "1") -> None:
    """Finished runs with so many steps in all, ``STEPS_EACH`` in each, that keep their outputs."""
    database = await opened(name)
    store = Store(database)
    with database.transaction():
        for first in range(0, steps, STEPS_EACH):
            put(store, NewRun("filled", "{}"), min(STEPS_EACH, steps - first), output, is_done=True)
    await written(database)


async def fill_pending(name: str, run: NewRun, steps: int) -> None:
    """One run that is pending, with so many finished steps: ``step[0]``, ``step[1]`` ..."""
    database = await opened(name)
    with database.transaction():
        put(Store(database), run, steps, "1", is_done=False)
    await written(database)


async def opened(name: str) -> Database:
    database = Database(name, IndexedDBMirror(name), SystemClock())
    await database.open()
    return database


async def written(database: Database) -> None:
    await database.flush("strict")
    await run_js(UNTIL_FOLDED)(database.name)
    await database.close()


def put(store: Store, run: NewRun, steps: int, output: str, *, is_done: bool) -> None:
    now = SystemClock().now()
    store.runs.create(run, now)
    claim = store.leases.claim([run.job], "filler", now)
    assert claim is not None
    for position in range(steps):
        store.steps.checkpoint(
            claim.lease,
            f"step[{position}]",
            position=position,
            attempt=1,
            output=output,
            started_at=now,
            now=now,
        )
    if is_done:
        store.leases.complete(claim.lease, "1", now, keeps_outputs=True)
    else:
        store.leases.release(claim.lease, now)
