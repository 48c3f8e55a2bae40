"""Decides whether anything was lost, from what the server has heard and what is stored.

Nothing here is taken from the library. Each rule holds for every timing: times are compared where
one event was known to the server before the other began, and what a page told late weakens a rule
and never breaks it.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.schedule import Order
from tests.faults.stored import SEAL, Dump, NotWhole, open_file, rebuild, records_of

Line = dict[str, Any]

MARGIN_MS = 25.0
"""The clocks of the pages and of the server are one, read by several processes."""
DISRUPTIVE = frozenset(
    {"reload", "close", "kill", "crash", "freeze-short", "freeze-long", "force-close", "steal"}
)
"""The faults that end the term of a leader; each may make a step under way run once more."""


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(slots=True)
class Evidence:
    """All there is to judge one schedule by."""

    orders: tuple[Order, ...]
    lines: list[Line]
    """What pages and driver told the server, in the order in which it heard them."""
    dumps: list[Dump]
    """IndexedDB as it was now and then; the last one at the end."""
    runs: dict[str, sqlite3.Row] = field(default_factory=dict)
    steps: dict[tuple[str, str], sqlite3.Row] = field(default_factory=dict)

    def told(self, kind: str) -> list[Line]:
        return [line for line in self.lines if line["kind"] == kind]

    def begins(self) -> dict[tuple[str, str], list[Line]]:
        """The tries of each step, by when they began; told twice, a try is still one."""
        tries: dict[str, Line] = {}
        for line in self.told("began"):
            tries.setdefault(line["token"], line)
        found: dict[tuple[str, str], list[Line]] = defaultdict(list)
        for line in sorted(tries.values(), key=lambda line: line["at"]):
            found[line["run"], line["step"]].append(line)
        return found


def check(evidence: Evidence) -> list[Violation]:
    """Every rule that is broken, and by what."""
    found = [*_tabs_hold(evidence), *_epochs(evidence.dumps), *_all_end(evidence)]
    if not evidence.dumps:
        return [*found, Violation("whole", "there is nothing stored")]
    try:
        connection = open_file(rebuild(evidence.dumps[-1]))
        (integrity,) = connection.execute("pragma integrity_check").fetchone()
        if integrity != "ok":
            return [*found, Violation("whole", f"integrity_check says: {integrity}")]
        evidence.runs = {row["id"]: row for row in connection.execute("select * from runs")}
        evidence.steps = {
            (row["run_id"], row["name"]): row for row in connection.execute("select * from steps")
        }
    except (NotWhole, sqlite3.DatabaseError) as error:
        return [*found, Violation("whole", str(error))]
    for rule in (_kept, _not_again, _repeats, _cut, _cancelled, _one_run, _states, _one_at_a_time):
        found += rule(evidence)
    return found


def repeats(evidence: Evidence) -> int:
    """How many step bodies ran once more than they would have without faults."""
    return sum(len(tries) - 1 for tries in evidence.begins().values())


def _kept(evidence: Evidence) -> Iterator[Violation]:
    """Every acknowledged checkpoint is there, with the result that was acknowledged."""
    for run, step, token in sorted(
        {(x["run"], x["step"], x["token"]) for x in evidence.told("acked")}
    ):
        row = evidence.steps.get((run, step))
        if row is None:
            yield Violation("kept", f"{step} of {run} was acknowledged and is not stored")
        elif not _holds(row, token):
            yield Violation(
                "kept", f"{step} of {run}: {token} was acknowledged, stored is {row['output']}"
            )


def _holds(row: sqlite3.Row, token: str) -> bool:
    """Whether a stored step has this token as its outcome; one may be the beginning of another."""
    return bool(re.search(rf"{re.escape(token)}(?!\d)", f"{row['output']} {row['error']}"))


def _not_again(evidence: Evidence) -> Iterator[Violation]:
    """No step body runs after its checkpoint was acknowledged."""
    known: dict[tuple[str, str], float] = {}
    for line in evidence.told("acked"):
        known.setdefault((line["run"], line["step"]), line["received"])
    for (run, step), tries in evidence.begins().items():
        for line in tries:
            if line["at"] > known.get((run, step), float("inf")) + MARGIN_MS:
                yield Violation(
                    "not again", f"{step} of {run} began as {line['token']} after its ack"
                )


def _repeats(evidence: Evidence) -> Iterator[Violation]:
    """A step runs once more for each fault that ends a term, at most, and never in one term."""
    faults = sorted(x["received"] for x in evidence.told("fault") if x["fault"] in DISRUPTIVE)
    for (run, step), tries in evidence.begins().items():
        terms = [(line["life"], line["term"]) for line in tries]
        if len(set(terms)) < len(terms):
            yield Violation("repeats", f"{step} of {run} began twice in one term: {terms}")
        for repeat, line in enumerate(tries[1:], 1):
            if sum(at <= line["at"] + MARGIN_MS for at in faults) < repeat:
                yield Violation(
                    "repeats", f"{step} of {run}: repeat {repeat} without a fault for it"
                )


def _cut(evidence: Evidence) -> Iterator[Violation]:
    """What a step that was cancelled has made of it is never seen and never stored."""
    acked = {line["token"] for line in evidence.told("acked")}
    for line in evidence.told("cut"):
        run, step, token = line["run"], line["step"], line["token"]
        row = evidence.steps.get((run, step))
        if token in acked:
            yield Violation("cut", f"{step} of {run} was cancelled, and {token} acknowledged")
        if row is not None and _holds(row, token):
            yield Violation("cut", f"{step} of {run} was cancelled, and {token} stored")


def _cancelled(evidence: Evidence) -> Iterator[Violation]:
    """A run whose cancellation was acknowledged is cancelled, and starts nothing any more."""
    begins = evidence.begins()
    for line in evidence.told("cancelled"):
        run = line["run"]
        row = evidence.runs.get(run)
        if row is None or row["status"] != "cancelled":
            yield Violation("cancelled", f"{run} was cancelled, and is {row and row['status']}")
        for (of_run, step), tries in begins.items():
            if of_run == run and tries[-1]["at"] > line["received"] + MARGIN_MS:
                yield Violation("cancelled", f"{step} of {run} began after it was cancelled")


def _one_run(evidence: Evidence) -> Iterator[Violation]:
    """Every acknowledged trigger has its run, exactly one; what was executed is there."""
    keys: dict[str, set[str]] = defaultdict(set)
    for line in evidence.told("triggered"):
        keys[line["key"]].add(line["run"])
    for key, told in keys.items():
        stored = {run for run, row in evidence.runs.items() if row["idempotency_key"] == key}
        if len(stored) != 1 or told != stored:
            yield Violation(
                "one run", f"{key}: told were {sorted(told)}, stored are {sorted(stored)}"
            )
    for run in sorted({line["run"] for line in evidence.told("began")} - evidence.runs.keys()):
        yield Violation("one run", f"{run} was executed and is not stored")


def _all_end(evidence: Evidence) -> Iterator[Violation]:
    """Every order comes to its end, and somebody is told."""
    for key in {order.key for order in evidence.orders} - {
        line["key"] for line in evidence.told("result")
    }:
        yield Violation("ends", f"nobody was told the end of {key}")


def _states(evidence: Evidence) -> Iterator[Violation]:
    """Each run is in its right terminal state, and it is the one that was told."""
    orders = {order.key: order for order in evidence.orders}
    cancelled = {line["run"] for line in evidence.told("cancelled")}
    signalled = {line["run"] for line in evidence.told("signalled")}
    for run, row in evidence.runs.items():
        steps = [step for (of_run, _), step in evidence.steps.items() if of_run == run]
        has_failed_step = any(step["status"] == "failed" for step in steps)
        job, status, output = row["job"], row["status"], row["output"] or ""
        right = {"completed"}
        if job == "held":
            right = {"cancelled"} if run in cancelled else {"cancelled", "completed"}
        if job == "failing":
            right = {"failed"}
        if job == "fragile":
            right = {"failed" if has_failed_step else "completed"}
        if status not in right:
            yield Violation("states", f"{job} {run} is {status}: {row['error']}")
            continue
        if job == "waiting" and run in signalled and "yes" not in output:
            yield Violation("states", f"{run} was signalled, and says {output}")
        if status == "completed" and len(steps) != _steps(orders[row["idempotency_key"]]):
            yield Violation("states", f"{job} {run} is completed with {len(steps)} checkpoints")
        if status == "completed" and job in ("sequence", "parallel", "fragile"):
            missing = [step["name"] for step in steps if step["output"].strip('"') not in output]
            if missing:
                yield Violation("states", f"{job} {run} does not return {missing}")
    for line in evidence.told("result"):
        row = evidence.runs.get(line["run"])
        if row is None or row["status"] != line["status"]:
            yield Violation(
                "states", f"{line['key']}: told {line['status']}, is {row and row['status']}"
            )


def _steps(order: Order) -> int:
    """How many checkpoints a run of it has once it is completed."""
    count = order.arguments.get("count", 0)
    return int({"parallel": count + 1, "waiting": 2, "held": 3}.get(order.job, count))


def _one_at_a_time(evidence: Evidence) -> Iterator[Violation]:
    """Within one term, runs under one concurrency key come one after the other."""
    keyed = {order.key: order.concurrency_key for order in evidence.orders}
    sequences: dict[tuple[object, ...], list[str]] = defaultdict(list)
    lines = (line for tries in evidence.begins().values() for line in tries)
    for line in sorted(lines, key=lambda line: line["at"]):
        row = evidence.runs.get(line["run"])
        key = row and keyed.get(row["idempotency_key"])
        if key:
            runs = sequences[line["life"], line["term"], key]
            if not runs or runs[-1] != line["run"]:
                runs.append(line["run"])
    for (life, *_), runs in sequences.items():
        if len(set(runs)) < len(runs):
            yield Violation("one at a time", f"{life} executed {runs} side by side")


def _tabs_hold(evidence: Evidence) -> Iterator[Violation]:
    """No tab ends with an error that is none of the library's own."""
    for line in evidence.told("broken"):
        yield Violation("tabs hold", f"{line['life']}: {line['text'][-300:]}")


def _epochs(dumps: Iterable[Dump]) -> Iterator[Violation]:
    """One writer an epoch; a seal ends it; and what was written once is never written again."""
    writers: dict[int, set[str]] = defaultdict(set)
    written: dict[tuple[int, int], int] = {}
    for dump in dumps:
        try:
            records = records_of(dump)
        except NotWhole as error:
            yield Violation("epochs", str(error))
            return
        seals = {record.epoch: record.seq for record in records if record.kind == SEAL}
        last = max((record.epoch for record in records), default=0)
        for record in records:
            key = (record.epoch, record.seq)
            if record.kind != SEAL:
                writers[record.epoch].add(record.writer)
            if written.setdefault(key, record.crc) != record.crc:
                yield Violation("epochs", f"record {key} was written twice")
            if record.seq > seals.get(record.epoch, record.seq):
                yield Violation("epochs", f"record {key} was written behind the seal")
            if record.epoch < last and record.epoch not in seals:
                yield Violation("epochs", f"epoch {record.epoch} has no seal")
                break
    for epoch, names in writers.items():
        if len(names) > 1:
            yield Violation("epochs", f"epoch {epoch} has {len(names)} writers")
