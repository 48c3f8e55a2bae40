"""What the store promises, said a second time: dicts and lists, in the order in which they grew.

No line of it comes from the SQL. A verb that changes something is called once the store has said
that it did; a question gives what the store has to answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from durably.model import ErrorInfo, Lease

Row = dict[str, Any]
"""The fields of one of the facts that the store hands out, by name."""

JOINS: Mapping[str | None, tuple[str, ...]] = {
    None: ("pending",),
    "skip": ("pending",),
    "queue": ("pending",),
    "active": ("pending", "running", "waiting"),
}
"""Which runs under its concurrency key a trigger joins, the first status first."""


@dataclass
class Entry:
    """A run, and everything that belongs to it."""

    run: Row
    steps: dict[str, Row] = field(default_factory=dict)
    attempts: dict[tuple[str, int], Row] = field(default_factory=dict)
    last_saved: dict[str, int] = field(default_factory=dict)
    waits: dict[str, Row] = field(default_factory=dict)
    """By their ids."""
    awaited: list[str] = field(default_factory=list)
    logs: list[Row] = field(default_factory=list)
    steps_at_interruption: int = 0

    def next_number(self, step: str) -> int:
        """The number of the try of a step that is under way, or of the one that begins now."""
        last = self.last_saved.get(step, 0)
        is_open = (step, last) in self.attempts
        is_open = is_open and self.attempts[step, last]["outcome"] == "running"
        return last if is_open else last + 1

    def began_at(self, step: str, now: int) -> int:
        """When that try began."""
        attempt = self.attempts.get((step, self.next_number(step)))
        return now if attempt is None else int(attempt["started_at"])


@dataclass
class Model:
    entries: dict[str, Entry] = field(default_factory=dict)
    """By the ids of the runs, in the order of triggering."""
    keys: dict[tuple[str, str], tuple[str, int | None]] = field(default_factory=dict)
    """The idempotency keys of each job: the run's id, and when the key expires."""
    leases: list[Lease] = field(default_factory=list)
    """Every lease there ever was."""

    # Questions

    def runs(self) -> Iterator[Row]:
        return (entry.run for entry in self.entries.values())

    def waits(self) -> Iterator[Row]:
        return (wait for entry in self.entries.values() for wait in entry.waits.values())

    def with_deadline(self) -> list[Row]:
        """The open waits whose time will be over some day."""
        return [
            wait
            for wait in self.waits()
            if wait["outcome"] == "open" and wait["deadline_at"] is not None
        ]

    def owned(self, lease: Lease) -> Entry | None:
        """What the holder of this lease may write to."""
        entry = self.entries.get(lease.run_id)
        if entry is None or entry.run["status"] != "running":
            return None
        return entry if entry.run["lease_generation"] == lease.generation else None

    def found(self, new: Row, coalesce: str | None, now: int) -> tuple[str, str | None]:
        """What a trigger comes to, and the id of the run that it leads to if there is one."""
        if (new["job"], new["idempotency_key"]) in self.keys:
            run_id, expires_at = self.keys[new["job"], new["idempotency_key"]]
            if expires_at is None or now < expires_at:
                return "idempotent", run_id
        if new["concurrency_key"] is not None:
            for status in JOINS[coalesce]:
                for run in reversed(list(self.runs())):
                    if (run["status"], *_place(run)) == (status, *_place(new)):
                        return "coalesced" if coalesce else "conflict", run["id"]
        return "created", None

    def claimable(self, jobs: Collection[str], left_out: Collection[str]) -> str | None:
        busy = [_place(run) for run in self.runs() if run["status"] == "running"]
        for run in self.runs():
            is_wanted = run["job"] in jobs and run["id"] not in left_out
            is_busy = run["concurrency_key"] is not None and _place(run) in busy
            if run["status"] == "pending" and is_wanted and not is_busy:
                return str(run["id"])
        return None

    # Changes

    def add(self, run_id: str, new: Row, expires_at: int | None, now: int) -> None:
        last = max((run["sequence"] for run in self.runs()), default=0)
        unset = dict.fromkeys(
            ("lease_owner", "heartbeat_at", "progress", "output", "error", "started_at"), None
        )
        run = {**new, **unset, "id": run_id, "status": "pending", "sequence": last + 1}
        run |= {"lease_generation": 0, "interruptions": 0, "created_at": now, "completed_at": None}
        self.entries[run_id] = Entry(run)
        if new["idempotency_key"] is not None:
            self.keys[new["job"], new["idempotency_key"]] = (run_id, expires_at)

    def claim(self, run_id: str, owner: str, now: int) -> Lease:
        run = self.entries[run_id].run
        run |= {"status": "running", "lease_owner": owner, "heartbeat_at": now}
        run["lease_generation"] += 1
        if run["started_at"] is None:
            run["started_at"] = now
        self.leases.append(Lease(run_id, run["lease_generation"]))
        return self.leases[-1]

    def save_attempt(self, entry: Entry, step: str, metadata: object, now: int) -> None:
        number = entry.next_number(step)
        entry.last_saved[step] = number
        attempt = entry.attempts.setdefault((step, number), _attempt(entry, step, number, now))
        attempt["metadata"] = metadata

    def checkpoint(
        self, entry: Entry, step: str, output: object, error: ErrorInfo | None, now: int
    ) -> None:
        number = entry.next_number(step)
        outcome = "completed" if error is None else "failed"
        attempt = entry.attempts.setdefault((step, number), _attempt(entry, step, number, now))
        attempt |= {"outcome": outcome, "ended_at": now, "error": error}
        entry.steps[step] = {
            "run_id": entry.run["id"],
            "name": step,
            "status": outcome,
            "attempt": number,
            "output": output,
            "is_output_kept": error is None,
            "error": error,
            "started_at": attempt["started_at"],
            "completed_at": now,
        }

    def leave(self, entry: Entry, status: str, reason: str, now: int) -> None:
        """The run has no owner any more, or ends without having had one."""
        entry.run |= {"status": status, "lease_owner": None, "heartbeat_at": None}
        for attempt in entry.attempts.values():
            if attempt["outcome"] == "running":
                attempt |= {"outcome": "interrupted", "reason": reason, "ended_at": now}

    def end(self, entry: Entry, status: str, reason: str, now: int, keeps_outputs: bool) -> None:
        self.leave(entry, status, reason, now)
        entry.run["completed_at"] = now
        for wait in entry.waits.values():
            if wait["outcome"] == "open":
                wait |= {"outcome": "closed", "settled_at": now}
        for step in entry.steps.values():
            if not keeps_outputs:
                step |= {"output": None, "is_output_kept": False}

    def requeue(self, entry: Entry, most: int, reason: str, now: int) -> bool:
        got_on = len(entry.steps) > entry.steps_at_interruption
        interruptions = 0 if got_on else entry.run["interruptions"]
        if interruptions >= most:
            return False
        entry.run["interruptions"] = interruptions + 1
        entry.steps_at_interruption = len(entry.steps)
        self.leave(entry, "pending", reason, now)
        return True

    def log(self, run_id: str, generation: int, now: int) -> bool:
        entry = self.entries.get(run_id)
        is_last_owner = entry is not None and entry.run["lease_generation"] == generation
        if is_last_owner:
            self.entries[run_id].logs.append(
                {
                    "run_id": run_id,
                    "at": now,
                    "level": "info",
                    "message": "so far",
                    "data": {},
                    "step": "a",
                }
            )
        return is_last_owner

    def prepare(
        self, entry: Entry, wait_id: str, name: str, deadline_at: int | None, now: int
    ) -> None:
        unset = dict.fromkeys(("signal_id", "payload", "settled_at"), None)
        entry.waits[wait_id] = {
            **unset,
            "id": wait_id,
            "run_id": entry.run["id"],
            "name": name,
            "metadata": name,
            "created_at": now,
            "deadline_at": deadline_at,
            "outcome": "open",
        }

    def suspend(self, entry: Entry, wait_ids: list[str], now: int) -> str:
        is_settled = any(entry.waits[wait_id]["outcome"] != "open" for wait_id in wait_ids)
        entry.awaited = wait_ids
        self.leave(entry, "pending" if is_settled else "waiting", "lease-lost", now)
        return str(entry.run["status"])

    def settle(self, waits: list[Row], now: int, **settled: object) -> set[tuple[str, str]]:
        """Settle open waits; the answer is the runs that go on, with their jobs."""
        resumed = set()
        for wait in waits:
            wait |= {"settled_at": now, **settled}
            entry = self.entries[wait["run_id"]]
            if entry.run["status"] == "waiting" and wait["id"] in entry.awaited:
                entry.run["status"] = "pending"
                resumed.add((entry.run["id"], entry.run["job"]))
        return resumed

    def delete(self, run_id: str) -> None:
        del self.entries[run_id]
        self.keys = {key: kept for key, kept in self.keys.items() if kept[0] != run_id}

    def purge(self, run_ids: list[str], now: int) -> None:
        for run_id in run_ids:
            del self.entries[run_id]
        self.keys = {
            key: (run_id, expires_at)
            for key, (run_id, expires_at) in self.keys.items()
            if expires_at is None or now < expires_at
        }


def _place(run: Row) -> tuple[str, str | None]:
    """What runs share that may not be executed side by side."""
    return run["job"], run["concurrency_key"]


def _attempt(entry: Entry, step: str, number: int, now: int) -> Row:
    unset = dict.fromkeys(("reason", "ended_at", "error", "metadata"), None)
    names = {"run_id": entry.run["id"], "step": step, "number": number}
    return {**unset, **names, "outcome": "running", "started_at": now}
