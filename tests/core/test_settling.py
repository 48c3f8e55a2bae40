"""``settle``: everything goes on that can, and no further turn is given than that takes."""

from __future__ import annotations

import asyncio

import pytest

from durably.testing import settle
from durably.testing.clock import SETTLE_TURNS

LONG = SETTLE_TURNS - 2


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each ``asyncio.sleep`` so far."""
    sleeps, sleep = list[float](), asyncio.sleep

    async def noted_sleep(seconds: float) -> None:
        sleeps.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", noted_sleep)
    return sleeps


async def busy(turns: int) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    return "settled"


async def test_what_takes_many_turns_is_done() -> None:
    task = asyncio.ensure_future(busy(LONG))
    await settle()

    assert task.done()


async def test_what_was_asked_for_before_is_done_though_it_asks_for_nothing() -> None:
    called: list[str] = []
    asyncio.get_running_loop().call_soon(called.append, "before")
    await settle()

    assert called == ["before"]


async def test_chain_of_callbacks_futures_and_tasks_is_followed_to_its_end() -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    done: list[str] = []

    async def wait() -> None:
        done.append(await asyncio.gather(asyncio.shield(future), busy(3)) and "waited")

    def count_down(left: int) -> None:
        if left:
            loop.call_soon(count_down, left - 1)
        else:
            future.set_result(None)

    waiting = asyncio.ensure_future(wait())
    await settle()
    assert done == []
    count_down(20)
    await settle()

    assert done == ["waited"]
    await waiting


async def test_no_turn_is_given_to_nobody(turns: list[float]) -> None:
    waiting = asyncio.ensure_future(asyncio.Event().wait())
    await settle()
    turns.clear()
    await settle()

    assert len(turns) == 1
    waiting.cancel()


async def test_task_that_never_stops_asking_is_left_alone_at_last() -> None:
    for_ever = asyncio.ensure_future(busy(10**9))
    await settle()

    assert not for_ever.done()
    for_ever.cancel()


async def test_two_that_settle_at_once_both_see_everything_done() -> None:
    task = asyncio.ensure_future(busy(LONG // 2))

    async def settled() -> bool:
        await settle()
        return task.done()

    assert await asyncio.gather(settled(), settled()) == [True, True]


async def test_loop_is_left_as_it_was() -> None:
    loop = asyncio.get_running_loop()
    before = loop.call_soon
    settling = [asyncio.ensure_future(settle()) for _ in range(2)]
    await settle()
    for task in settling:
        task.cancel()
    await asyncio.wait(settling)

    assert loop.call_soon == before


class ClosedLoop:
    """Its methods cannot be replaced, as those of a loop that is not written in Python."""

    @property
    def call_soon(self) -> None:
        return None


async def test_loop_that_lets_nobody_count_is_given_every_turn(
    turns: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", ClosedLoop)
        await settle()

    assert len(turns) == SETTLE_TURNS
