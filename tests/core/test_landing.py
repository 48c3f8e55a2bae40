"""Whoever awaits a landing goes on when it lands, in that very call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar

import pytest

from durably.errors import StorageLost
from durably.landing import Landing

NAME: ContextVar[str] = ContextVar("name", default="nobody")


async def from_outside(act: Callable[[], object]) -> None:
    """Call ``act`` as JavaScript would: by the event loop, and in no task."""
    done = asyncio.Event()

    def call() -> None:
        try:
            act()
        finally:
            done.set()

    asyncio.get_running_loop().call_soon(call)
    await done.wait()


async def started(coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(0)
    return task


async def test_awaiter_goes_on_in_the_call_that_lands() -> None:
    landing, seen = Landing(), list[str]()

    async def wait() -> None:
        await landing
        seen.append("went on")

    task = await started(wait())

    def land() -> None:
        landing.land(None)
        seen.append("landed")

    await from_outside(land)
    await task

    assert seen == ["went on", "landed"]


async def test_awaiter_goes_on_later_where_a_task_lands_it() -> None:
    landing, seen = Landing(), list[str]()

    async def wait() -> None:
        await landing
        seen.append("went on")

    task = await started(wait())
    landing.land(None)
    seen.append("landed")
    await task

    assert seen == ["landed", "went on"]


async def test_awaiter_gets_the_error() -> None:
    landing = Landing()
    task = await started(waiting_for(landing))

    await from_outside(lambda: landing.land(StorageLost("test", "gone")))

    with pytest.raises(StorageLost, match="gone"):
        await task


async def waiting_for(landing: Landing) -> None:
    await landing


async def test_landing_that_landed_before_is_awaited_at_once() -> None:
    landing = Landing()
    landing.land(None)
    landing.land(StorageLost("test", "too late"))

    await landing


async def test_awaiter_goes_on_in_its_own_context() -> None:
    landing, seen = Landing(), list[str]()

    async def wait() -> None:
        NAME.set("awaiter")
        await landing
        seen.append(NAME.get())

    task = await started(wait())
    await from_outside(lambda: landing.land(None))
    await task

    assert seen == ["awaiter"]


async def test_awaiter_goes_on_in_its_own_context_also_where_that_is_empty() -> None:
    landing, seen = Landing(), list[str]()

    async def wait() -> None:
        await landing
        NAME.set("awaiter")
        seen.append(NAME.get())

    context = Context()
    task = asyncio.get_running_loop().create_task(wait(), context=context)
    await asyncio.sleep(0)
    await from_outside(lambda: landing.land(None))
    await task

    assert seen == ["awaiter"]
    assert context[NAME] == "awaiter"


async def test_cancelled_awaiter_is_cancelled_and_landing_is_harmless_then() -> None:
    landing = Landing()
    task = await started(waiting_for(landing))

    task.cancel()
    await asyncio.wait([task])
    await from_outside(lambda: landing.land(None))

    assert task.cancelled()
    assert landing.cancelled()


async def test_current_task_is_the_awaiter_and_then_nobody_again() -> None:
    landing, seen = Landing(), list[object]()

    async def wait() -> None:
        await landing
        seen.append(asyncio.current_task())

    task = await started(wait())

    def land() -> None:
        landing.land(None)
        seen.append(asyncio.current_task())

    await from_outside(land)

    assert seen == [task, None]


async def test_a_callback_that_fails_keeps_nobody_waiting() -> None:
    landing, seen, raised = Landing(), list[str](), list[object]()

    def fail(landing: Landing) -> None:
        raise ValueError("no")

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: raised.append(context["exception"]))
    landing.add_done_callback(fail)
    landing.add_done_callback(lambda landing: seen.append("called"))
    await from_outside(lambda: landing.land(None))
    await asyncio.sleep(0)

    assert seen == ["called"]
    assert [str(error) for error in raised] == ["no"]


async def test_callback_that_was_removed_is_not_called() -> None:
    landing, seen = Landing(), list[Landing]()
    landing.add_done_callback(seen.append)
    landing.add_done_callback(seen.append)

    assert landing.remove_done_callback(seen.append) == 2

    landing.land(None)
    await asyncio.sleep(0)

    assert seen == []


async def test_callback_that_comes_late_is_called_soon() -> None:
    landing, seen = Landing(), list[Landing]()
    landing.land(None)
    landing.add_done_callback(seen.append)

    assert seen == []

    await asyncio.sleep(0)

    assert seen == [landing]
