"""Between the page and the job: commands come in, and everything durably tells goes out as JSON."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

import airport_store
import js
import page  # {tell, listen}, registered by python.js
from airports import import_airports
from pyodide.ffi import create_proxy

from durably import Durably, DurablyError
from durably.events import Event

DATA = "/data/airports.csv"


async def main() -> None:
    """Lead, or follow the tab that leads, and do what the page asks, until the tab is gone."""
    commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def receive(text: str) -> None:
        commands.put_nowait(json.loads(text))

    def tell_event(event: Event) -> None:
        tell(event.type, **asdict(event))
        if event.type.startswith("tab:"):
            # Whatever happened before, the page starts from what is stored.
            commands.put_nowait({"do": "show"})

    durably = Durably("airports-demo", jobs=[import_airports])
    durably.on("*", tell_event)
    receiver = create_proxy(receive)
    page.listen(receiver)
    try:
        async with durably:
            while True:
                try:
                    await obey(durably, **await commands.get())
                except DurablyError as error:
                    tell("problem", message=str(error))
    finally:
        receiver.destroy()


async def obey(durably: Durably, do: str, pause: float = 0, run_id: str = "") -> None:
    if do == "start":
        if not await durably.list_runs(status=["pending", "running", "waiting"]):
            await airport_store.clear()
            await durably.trigger(import_airports(js.location.origin + DATA, pause=pause))
    elif do == "cancel":
        await durably.cancel(run_id)
    elif do == "show":
        await show(durably)


async def show(durably: Durably) -> None:
    """Tell the page about the newest run, and which of its steps have a checkpoint."""
    for run in await durably.list_runs(limit=1):
        steps = {step.name: step.status for step in await durably.get_steps(run.id)}
        tell("run", run=asdict(run), steps=steps)
        return
    tell("no run")


def tell(kind: str, **facts: object) -> None:
    page.tell(json.dumps({"type": kind, **facts}, default=str))
