"""How a program talks with the test that opened it."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable

from host import onAsk, options, say
from pyodide.ffi import create_proxy


def option(name: str, default: str) -> str:
    return str(getattr(options, name, default))


def tell(kind: str, **facts: object) -> None:
    """Say something that the test can wait for."""
    say(json.dumps({"kind": kind, **facts}, default=str))


def tell_event(event: object) -> None:
    facts = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    tell("event", type=event.type, **facts)


def on_ask(answer: Callable[..., Awaitable[None]], *args: object) -> None:
    """Let ``answer(*args, question)`` answer what the test asks."""
    tasks = set()

    def asked(question: str) -> None:
        task = asyncio.ensure_future(answer(*args, question))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    onAsk(create_proxy(asked))


async def ask(wanted: str) -> None:
    """Return when the test asks for ``wanted``."""
    asked = asyncio.Event()
    onAsk(create_proxy(lambda question: question == wanted and asked.set()))
    await asked.wait()
