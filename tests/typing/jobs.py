"""How a type checker sees jobs, their calls and their results.

Checked by mypy, never run. An ``ignore`` is an assertion too: mypy reports one that is not needed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import assert_type

from durably import Call, Durably, Job, Run, RunHandle, Step, StepRecord, events, job


@job
async def import_orders(step: Step, url: str, batch_size: int = 100) -> int:
    return len(url) + batch_size


@job(name="shop.greet")
async def greet(step: Step, *, name: str) -> str:
    return name


@job
async def tidy(step: Step) -> None: ...


assert_type(tidy, Job[[], None])
assert_type(import_orders("orders.csv"), Call[int])
assert_type(import_orders("orders.csv", 10), Call[int])
assert_type(import_orders(url="orders.csv", batch_size=10), Call[int])
assert_type(greet(name="Ada"), Call[str])
assert_type(tidy(), Call[None])
assert_type(import_orders.name, str)

import_orders()  # type: ignore[call-arg]
import_orders(1)  # type: ignore[arg-type]
import_orders("orders.csv", "10")  # type: ignore[arg-type]
import_orders("orders.csv", size=10)  # type: ignore[call-arg]
greet("Ada")  # type: ignore[call-arg]
tidy(1)  # type: ignore[call-arg]


@job  # type: ignore[arg-type]
def not_async(step: Step) -> int:
    return 1


@job  # type: ignore[arg-type]
async def without_a_step() -> int:
    return 1


@job  # type: ignore[arg-type]
async def with_something_else_first(url: str) -> int:
    return 1


@job("a name")  # type: ignore[call-overload, untyped-decorator]
async def with_a_positional_name(step: Step) -> int:
    return 1


async def use() -> None:
    async with Durably("shop", jobs=[import_orders, greet, tidy]) as durably:
        assert_type(durably, Durably)
        handle = await durably.trigger(import_orders("orders.csv"), idempotency_key="once")
        assert_type(handle, RunHandle[int])
        assert_type(handle.id, str)
        assert_type(handle.run, Run)
        assert_type(await handle.result(), int)
        assert_type(await (await durably.trigger(greet(name="Ada"))).result(), str)
        nothing = await durably.trigger(tidy())
        assert_type(nothing, RunHandle[None])
        wider: RunHandle[object] = handle
        assert_type(await durably.result(wider.id), object)
        assert_type(await durably.get_run(handle.id), Run)
        assert_type(await durably.list_runs(status="failed", job=["a", "b"], limit=5), list[Run])
        assert_type(await durably.get_steps(handle.id), list[StepRecord])
        assert_type(durably.events(handle.id), AsyncIterator[events.Event])
        durably.on("run:complete", lambda event: event.sequence)()

        await durably.trigger(import_orders)  # type: ignore[arg-type]
        await durably.trigger("import_orders")  # type: ignore[arg-type]
        wrong: str = await handle.result()  # type: ignore[assignment]
        del wrong


Durably("shop", heartbeat_interval=timedelta(seconds=5), stop_timeout=1)
Durably("shop", on_hidden="pause", durability="strict", when_refused="memory")
Durably("shop", on_hidden="stop")  # type: ignore[arg-type]
Durably("shop", durability="always")  # type: ignore[arg-type]
Durably("shop", when_refused="ignore")  # type: ignore[arg-type]
Durably("shop", jobs=[use])  # type: ignore[list-item]
Durably("shop", heartbeat="5")  # type: ignore[call-arg]
Durably("shop", [import_orders])  # type: ignore[call-arg]
