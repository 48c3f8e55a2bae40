"""What a Durably, a job and a step can be given, and what is refused at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from durably import Durably, InvalidOption, Step, job
from durably.testing import memory_environment
from tests.core.kit import Gate, Tab


@job
async def nothing(step: Step) -> None: ...


@job(name="nothing")
async def another_nothing(step: Step) -> None: ...


async def plain(step: Step) -> None: ...


@pytest.mark.parametrize(
    "options",
    [
        {"heartbeat_interval": 0},
        {"heartbeat_interval": -1},
        {"heartbeat_interval": "5"},
        {"heartbeat_interval": True},
        {"heartbeat_interval": float("nan")},
        {"stale_threshold": float("inf")},
        {"stop_timeout": 1e300},
        {"stale_threshold": 5.0},
        {"stale_threshold": timedelta(seconds=1)},
        {"stale_threshold": None},
        {"max_concurrent_runs": 0},
        {"max_concurrent_runs": True},
        {"max_concurrent_runs": 1.5},
        {"max_interruptions": 0},
        {"on_hidden": "stop"},
        {"durability": "none"},
        {"durability": "always"},
        {"stop_timeout": 0},
        {"when_refused": "ignore"},
        {"preserve_steps": 1},
        {"preserve_steps": None},
        {"persist_logs": "no"},
        {"autostart": 0},
        {"retain": 0},
        {"retain": float("inf")},
        {"jobs": [plain]},
        {"jobs": ["nothing"]},
        {"jobs": [nothing, another_nothing]},
        {"jobs": [nothing, nothing]},
    ],
)
def test_option_that_cannot_work_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption) as caught:
        Durably("test", environment=memory_environment(), **options)

    assert caught.value.option == next(iter(options))


@pytest.mark.parametrize(
    "name", ["", "a/b", "../x", ".hidden", "a b", "ü", "a" * 101, "a\n", None, 7]
)
def test_name_that_is_no_file_name_everywhere_is_refused(name: str) -> None:
    with pytest.raises(InvalidOption, match="name is"):
        Durably(name, environment=memory_environment())


@pytest.mark.parametrize("name", ["a", "7", "shop", "shop.v2_test-1", "a" * 100])
def test_plain_name_is_taken(name: str) -> None:
    assert Durably(name, environment=memory_environment()).name == name


def test_durations_can_be_timedeltas() -> None:
    Durably(
        "test",
        environment=memory_environment(),
        heartbeat_interval=timedelta(milliseconds=500),
        stale_threshold=timedelta(minutes=1),
        stop_timeout=timedelta(seconds=1),
    )


def test_invalid_option_says_what_it_has_to_be() -> None:
    with pytest.raises(InvalidOption, match="max_concurrent_runs is 0; it has to be a whole"):
        Durably("test", environment=memory_environment(), max_concurrent_runs=0)


def plain_function(step: Step) -> None: ...


async def no_parameters() -> None: ...


async def keyword_step(*, step: Step) -> None: ...


async def unnamed_arguments(step: Step, *args: int) -> None: ...


class Holder:
    async def __call__(self, step: Step) -> None: ...


@pytest.mark.parametrize(
    "function",
    [plain_function, no_parameters, keyword_step, unnamed_arguments, Holder(), "text"],
)
def test_function_that_cannot_be_a_job_is_refused(function: Any) -> None:
    with pytest.raises(InvalidOption, match="job function"):
        job(function)


def test_job_keeps_the_docstring_of_its_function() -> None:
    @job
    async def documented(step: Step) -> None:
        """Do nothing."""

    assert documented.__doc__ == "Do nothing."
    assert repr(documented) == "<Job 'documented'>"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("", {}),
        (7, {}),
        ("fetch", {"durability": "none"}),
        ("fetch", {"durability": "always"}),
    ],
)
async def test_step_option_that_cannot_be_is_refused_before_its_function_runs(
    tab: Tab, gate: Gate, name: Any, options: dict[str, Any]
) -> None:
    refusals = []

    @job
    async def misuse(step: Step) -> None:
        try:
            await step.run(name, gate, **options)
        except InvalidOption as error:
            refusals.append(error)

    async with tab.durably(misuse) as durably:
        await (await durably.trigger(misuse())).result()

        assert len(refusals) == 1
        assert gate.visits == 0
