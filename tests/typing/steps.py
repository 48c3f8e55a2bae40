"""How a type checker sees the steps of a job. Checked by mypy, never run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import assert_type

from durably import Step, Wait, WaitResult, job


async def fetch(url: str, retries: int = 3) -> list[str]:
    return [url] * retries


def count(lines: list[str]) -> int:
    return len(lines)


def nothing() -> None: ...


async def anything(*parts: str) -> str:
    return "".join(parts)


async def answer() -> list[str]:
    return ["yes"]


def later(url: str) -> Awaitable[bytes]:
    raise NotImplementedError


class Client:
    async def get(self, url: str) -> bytes:
        return url.encode()


@job
async def typed(step: Step) -> int:
    assert_type(step.run_id, str)
    assert_type(await step.run("async", fetch, "url"), list[str])
    assert_type(await step.run("async with its default", fetch, "url", 5), list[str])
    assert_type(await step.run("sync", count, ["a"]), int)
    await step.run("nothing", nothing)
    assert_type(await step.run("any number of arguments", anything, "a", "b"), str)
    assert_type(await step.run("an awaitable", later, "url"), bytes)
    assert_type(await step.run("a method", Client().get, "url"), bytes)
    assert_type(await step.run("a lambda", lambda: 1), int)
    assert_type(await step.run("options", count, ["a"], key=7, durability="strict"), int)
    pair = await asyncio.gather(step.run("a", fetch, "url"), step.run("b", count, ["a"]))
    assert_type(pair, tuple[list[str], int])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(step.run("c", count, ["a"]))
    assert_type(task.result(), int)
    assert_type(await step.all(a=answer, b=answer), dict[str, list[str]])
    assert_type(await step.all({"a": answer}, b=lambda: fetch("url")), dict[str, list[str]])
    assert_type(await step.all(a=lambda: 1, b=lambda: 2), dict[str, int])
    assert_type(await step.all(a=lambda: 1, b=answer), dict[str, object])
    step.progress(1, 2.5, "half")
    step.log("said", "warning", size=3)
    assert_type(step.cancelled, bool)
    assert_type(step.cancel_event, asyncio.Event)
    step.raise_if_cancelled()
    await step.set_metadata({"tokens": 7})
    wait = await step.prepare_wait("answer", timeout=timedelta(days=1), metadata={"for": "Ada"})
    assert_type(wait, Wait)
    assert_type(await step.wait_for(wait), WaitResult)

    await step.run("wrong type", count, 1)  # type: ignore[arg-type]
    await step.run("wrong type", fetch, 1)  # type: ignore[arg-type]
    await step.run("too many", count, ["a"], 2)  # type: ignore[call-arg, arg-type]
    await step.run("too few", count)  # type: ignore[call-arg, arg-type]
    await step.run("by keyword", count, lines=["a"])  # type: ignore[call-overload]
    await step.run("no function", 7)  # type: ignore[call-overload]
    await step.run(nothing)  # type: ignore[call-overload]
    await step.run("none", count, [], durability="always")  # type: ignore[call-overload]
    await step.all(a=7)  # type: ignore[call-overload]
    await step.all(a=fetch)  # type: ignore[arg-type]
    await step.set_metadata([1])  # type: ignore[arg-type]
    await step.prepare_wait("answer", timeout="soon")  # type: ignore[arg-type]
    await step.wait_for("answer")  # type: ignore[arg-type]
    step.progress("half")  # type: ignore[arg-type]
    wrong: str = await step.run("result", count, ["a"])  # type: ignore[arg-type]
    return len(wrong)
