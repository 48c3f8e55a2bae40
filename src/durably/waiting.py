"""Waiting for the end of a run: told by its event, or found by looking again."""

from __future__ import annotations

import asyncio

from .clock import wait
from .emitter import Emitter
from .errors import RunNotFound, StorageError
from .events import Event, RunCancel, RunComplete, RunFail
from .leader import Leader
from .model import Run

ENDINGS = (RunComplete, RunFail, RunCancel)


async def wait_until_terminal(leader: Leader, events: Emitter, run_id: str) -> Run:
    """Return the run once it is terminal and its end is durable. Raises RunNotFound.

    Where other processes may end the run, the store is looked at every ``poll_interval``. Where a
    term ends, the next one is asked; NotOpen, or what its opening raised, where there is none.
    """
    ended = asyncio.Event()

    def listen(event: Event) -> None:
        if isinstance(event, ENDINGS) and event.run_id == run_id:
            ended.set()

    unsubscribe = events.on("*", listen)
    unwatch = leader.on_term_over(ended.set)
    try:
        while True:
            ended.clear()
            term = await leader.term()
            run = term.store.get_run(run_id)
            if run is None:
                raise RunNotFound(run_id)
            if run.is_terminal:
                try:
                    await term.database.flush(term.options.durability)
                except StorageError:
                    pass  # The term is over, and the end perhaps not stored: the next one knows.
                else:
                    return run
            await wait(term.clock, ended, term.poll_interval)
    finally:
        unwatch()
        unsubscribe()
