"""What each tab of a schedule does: trigger the same orders, cancel, signal, and await results.

Everything of interest is told to the server: a body that begins or ends, and right after the
library has returned, what it has thereby acknowledged.
"""

import asyncio
import itertools
import json

import tab
from pyodide.ffi import JsException, create_proxy

from durably import (
    ConcurrencyConflict,
    Durably,
    DurablyError,
    RunFailed,
    RunWasCancelled,
    Step,
    StepFailed,
    job,
)

PAUSE = 0.2
"""Seconds before something that did not work is tried again."""
STUBBORN = 0.3
"""Seconds for which a step goes on that was told to stop."""

_numbers = itertools.count(1)
_terms = itertools.count(1)
_term = 0
"""How often this life of the tab has begun to lead."""


def tell(kind: str, **facts: object) -> None:
    tab.tell(json.dumps({"kind": kind, **facts}, default=str))


async def begin(run: str, step: str) -> str:
    """Do something outside of the tab, and return a token that no other try has.

    Offline it tries again: the server counts a token once.
    """
    token = f"{tab.life}:{next(_numbers)}"
    facts = {"kind": "began", "run": run, "step": step, "token": token, "term": _term}
    while True:
        try:
            await tab.begin(json.dumps(facts))
        except JsException:
            await asyncio.sleep(PAUSE)
        else:
            return token


async def act(run: str, name: str, seconds: float) -> str:
    token = await begin(run, name)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        tell("cut", run=run, step=name, token=token)
        raise
    tell("ended", run=run, step=name, token=token)
    return token


async def refuse_to_stop(run: str, name: str, seconds: float) -> str:
    """Returns a result although it was cancelled: nobody may ever see that."""
    token = await begin(run, name)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        tell("cut", run=run, step=name, token=token)
        await asyncio.sleep(STUBBORN)
    return token


async def fail(run: str, name: str) -> str:
    raise RuntimeError(await begin(run, name))


async def fetch_once(run: str, name: str) -> str:
    """Fails where there is no network, as a step may that does not try again."""
    token = f"{tab.life}:{next(_numbers)}"
    facts = {"kind": "began", "run": run, "step": name, "token": token, "term": _term}
    try:
        await tab.begin(json.dumps(facts))
    except JsException as error:
        raise ConnectionError(f"{token} is offline") from error
    return token


def acked(step: Step, name: str, token: str) -> None:
    tell("acked", run=step.run_id, step=name, token=token)


async def checked(step: Step, name: str, body: object, *args: object) -> str:
    """Run a step, and tell at once what came of it."""
    try:
        token = await step.run(name, body, step.run_id, name, *args)
    except StepFailed as failure:
        acked(step, name, failure.error.message.split()[0])
        raise
    acked(step, name, token)
    return token


@job
async def sequence(step: Step, count: int, seconds: float) -> list[str]:
    return [await checked(step, f"s{number}", act, seconds) for number in range(count)]


@job
async def parallel(step: Step, count: int, seconds: float) -> list[str]:
    names = [f"p{number}" for number in range(count)]

    def branch(name: str, number: int) -> object:
        return lambda: act(step.run_id, name, seconds * (1 + number))

    tokens = await step.all({name: branch(name, i) for i, name in enumerate(names)})
    for name, token in tokens.items():
        acked(step, name, token)
    return [*tokens.values(), await checked(step, "last", act, seconds)]


@job
async def waiting(step: Step, timeout: float) -> str:
    wait = await step.prepare_wait("answer", timeout=timeout)
    await checked(step, "ask", act, 0.02)
    result = await step.wait_for(wait)
    await checked(step, "publish", act, 0.02)
    return "timed out" if result.timed_out else str(result.payload)


@job
async def held(step: Step, seconds: float) -> str:
    await checked(step, "before", act, 0.02)
    await checked(step, "held", refuse_to_stop, seconds)
    await checked(step, "after", act, 0.02)
    return "not cancelled"


@job
async def failing(step: Step) -> None:
    await checked(step, "before", act, 0.02)
    try:
        await checked(step, "caught", fail)
    except StepFailed:
        await checked(step, "instead", act, 0.02)
    await checked(step, "fails", fail)


@job
async def fragile(step: Step, count: int) -> list[str]:
    return [await checked(step, f"f{number}", fetch_once) for number in range(count)]


@job
async def burst(step: Step, count: int) -> int:
    """Many short steps: enough for the log to be folded."""
    for number in range(count):
        token = await step.run("quick", lambda: f"{tab.life}:{next(_numbers)}", key=number)
        acked(step, f"quick[{number}]", token)
    return count


JOBS = {one.name: one for one in (sequence, parallel, waiting, held, failing, fragile, burst)}
TOLD = ("tab:", "storage:", "worker:", "run:requeued")


def hear(event: object) -> None:
    global _term
    if event.type == "tab:leader":
        _term = next(_terms)
    if event.type.startswith(TOLD):
        facts = {name: getattr(event, name, None) for name in ("reason", "message", "epoch")}
        tell("event", type=event.type, term=_term, **facts)


async def play(plan: dict) -> None:
    """Until it is cancelled: open the database, do the orders, and open it again after a fault."""
    options = plan["options"]
    while True:
        durably = Durably(plan["database"], jobs=JOBS.values(), preserve_steps=True, **options)
        durably.on("*", hear)
        try:
            async with durably:
                tell("entered")
                await asyncio.gather(*(follow(durably, order) for order in plan["orders"]))
                tell("done")
                await asyncio.Event().wait()
        except DurablyError as error:
            tell("trouble", text=repr(error))
            await asyncio.sleep(PAUSE)


async def follow(durably: Durably, order: dict) -> None:
    """Trigger one order and see it to its end. What goes wrong on the way is tried again."""
    helper = None
    while True:
        try:
            run = await durably.trigger(
                JOBS[order["job"]](**order["arguments"]),
                idempotency_key=order["key"],
                concurrency_key=order["concurrency_key"],
            )
        except ConcurrencyConflict:
            await asyncio.sleep(PAUSE)
        else:
            break
    tell("triggered", key=order["key"], run=run.id)
    if order["cancel_after"] is not None:
        helper = asyncio.ensure_future(cancel(durably, run.id, order["cancel_after"]))
    if order["signal_after"] is not None:
        helper = asyncio.ensure_future(signal(durably, run.id, order["signal_after"]))
    try:
        value = await run.result()
        tell("result", key=order["key"], run=run.id, status="completed", value=value)
    except RunFailed as error:
        tell("result", key=order["key"], run=run.id, status="failed", value=str(error))
    except RunWasCancelled:
        tell("result", key=order["key"], run=run.id, status="cancelled", value=None)
    finally:
        if helper is not None:
            helper.cancel()


async def cancel(durably: Durably, run: str, seconds: float) -> None:
    await asyncio.sleep(seconds)
    try:
        await durably.cancel(run)
        tell("cancelled", run=run)
    except DurablyError as error:
        tell("trouble", text=repr(error))


async def signal(durably: Durably, run: str, seconds: float) -> None:
    await asyncio.sleep(seconds)
    try:
        while not (waits := await durably.get_waits(run)):
            await asyncio.sleep(PAUSE)
        await durably.signal(waits[0].id, "yes", signal_id="answer")
        tell("signalled", run=run)
    except DurablyError as error:
        tell("trouble", text=repr(error))


_playing: list[asyncio.Task] = []


async def leave(database: str) -> None:
    for task in _playing:
        task.cancel()
    await asyncio.gather(*_playing, return_exceptions=True)
    _playing.clear()
    tell("left", database=database)


def command(text: str) -> None:
    what = json.loads(text)
    if "leave" in what:
        _leaving.append(asyncio.ensure_future(leave(what["leave"])))
    elif not _playing:
        _playing.append(asyncio.ensure_future(guarded(what["start"])))


_leaving: list[asyncio.Task] = []


async def guarded(plan: dict) -> None:
    try:
        await play(plan)
    except Exception as error:
        tell("broken", text=repr(error))
        raise


tab.onCommand(create_proxy(command))
