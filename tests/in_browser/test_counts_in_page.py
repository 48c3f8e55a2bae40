"""What the library costs a page, in counts: a regression shows however slow or busy the machine is.

Requests and transactions are those of IndexedDB, pages and bytes those that are written to it.

The others are crossings between Python and JavaScript, as Python's own monitoring tells of them:

- calls: of a JavaScript function or method, by the code of the library;
- callbacks: of the library's code, by JavaScript;
- turns: of the event loop. Each is a call of Pyodide's ``scheduleCallback``, and one back;
- timers: callbacks that are due later. Each is as much as a turn, but here the clock is a fake one.

Not counted are properties that are read or set, proxies made and destroyed, promises awaited (no
act below awaits one), and what happens inside WebAssembly, as when SQLite writes to its file.
"""

from __future__ import annotations

import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyodide_js
import pytest
from pyodide.code import run_js
from pyodide.ffi import JsProxy, can_run_sync, create_proxy

import durably
from durably import Durably, Environment, Step, job
from durably.browser.mirror import IndexedDBMirror
from durably.browser.tabs import TabChannel, TabLeadership
from durably.browser.visibility import page_visibility
from durably.testing import FakeClock
from tests.core.counts import Cost, check_cost, difference
from tests.core.kit import Gate
from tests.in_browser.page import module

COUNTS = ("requests", "transactions", "pages", "bytes", "calls", "callbacks", "turns", "timers")
EXPECTED = {
    #           requests, transactions, pages, bytes, calls, callbacks, turns, timers
    "a trigger":                          (1, 1, 4, 1276, 1, 1, 0, 0),
    "a checkpoint":                       (1, 1, 1, 484, 0, 1, 0, 0),
    "eight checkpoints at a time":        (2, 2, 2, 1352, 1, 2, 34, 0),
    "a run of one step":                  (3, 3, 8, 3028, 1, 3, 5, 1),
    "a replayed step":                    (0, 0, 0, 0, 0, 0, 0, 0),
    "a minute with nothing to do":        (0, 0, 0, 0, 0, 0, 0, 0),
    "a minute of a step":                 (0, 0, 0, 0, 0, 0, 0, 12),
}  # fmt: skip

LIBRARY = str(Path(durably.__file__).parent)
TOOL = 4  # an id that neither a debugger, nor coverage or a profiler goes by
REPEATED = 3
"""How often an act is counted: it has to cost the same each time."""
EVENT_LOOP = "webloop.py"
METHOD_CALLED_AT_ONCE = "JsMethodCallSingleton"
"""What Pyodide 314 has in place of a method, where it is looked up to be called."""


class CountingClock(FakeClock):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Any:
        self.count += 1
        return super().call_later(seconds, callback)


class Crossings:
    """Counts the crossings between Python and JavaScript, while it is watching."""

    def __init__(self) -> None:
        self.kinds = Counter[str]()
        self.places = Counter[str]()
        """Where all of them were made, for whoever has to find one."""

    def watch(self) -> None:
        monitoring = sys.monitoring
        monitoring.use_tool_id(TOOL, "durably's counts")
        events = monitoring.events
        monitoring.register_callback(TOOL, events.CALL, self._called)
        monitoring.register_callback(TOOL, events.PY_START, self._entered)
        monitoring.register_callback(TOOL, events.PY_RESUME, self._entered)
        monitoring.set_events(TOOL, events.CALL | events.PY_START | events.PY_RESUME)

    def rest(self) -> None:
        sys.monitoring.set_events(TOOL, sys.monitoring.events.NO_EVENTS)
        sys.monitoring.free_tool_id(TOOL)

    def _called(
        self, code: types.CodeType, offset: int, function: object, argument: object
    ) -> None:
        if not is_javascript(function, argument):
            return
        if code.co_filename.startswith(LIBRARY):
            self._note("calls", code)
        elif code.co_filename.endswith(EVENT_LOOP):
            self._note("turns", code)

    def _entered(self, code: types.CodeType, offset: int) -> None:
        is_from_javascript = sys._getframe(1).f_back is None
        if is_from_javascript and code.co_filename.startswith(LIBRARY):
            self._note("callbacks", code)

    def _note(self, kind: str, code: types.CodeType) -> None:
        self.kinds[kind] += 1
        self.places[f"{kind}: {code.co_qualname} in {Path(code.co_filename).name}"] += 1


def is_javascript(function: object, argument: object) -> bool:
    """Whether a call of ``function``, with this first argument, is one of JavaScript."""
    if isinstance(function, types.MethodDescriptorType):
        return isinstance(argument, JsProxy)
    if isinstance(function, types.BuiltinMethodType):
        return isinstance(function.__self__, JsProxy)
    return isinstance(function, JsProxy) or type(function).__name__ == METHOD_CALLED_AT_ONCE


class Meter:
    """Counts what each act costs a database in this page."""

    def __init__(self, name: str, counting: Any) -> None:
        self.clock = CountingClock()
        self.costs: dict[str, list[Cost]] = {}
        """What each act has cost, each time."""
        self._name = name
        self._counting = counting
        self._crossings = Crossings()
        counting.count(name)

    def durably(self, *jobs: Any, **options: Any) -> Durably:
        environment = Environment(
            mirror=lambda: IndexedDBMirror(self._name),
            leadership=TabLeadership(self._name),
            visibility=page_visibility(),
            channel=lambda: TabChannel(self._name),
            clock=self.clock,
        )
        return Durably(self._name, jobs=jobs, environment=environment, **options)

    @contextmanager
    def counting(self, act: str) -> Iterator[None]:
        before = self._read()
        self._crossings.watch()
        try:
            yield
        finally:
            self._crossings.rest()
        self.costs.setdefault(act, []).append(difference(self._read(), before))

    def check(self, *acts: str, leaving_out: str | None = None) -> None:
        """Compare what these acts have cost with the table."""
        assert self.costs.keys() == set(acts)
        places = [f"{n} {place}" for place, n in self._crossings.places.most_common()]
        for act, costs in self.costs.items():
            expected = dict(zip(COUNTS, EXPECTED[act], strict=True))
            # How many blocks of a page a row changes depends on where in it the row comes to lie.
            most_bytes = max(cost["bytes"] for cost in costs)
            for cost in costs:
                found = {**cost, "bytes": most_bytes}
                found.pop(leaving_out or "", None)
                check_cost(act, found, {kind: expected[kind] for kind in found}, places)

    def _read(self) -> Cost:
        kinds = self._crossings.kinds
        asked = self._counting.read().to_py()
        crossed = (kinds["calls"], kinds["callbacks"], kinds["turns"], self.clock.count)
        return dict(zip(COUNTS, (*asked, *crossed), strict=True))


@pytest.fixture
async def meter(name: str) -> Meter:
    return Meter(name, await module("counting.js"))


@job
async def one_step(step: Step, number: int) -> int:
    return await step.run("step", int, number)


async def test_cost_of_a_trigger(meter: Meter) -> None:
    async with meter.durably(one_step, autostart=False) as durably:
        await durably.trigger(one_step(0))
        for number in range(REPEATED):
            await meter.clock.advance(1)
            with meter.counting("a trigger"):
                await durably.trigger(one_step(number))

    meter.check("a trigger")


async def test_cost_of_a_checkpoint(meter: Meter) -> None:
    @job
    async def steps(step: Step) -> None:
        await step.run("first", int)
        for number in range(REPEATED):
            with meter.counting("a checkpoint"):
                await step.run("step", int, number, key=number)

    async with meter.durably(steps) as durably:
        await durably.trigger_and_wait(steps())

    meter.check("a checkpoint")


async def messages_behind_checkpoints(meter: Meter) -> list[int]:
    """How many messages the page had posted to itself by the end of each of some checkpoints."""
    counting = await module("counting.js")
    messages: list[int] = []

    @job
    async def steps(step: Step) -> None:
        for number in range(REPEATED):
            await step.run("step", int, number, key=number)
            messages.append(counting.readMessages())

    async with meter.durably(steps) as durably:
        await durably.trigger_and_wait(steps())
    return messages


async def test_landing_takes_no_turn_of_the_event_loop(meter: Meter) -> None:
    """Nor does Pyodide, to call Python where stacks switch: ``callAtOnce`` in ``mirror.js``."""
    assert can_run_sync(), "a turn would be made only where stacks switch"
    messages = await messages_behind_checkpoints(meter)
    # Whoever calls a Python function on a stack of its own otherwise does make one.
    counting, callee = await module("counting.js"), create_proxy(lambda: None)
    before_call = counting.readMessages()
    called = run_js("(callee) => callee.callPromising()")(callee)
    after_call = counting.readMessages()
    await called
    callee.destroy()

    assert len(set(messages)) == 1, "no message was posted from one checkpoint to the next"
    assert after_call == before_call + 1


@pytest.mark.parametrize(
    "api", ["undefined", "Object.freeze({ scheduleCallback() {} })"], ids=["gone", "frozen"]
)
async def test_landing_makes_its_turn_where_pyodide_is_another(
    meter: Meter, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = types.SimpleNamespace(FS=pyodide_js.FS, _api=run_js(api))
    monkeypatch.setattr("durably.browser.mirror.pyodide_js", other)
    messages = await messages_behind_checkpoints(meter)

    # Now and then it is two: the look whether the last call waits in `run_sync` meets the next one
    # in its turn, and calls Python once more (`onOtherStacks` in `mirror.js`).
    assert all(after > before for before, after in pairwise(messages))


async def test_cost_of_checkpoints_that_share_commits(meter: Meter) -> None:
    @job
    async def steps(step: Step) -> None:
        await step.run("first", int)
        for number in range(REPEATED):
            with meter.counting("eight checkpoints at a time"):
                await step.all({f"{number}-{branch}": int for branch in range(8)})

    async with meter.durably(steps) as durably:
        await durably.trigger_and_wait(steps())

    meter.check("eight checkpoints at a time")


async def test_cost_of_a_run_of_one_step(meter: Meter) -> None:
    async with meter.durably(one_step) as durably:
        await durably.trigger_and_wait(one_step(0))
        for number in range(REPEATED):
            # The worker has slept, and looks after everything else first.
            await meter.clock.advance(1)
            with meter.counting("a run of one step"):
                await durably.trigger_and_wait(one_step(number))

    meter.check("a run of one step")


async def test_cost_of_a_replay(meter: Meter) -> None:
    @job
    async def steps(step: Step) -> None:
        for number in range(10):
            with meter.counting("a replayed step"):
                await step.run("step", int, number, key=number)
        await step.wait_for(await step.prepare_wait("answer", timeout=10))

    async with meter.durably(steps) as durably:
        run = await durably.trigger(steps())
        while not (await durably.get_run(run.id)).is_waiting:
            await meter.clock.advance(0)
        meter.costs.clear()
        await meter.clock.advance(10)
        await run.result()

    meter.check("a replayed step")


async def test_cost_of_a_minute_with_nothing_to_do(meter: Meter) -> None:
    async with meter.durably(one_step) as durably:
        await durably.trigger_and_wait(one_step(1))
        await meter.clock.advance(1)
        with meter.counting("a minute with nothing to do"):
            await meter.clock.advance(60)

    # The fake clock gives turns.
    meter.check("a minute with nothing to do", leaving_out="turns")


async def test_cost_of_a_minute_of_a_step(meter: Meter) -> None:
    gate = Gate()

    @job
    async def slow(step: Step) -> None:
        await step.run("slow", gate)

    async with meter.durably(slow) as durably:
        run = await durably.trigger(slow())
        await gate.entered.wait()
        await meter.clock.advance(1)
        await durably.get_run(run.id)  # Whoever reads waits until the try's record is durable.
        with meter.counting("a minute of a step"):
            await meter.clock.advance(60)
        gate.open()
        await run.result()

    meter.check("a minute of a step", leaving_out="turns")
