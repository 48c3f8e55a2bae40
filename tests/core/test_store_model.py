"""The store against its model, through whatever can happen to it in whatever order.

A program is a list of rules with their arguments. Hypothesis writes programs where there is one. It
is imported inside its test: Pyodide collects this file too, without having it. There, and here, a
seeded generator writes others.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.store_machine import RULES, StoreMachine

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

SEEDS = range(40)
RULES_OF_A_PROGRAM = 200
"""Of which about every second is possible where it stands."""
CHAPTERS = 20
"""Lists that a program of Hypothesis's is made of: one by one they are rather short."""

Program = list[tuple[str, dict[str, Any]]]


@pytest.mark.parametrize("seed", SEEDS)
async def test_store_agrees_with_its_model_in_a_random_program(seed: int) -> None:
    chance = Random(seed)
    weights = [rule.weight for rule in RULES.values()]
    names = chance.choices(list(RULES), weights, k=RULES_OF_A_PROGRAM)
    program = [
        (name, {key: chance.choice(values) for key, values in RULES[name].choices.items()})
        for name in names
    ]

    await check(program)


@pytest.mark.cpython_only
def test_store_agrees_with_its_model_in_a_program_of_hypothesis() -> None:
    from hypothesis import HealthCheck, Phase, given, settings

    @settings(
        deadline=None,
        max_examples=80,
        # How long it takes to open a store says nothing about it.
        suppress_health_check=[HealthCheck.too_slow],
        # `check` shortens what fails, in seconds, where Hypothesis would take minutes.
        phases=[Phase.reuse, Phase.generate],
    )
    @given(programs())
    def check_one(program: Program) -> None:
        asyncio.run(check(program))

    check_one()


def programs() -> SearchStrategy[Program]:
    from hypothesis import strategies as some

    calls = [
        some.tuples(
            some.just(name),
            some.fixed_dictionaries(
                {key: some.sampled_from(values) for key, values in rule.choices.items()}
            ),
        )
        for name, rule in RULES.items()
        for _ in range(rule.weight)
    ]
    chapters = some.tuples(*(some.lists(some.one_of(calls)) for _ in range(CHAPTERS)))
    return chapters.map(lambda chapters: [call for calls in chapters for call in calls])


async def check(program: Program) -> None:
    """Carry out a program; one that fails is shortened first, and told."""
    if not await fails(program):
        return
    short = await shortened(program)
    try:
        await carry_out(short)
    except Exception as error:
        error.add_note("\n".join(call_of(*one) for one in short))
        raise


def call_of(name: str, arguments: dict[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={arguments[key]!r}' for key in RULES[name].choices)})"


async def carry_out(program: Program) -> None:
    """Apply the rules, but for those that have nothing to be applied to."""
    async with StoreMachine.opened() as machine:
        for name, arguments in program:
            if RULES[name].is_possible(machine):
                await machine.apply(name, arguments)


async def fails(program: Program) -> bool:
    try:
        await carry_out(program)
    except Exception:
        return True
    return False


async def shortened(program: Program) -> Program:
    """The program without what it fails without, and with the first choices where those do."""
    size = len(program)
    while size > 0:
        for start in range(len(program), -1, -size):
            shorter = program[:start] + program[start + size :]
            if len(shorter) < len(program) and await fails(shorter):
                program = shorter
        size //= 2
    for position, (name, arguments) in enumerate(program):
        for key, values in RULES[name].choices.items():
            arguments = arguments | {key: values[0]}
            simpler = [*program[:position], (name, arguments), *program[position + 1 :]]
            if await fails(simpler):
                program = simpler
            else:
                arguments = program[position][1]
    return program
