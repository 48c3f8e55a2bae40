"""Whatever can happen to a store: what it holds then leaves and arrives as it is.

The random programs are those of ``test_store_model``, by seeded choice or by Hypothesis.
"""

from __future__ import annotations

import asyncio
from copy import deepcopy
from random import Random
from typing import Any

import pytest

from durably.container import pack, unpack
from tests.core.kit import OpenStore, open_store
from tests.core.store_machine import RULES, StoreMachine
from tests.core.test_store_model import Program, programs

SEEDS = range(15)
RULES_OF_A_PROGRAM = 150


def random_program(seed: int) -> Program:
    chance = Random(seed)
    weights = [rule.weight for rule in RULES.values()]
    return [
        (name, {key: chance.choice(values) for key, values in RULES[name].choices.items()})
        for name in chance.choices(list(RULES), weights, k=RULES_OF_A_PROGRAM)
    ]


async def lines_after(program: Program) -> tuple[list[Any], int]:
    """What is exported when a program has come to its end, and the time by then."""
    async with StoreMachine.opened() as machine:
        for name, arguments in program:
            if RULES[name].is_possible(machine):
                await machine.apply(name, arguments)
        file = await pack("runs", machine.store.transfers.snapshot(None), None)
        return (await unpack(file, None))[1], machine.now


def arrived(lines: list[Any], now: int) -> list[Any]:
    """The same where it is imported: who worked on a run is not there."""
    lines = deepcopy(lines)
    for line in lines:
        if line.get("run", {}).get("status") == "running":
            line["run"]["status"] = "pending"
        if "run" not in line or line["run"]["completed_at"] is not None:
            continue
        ended = {(step["name"], step["attempt"]) for step in line["steps"]}
        for attempt in line["attempts"]:
            if attempt["reason"] is None and (attempt["step"], attempt["number"]) not in ended:
                attempt |= {"reason": "lease-lost", "interrupted_at": now}
    return lines


async def check(program: Program) -> None:
    lines, now = await lines_after(program)
    async with open_store() as there:
        first = there.store.transfers.take(lines, now).report
        after = there.store.transfers.snapshot(None)
        second = there.store.transfers.take(lines, now).report

        ids = tuple(line["run"]["id"] for line in lines if "run" in line)
        assert (first.created, first.known, first.conflicting) == (ids, (), ())
        assert after == arrived(lines, now)
        assert (second.created, second.known, second.behind) == ((), ids, ())
        assert there.store.transfers.snapshot(None) == after
        check_claims(there, lines, now)


def check_claims(there: OpenStore, lines: list[Any], now: int) -> None:
    """Each pending run can be had, one of a concurrency key at a time, under a newer lease."""
    generations = {line["run"]["id"]: line["run"] for line in lines if "run" in line}
    jobs = {run["job"] for run in generations.values()}
    for _ in generations:
        claim = there.store.leases.claim(jobs, "new owner", now)
        if claim is None:
            break
        left = generations[claim.lease.run_id]
        assert claim.lease.generation == left["lease_generation"] + 1
        assert there.store.leases.complete(claim.lease, "null", now, keeps_outputs=False)
    statuses = {
        line["run"]["status"] for line in there.store.transfers.snapshot(None) if "run" in line
    }
    assert statuses <= {"completed", "failed", "cancelled", "waiting"}


@pytest.mark.parametrize("seed", SEEDS)
async def test_store_after_a_random_program_arrives_as_it_left(seed: int) -> None:
    await check(random_program(seed))


@pytest.mark.cpython_only
def test_store_after_a_program_of_hypothesis_arrives_as_it_left() -> None:
    from hypothesis import HealthCheck, given, settings

    @settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
    @given(programs())
    def check_one(program: Program) -> None:
        asyncio.run(check(program))

    check_one()


async def test_random_programs_leave_something_of_everything() -> None:
    seen: set[str] = set()
    for seed in SEEDS:
        lines, _ = await lines_after(random_program(seed))
        for line in lines:
            seen |= {part for part, rows in line.items() if rows}
            seen.add(line.get("run", {}).get("status", "key"))

    assert seen >= {"run", "steps", "attempts", "waits", "logs", "key"}
    assert seen >= {"pending", "running", "waiting", "completed", "failed", "cancelled"}
