"""What the owner of a run does, or one that was its owner once: rules for the store and its model.

A rule does the same to both and compares the answers. It says from which values its arguments are
chosen, and not by whom.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from durably.codec import encode
from durably.model import ErrorInfo, Lease, Progress
from durably.store.steps import LARGE_OUTPUT_CHARS
from tests.core.store_life import StoreLife
from tests.core.store_model import Entry

JOBS = ("resize", "upload")
SOME_JOBS = (JOBS, JOBS, ("resize",), ("upload", "unheard-of"))
STEPS = ("a", "b", "c")
SIZES = (1, LARGE_OUTPUT_CHARS)
"""Of the text that a step or a run returns: what is read at once, and what is read when needed."""
REASONS = ("unknown", "lease-lost")
ERROR = ErrorInfo("OSError", "out of order")
YES_OR_NO = (False, True)
WHICH = range(6)
"""Which one of several; the first again behind the last."""
STALE_LEASES = 3
"""How many of the leases that are over are tried: the latest, of runs that have a new one."""

RARELY, SOMETIMES, OFTEN = 1, 2, 4
"""How likely a rule is."""

T = TypeVar("T")
Act = Callable[..., Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Rule:
    act: Act
    choices: dict[str, Sequence[Any]]
    is_possible: Callable[[Any], bool]
    """Whether a machine has what the rule needs."""
    weight: int


def rule(
    is_possible: Callable[[Any], bool] = lambda machine: True,
    weight: int = SOMETIMES,
    **choices: Sequence[Any],
) -> Callable[[Act], Rule]:
    return lambda act: Rule(act, choices, is_possible, weight)


def has_leases(machine: Owners) -> bool:
    return bool(machine.model.leases)


def leases_of_waits(machine: Owners) -> list[Lease]:
    """The leases of runs that have prepared a wait."""
    run_ids = {wait["run_id"] for wait in machine.model.waits()}
    return [lease for lease in machine.model.leases if lease.run_id in run_ids]


def has_leases_of_waits(machine: Owners) -> bool:
    return bool(leases_of_waits(machine))


class Owners(StoreLife):
    """Owners, one of which claims what another one has lost."""

    # Runs

    @rule(
        weight=OFTEN,
        jobs=SOME_JOBS,
        owner=("first", "second", "third"),
        leaves_out=(None, None, None, 0, 1),
    )
    async def claim(self, jobs: Sequence[str], owner: str, leaves_out: int | None) -> None:
        left_out = []
        if leaves_out is not None and self.model.entries:
            left_out = [self.entry(leaves_out).run["id"]]
        expected = self.model.claimable(jobs, left_out)

        claim = self.store.leases.claim(jobs, owner, self.now, left_out)

        assert (claim and claim.lease.run_id) == expected
        if claim is not None and expected is not None:
            assert claim.lease == self.model.claim(expected, owner, self.now)
            run = self.model.entries[expected].run
            assert (claim.job, claim.input) == (run["job"], encode(run["input"]))

    @rule(has_leases, RARELY, which=WHICH, progress=(None, 1, 2))
    async def show_life(self, which: int, progress: int | None) -> None:
        lease, entry = self._lease(which)
        if progress is None:
            done = self.store.leases.renew(lease, self.now)
        else:
            done = self.store.leases.save_progress(lease, Progress(progress, 2, "so far"))

        assert done == (entry is not None)
        if entry and progress is None:
            entry.run["heartbeat_at"] = self.now
        elif entry and progress is not None:
            entry.run["progress"] = Progress(progress, 2, "so far")

    @rule(has_leases, which=WHICH)
    async def release(self, which: int) -> None:
        lease, entry = self._lease(which)

        assert self.store.leases.release(lease, self.now) == (entry is not None)
        if entry:
            self.model.leave(entry, "pending", "lease-lost", self.now)

    @rule(has_leases, which=WHICH, most=(1, 3), reason=REASONS)
    async def requeue(self, which: int, most: int, reason: Any) -> None:
        lease, entry = self._lease(which)

        done = self.store.leases.requeue(lease, most, reason, self.now)

        assert done == (entry is not None and self.model.requeue(entry, most, reason, self.now))

    @rule(has_leases, which=WHICH, size=(*SIZES, None), keeps_outputs=YES_OR_NO)
    async def end(self, which: int, size: int | None, keeps_outputs: bool) -> None:
        """Complete; or where the output has no size, fail."""
        lease, entry = self._lease(which)
        output, error = (None, ERROR) if size is None else ("x" * size, None)
        leases, now = self.store.leases, self.now
        if error is not None:
            done = leases.fail(lease, error, now, keeps_outputs=keeps_outputs)
        else:
            done = leases.complete(lease, encode(output), now, keeps_outputs=keeps_outputs)

        assert done == (entry is not None)
        if entry:
            status = "completed" if error is None else "failed"
            self.model.end(entry, status, "unknown", now, keeps_outputs)
            entry.run |= {"output": output, "error": error}

    # Steps

    @rule(has_leases, which=WHICH, step=STEPS, size=(*SIZES, None))
    async def checkpoint(self, which: int, step: str, size: int | None) -> None:
        """Of a step that completed; or where its output has no size, failed."""
        lease, entry = self._lease(which)
        if entry and step in entry.steps:
            return  # Its owner replays it.
        output, error = (None, ERROR) if size is None else ("x" * size, None)

        done = self.store.steps.checkpoint(
            lease,
            step,
            position=len(entry.steps) + 1 if entry else 1,
            attempt=entry.next_number(step) if entry else 1,
            output=None if output is None else encode(output),
            error=error,
            started_at=entry.began_at(step, self.now) if entry else self.now,
            now=self.now,
        )

        assert done == (entry is not None)
        if entry:
            self.model.checkpoint(entry, step, output, error, self.now)

    @rule(has_leases, which=WHICH, step=STEPS, metadata=(None, 1, 2))
    async def save_attempt(self, which: int, step: str, metadata: int | None) -> None:
        lease, entry = self._lease(which)
        if entry and step in entry.steps:
            return
        done = self.store.steps.save_attempt(
            lease,
            step,
            entry.next_number(step) if entry else 1,
            started_at=self.now,
            metadata=None if metadata is None else encode(metadata),
        )

        assert done == (entry is not None)
        if entry:
            self.model.save_attempt(entry, step, metadata, self.now)

    @rule(has_leases, which=WHICH)
    async def log(self, which: int) -> None:
        """A line is kept of whoever owns a run, or did last."""
        lease, _ = self._lease(which)
        done = self.store.logs.add(lease, "info", "so far", encode({}), "a", self.now)

        assert done == self.model.log(lease.run_id, lease.generation, self.now)

    # Waits

    @rule(has_leases, OFTEN, which=WHICH, name=("wait", "another"), timeout=(None, 1, 60))
    async def prepare(self, which: int, name: str, timeout: int | None) -> None:
        lease, entry = self._lease(which)
        if entry and any(wait["name"] == name for wait in entry.waits.values()):
            return  # Its owner finds it.
        self.waits_made += 1
        wait_id = f"wait {self.waits_made}"
        deadline_at = None if timeout is None else self.now + timeout * 1000

        done = self.store.waits.prepare(
            lease, wait_id, name, metadata=encode(name), deadline_at=deadline_at, now=self.now
        )

        assert done == (entry is not None)
        if entry:
            self.model.prepare(entry, wait_id, name, deadline_at, self.now)

    @rule(has_leases_of_waits, OFTEN, which=WHICH, waits=((0,), (1,), (0, 1)))
    async def suspend(self, which: int, waits: Sequence[int]) -> None:
        lease, entry = self._lease(which, leases_of_waits(self))
        prepared = list(self.model.entries[lease.run_id].waits)
        wait_ids = [wait_id for number, wait_id in enumerate(prepared) if number in waits]

        status = self.store.leases.suspend(lease, wait_ids or prepared, self.now)

        expected = entry and self.model.suspend(entry, wait_ids or prepared, self.now)
        assert status == expected

    # Which one

    def entry(self, which: int) -> Entry:
        return one_of(list(self.model.entries.values()), which)

    def _lease(
        self, which: int, among: Sequence[Lease] | None = None
    ) -> tuple[Lease, Entry | None]:
        """One that is in force, or was; and what it gives a right to."""
        leases = self.model.leases if among is None else among
        in_force = [lease for lease in leases if self.model.owned(lease)]
        over = [lease for lease in leases if not self.model.owned(lease)]
        over.sort(key=lambda lease: lease.run_id in {other.run_id for other in in_force})
        lease = one_of(in_force + over[-STALE_LEASES:], which)
        return lease, self.model.owned(lease)


def one_of(things: Sequence[T], which: int) -> T:
    return things[which % len(things)]
