"""Several real processes on one file: some are killed, some are stopped, and nothing is lost."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.crash.processes import Process, Processes

pytestmark = pytest.mark.cpython_only

NEVER = 3600.0
"""A stale threshold that no test lives to see: only a proof sends a run back."""
RUN = "select status, lease_generation, interruptions from runs where job = 'three_steps'"

STALE = "requeued: its heartbeat is stale"

needs_proof = pytest.mark.skipif(
    find_spec("fcntl") is None, reason="no end is proven without flock"
)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.close()


# Claims


def test_many_processes_execute_each_of_many_runs_exactly_once(processes: Processes) -> None:
    """They also create the file at the same moment, and trigger the same runs."""
    count = 200
    workers = [processes.start(f"worker-{n}", count=count) for n in range(4)]
    for worker in workers:
        worker.until("result: all")
    for worker in workers:
        worker.go_on()
    told = [worker.end() for worker in workers]

    assert told == [[]] * 4
    names = [f"{act}-{n}" for n in range(count) for act in ("run", "one", "two")]
    assert processes.count() == Counter(names)
    assert processes.rows(
        "select status, lease_generation, interruptions, count(*) from runs group by 1, 2, 3"
    ) == [("completed", 1, 0, count)]
    assert not processes.owners.exists()


def test_run_of_a_living_owner_is_left_alone(processes: Processes) -> None:
    owner = processes.start("awaiting", heartbeat=0.2, threshold=NEVER)
    owner.until("holding")
    other = processes.start("other", threshold=NEVER)
    other.until("looked")
    owner.go_on()
    told_by_owner, told_by_other = owner.end(), other.end()

    assert told_by_owner == told_by_other == ["result: third by awaiting"]
    assert processes.rows(RUN) == [("completed", 1, 0)]


# Killed


@needs_proof
def test_restarted_process_gets_the_run_of_its_killed_predecessor_back_at_once(
    processes: Processes,
) -> None:
    first = processes.start("awaiting", threshold=NEVER)
    first.until("holding")
    first.kill()
    second = processes.start("second", threshold=NEVER)
    told = second.end()

    assert told == ["requeued: its owner has ended", "looked", "result: third by second"]
    assert processes.effects() == ["first", "second", "second", "third"]
    assert processes.rows(RUN) == [("completed", 2, 1)]
    assert not processes.owners.exists()


@needs_proof
def test_survivor_gets_the_run_of_a_killed_process_at_its_next_look(processes: Processes) -> None:
    owner = processes.start("awaiting", threshold=NEVER)
    owner.until("holding")
    survivor = processes.start("survivor", threshold=NEVER)
    before = survivor.until("looked")
    owner.kill()
    after = survivor.end()

    assert before == ["looked"]
    assert after == ["requeued: its owner has ended", "result: third by survivor"]
    assert processes.effects() == ["first", "second", "second", "third"]
    assert not processes.owners.exists()


@needs_proof
def test_processes_killed_again_and_again_lose_no_run_and_repeat_no_finished_step(
    processes: Processes,
) -> None:
    """Wherever the kill strikes, also while a predecessor's runs are being recovered."""
    count, kills = 200, 5

    def start(role: str) -> Process:
        return processes.start(role, threshold=NEVER, count=count, pause=0.02)

    # The first one is alone, and so in the middle of its work when it is killed.
    victim = start("victim")
    wait_for_effects(processes, 20, most=3 * count)
    for _ in range(kills - 1):
        next_victim = start("victim")
        victim.kill()
        wait_for_effects(processes, 20, most=3 * count)
        victim = next_victim
    survivor = start("survivor")
    victim.kill()
    survivor.until("result: all")
    survivor.go_on()
    survivor.end()

    acts = processes.count()
    expected = Counter(f"{step}-{n}" for n in range(count) for step in ("one", "two"))
    steps = Counter({name: acts[name] for name in acts if not name.startswith("run-")})
    assert set(steps) == set(expected)
    # A kill interrupts at most the four runs that a process executes at the same time, and of
    # each the one step that was under way.
    assert 0 < (steps - expected).total() <= 4 * kills
    assert processes.rows("select status, count(*) from runs group by 1") == [("completed", count)]
    assert not processes.owners.exists()


def wait_for_effects(processes: Processes, more: int, most: int) -> None:
    """A kill is to strike in the middle of the work, wherever that is then."""
    wanted = min(len(processes.effects()) + more, most)
    while len(processes.effects()) < wanted:
        time.sleep(0.005)  # What another process does can only be watched.


def test_run_of_a_killed_process_whose_lock_file_is_gone_waits_for_the_threshold(
    processes: Processes,
) -> None:
    first = processes.start("awaiting", heartbeat=0.2, threshold=1)
    first.until("holding")
    for file in processes.owners.glob("*"):
        file.unlink()
    first.kill()
    second = processes.start("second", heartbeat=0.2, threshold=1)
    told = second.end()

    assert sorted(told) == ["looked", STALE, "result: third by second"]
    assert processes.effects() == ["first", "second", "second", "third"]


# Stopped


@pytest.mark.parametrize("role", ["awaiting", "blocking"])
def test_owner_that_stood_still_for_too_long_changes_nothing(
    processes: Processes, role: str
) -> None:
    """It comes back in the middle of a step: one that awaits, or one that returns at once."""
    stale = processes.start(role, heartbeat=0.2, threshold=1)
    stale.until("holding")
    stale.send(signal.SIGSTOP)
    other = processes.start("other", heartbeat=0.2, threshold=1)
    told_by_other = other.end()
    ended = processes.rows("select * from runs"), processes.rows("select * from steps")
    stale.send(signal.SIGCONT)
    stale.go_on()
    told_by_stale = stale.end()

    assert sorted(told_by_other) == ["looked", STALE, "result: third by other"]
    assert sorted(told_by_stale) == ["LeaseLost", "result: third by other"]
    assert processes.effects() == ["first", "second", "second", "third"]
    assert (processes.rows("select * from runs"), processes.rows("select * from steps")) == ended
    assert not processes.owners.exists()
