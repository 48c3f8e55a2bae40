"""What anybody does to the store, and what happens by itself; the rules of owners go with it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest

from durably.codec import encode
from durably.errors import ConcurrencyConflict
from durably.model import RunStatus
from durably.store.runs import NewRun
from tests.core.store_life import rows
from tests.core.store_model import Row
from tests.core.store_owners import (
    JOBS,
    OFTEN,
    RARELY,
    SOME_JOBS,
    WHICH,
    YES_OR_NO,
    Owners,
    Rule,
    one_of,
    rule,
)

IDEMPOTENCY_KEYS = (None, "i")
CONCURRENCY_KEYS = (None, "c")
LABELS: tuple[dict[str, str], ...] = ({}, {"x": "1"}, {"x": "2"}, {"x": "1", "y": "1"})
COALESCE = (None, "skip", "queue", "active")


def has_runs(machine: StoreMachine) -> bool:
    return bool(machine.model.entries)


def has_waits(machine: StoreMachine) -> bool:
    return any(machine.model.waits())


def has_a_commit_under_way(machine: StoreMachine) -> bool:
    return machine.under_way is not None


class StoreMachine(Owners):
    """Everything that can happen to a store."""

    async def apply(self, name: str, arguments: dict[str, Any]) -> None:
        await RULES[name].act(self, **arguments)
        self.check_changes()

    # Runs

    @rule(
        weight=OFTEN,
        job=JOBS,
        idempotency_key=IDEMPOTENCY_KEYS,
        ttl=(None, 60),
        concurrency_key=CONCURRENCY_KEYS,
        coalesce=COALESCE,
        labels=LABELS,
    )
    async def trigger(self, ttl: int | None, coalesce: Any, **new: Any) -> None:
        try:
            self._trigger(new, ttl, coalesce)
        except ConcurrencyConflict:
            pass

    @rule(
        weight=RARELY,
        job=JOBS,
        idempotency_key=IDEMPOTENCY_KEYS,
        concurrency_key=CONCURRENCY_KEYS,
        coalesce=COALESCE,
    )
    async def trigger_two_or_none(self, coalesce: Any, **new: Any) -> None:
        before = deepcopy(self.model)
        try:
            with self.database.transaction():
                self._trigger(new | {"idempotency_key": None, "labels": LABELS[1]}, None, "queue")
                self._trigger(new | {"labels": LABELS[2]}, None, coalesce)
        except ConcurrencyConflict:
            self.model = before

    def _trigger(self, new: Row, ttl: int | None, coalesce: Any) -> None:
        number = len(self.model.entries)
        expires_at = None if ttl is None else self.now + ttl * 1000
        stored = NewRun(
            **new | {"input": encode({"number": number}), "labels": encode(new["labels"])},
            idempotency_expires_at=expires_at,
            coalesce=coalesce,
        )
        disposition, run_id = self.model.found(new, coalesce, self.now)
        if disposition == "conflict":
            with pytest.raises(ConcurrencyConflict) as conflict:
                self.store.runs.create(stored, self.now)
            assert conflict.value.run_id == run_id
            raise conflict.value
        creation = self.store.runs.create(stored, self.now)
        assert creation.disposition == disposition
        if disposition == "created":
            assert creation.run_id not in self.model.entries
            self.model.add(
                creation.run_id, new | {"input": {"number": number}}, expires_at, self.now
            )
        else:
            assert creation.run_id == run_id
        entry = self.model.entries.get(creation.run_id)
        assert rows([creation.run] if creation.run else []) == ([entry.run] if entry else [])

    @rule(has_runs, which=WHICH, keeps_outputs=YES_OR_NO)
    async def cancel(self, which: int, keeps_outputs: bool) -> None:
        entry = self.entry(which)
        is_active = not RunStatus(entry.run["status"]).is_terminal

        done = self.store.runs.cancel(entry.run["id"], self.now, keeps_outputs=keeps_outputs)

        assert done == is_active
        if done:
            self.model.end(entry, "cancelled", "cancelled", self.now, keeps_outputs)

    @rule(
        has_runs,
        RARELY,
        status=(None, (), ("pending",), ("running", "waiting")),
        jobs=(None, *SOME_JOBS),
        labels=LABELS,
        behind=(None, *WHICH),
        limit=(100, 2),
        offset=(0, 1),
    )
    async def look(
        self,
        status: Sequence[str] | None,
        jobs: Sequence[str] | None,
        labels: Row,
        behind: int | None,
        limit: int,
        offset: int,
    ) -> None:
        before = None if behind is None else self.entry(behind).run["sequence"]
        found = self.store.runs.find(
            statuses=None if status is None else [RunStatus(one) for one in status],
            jobs=jobs,
            labels=labels,
            before=before,
            limit=limit,
            offset=offset,
        )

        expected = [
            run
            for run in reversed(list(self.model.runs()))
            if (status is None or run["status"] in status)
            and (jobs is None or run["job"] in jobs)
            and labels.items() <= run["labels"].items()
            and (before is None or run["sequence"] < before)
        ]
        assert rows(found) == expected[offset:][:limit]

    # Waits

    @rule(has_waits, OFTEN, which=WHICH, signal_id=("first", "second"), payload=(None, 1))
    async def signal(self, which: int, signal_id: str, payload: object) -> None:
        wait = one_of(list(self.model.waits()), which)
        is_open = wait["outcome"] == "open"

        settled = self.store.waits.signal(wait["id"], signal_id, encode(payload), self.now)

        assert (settled is not None) == is_open
        if settled is not None:
            assert set(settled.resumed) == self.model.settle(
                [wait], self.now, outcome="signal", signal_id=signal_id, payload=payload
            )

    @rule(has_waits, OFTEN)
    async def expire(self) -> None:
        due = [wait for wait in self.model.with_deadline() if wait["deadline_at"] <= self.now]

        settled = self.store.waits.expire(self.now, self.now)

        assert (settled is not None) == bool(due)
        if settled is not None:
            assert set(settled.resumed) == self.model.settle(due, self.now, outcome="timeout")

    # Retention

    @rule(has_runs, which=WHICH)
    async def delete(self, which: int) -> None:
        entry = self.entry(which)
        run = self.store.runs.get(entry.run["id"])
        assert run is not None

        assert self.store.retention.delete(run) == (entry.run["completed_at"] is not None)
        if run.is_terminal:
            self.model.delete(run.id)
            assert not self.store.retention.delete(run), "a second time"

    @rule(has_runs, RARELY, age=(-1, 0, 30), limit=(1, 100))
    async def purge(self, age: int, limit: int) -> None:
        ended_before = self.now - age * 1000
        ends = {
            run["id"]: run["completed_at"]
            for run in self.model.runs()
            if run["completed_at"] is not None and run["completed_at"] < ended_before
        }

        purged = [run.id for run in self.store.retention.purge(ended_before, limit, self.now)]

        # Of runs that ended in the same millisecond, any may go first.
        assert [ends[run_id] for run_id in purged] == sorted(ends.values())[:limit]
        self.model.purge(purged, self.now)

    # Time, and lives

    @rule(seconds=(1, 30, 60, -1))
    async def pass_time(self, seconds: int) -> None:
        self.clock.jump(seconds)

    @rule(weight=RARELY, durability=("relaxed", "strict"))
    async def flush(self, durability: Any) -> None:
        await self.flush_all(durability)

    @rule(weight=RARELY)
    async def start_flush(self) -> None:
        await self.begin_commit()

    @rule(has_a_commit_under_way)
    async def land(self) -> None:
        await self.end_commit()

    @rule(
        weight=RARELY,
        last_commit=("is lost", "lands", "lands untold", "comes too late"),
        flushes=YES_OR_NO,
    )
    async def crash(self, last_commit: str, flushes: bool) -> None:
        if flushes:
            await self.flush_all("relaxed")
        if last_commit == "comes too late":
            await self.be_taken_over()
        else:
            await self.die(last_commit)


RULES = {
    name: value
    for name, value in (vars(Owners) | vars(StoreMachine)).items()
    if isinstance(value, Rule)
}
