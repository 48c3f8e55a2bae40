"""The doctor: why each unfinished run is not running, and whether what is stored is whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .errors import StorageError
from .health import Health, health_of
from .records import record
from .store.inspection import OpenWait, Unfinished
from .term import Term
from .worker import Worker

NEAR_A_CRASH_LOOP = 0.5
"""Of ``max_interruptions``: from here on it is worth saying."""

FindingKind = Literal[
    "running",
    "next",
    "queued",
    "at-limit",
    "ending",
    "waiting",
    "unknown-job",
    "key-busy",
    "unreadable",
    "owned-elsewhere",
    "worker-stopped",
    "hidden",
    "storage-full",
    "near-crash-loop",
    "leader-frozen",
]


@record
class Finding:
    """One reason for what a run does or does not do, as a word for programs and one for people."""

    kind: FindingKind
    detail: str

    def __str__(self) -> str:
        return self.detail


@record
class RunDiagnosis:
    """Why one unfinished run is where it is; all of its ``findings`` hold."""

    run_id: str
    job: str
    status: str
    interruptions: int
    """Since its last checkpoint."""
    findings: tuple[Finding, ...]

    @property
    def kinds(self) -> tuple[FindingKind, ...]:
        return tuple(finding.kind for finding in self.findings)

    def __str__(self) -> str:
        return f"{self.run_id} {self.job} ({self.status}): {' '.join(map(str, self.findings))}"


@record
class Diagnosis:
    """What the doctor found. ``str`` of it is a report to read."""

    health: Health | None
    unfinished: int | None
    """How many runs have not ended; ``runs`` holds the oldest of them."""
    runs: tuple[RunDiagnosis, ...]
    problems: tuple[str, ...]
    """What is not whole, in memory or in the storage. Nothing was repaired."""
    silence: Finding | None = None
    """Why the tab that leads does not answer. Then nothing else is known here."""

    @property
    def is_sound(self) -> bool:
        """True where everything that is stored is whole."""
        return not self.problems and not self.silence

    def __str__(self) -> str:
        health = self.health
        if health is None or self.unfinished is None:
            return str(self.silence)
        lines = [
            f"{health.role}, data in {health.place}, {health.dirty_pages} pages not durable yet",
            *([f"At risk: {health.eviction_risk}"] if health.eviction_risk else []),
            f"{self.unfinished} unfinished runs",
            *(f"  {run}" for run in self.runs),
            *(["  ..."] if self.unfinished > len(self.runs) else []),
            f"{len(self.problems)} problems with what is stored",
            *(f"  {problem}" for problem in self.problems),
        ]
        return "\n".join(lines)


def silent(seconds: float) -> Diagnosis:
    """What a follower can tell of a leader that goes on no more."""
    finding = Finding(
        "leader-frozen",
        f"The tab that leads shows no life for {seconds:.0f} s: it is frozen, or in a loop. A "
        "visible tab takes over after stale_threshold.",
    )
    return Diagnosis(None, None, (), (), finding)


async def diagnose(term: Term, worker: Worker, limit: int) -> Diagnosis:
    """Look at the first ``limit`` unfinished runs, and at everything that is stored."""
    inspection = term.store.inspection
    unfinished, problems = 0, []
    runs: tuple[RunDiagnosis, ...] = ()
    try:
        unfinished = inspection.count_unfinished()
        runs = _Ward(term, worker).examine(inspection.unfinished(limit), inspection.awaited())
        problems += inspection.problems()
    except StorageError as error:
        problems.append(f"SQLite cannot read it: {error}")
    problems += [f"In the storage: {problem}" for problem in await term.database.mirror.verify()]
    return Diagnosis(await health_of(term), unfinished, runs, tuple(problems))


class _Ward:
    """All unfinished runs, examined one after the other in the order in which they are claimed."""

    def __init__(self, term: Term, worker: Worker) -> None:
        self._term = term
        self._worker = worker
        self._ahead = 0
        """How many runs can be claimed before the next one."""
        self._waits: dict[str, list[OpenWait]] = {}

    def examine(self, runs: list[Unfinished], waits: list[OpenWait]) -> tuple[RunDiagnosis, ...]:
        for wait in waits:
            self._waits.setdefault(wait.run_id, []).append(wait)
        look = {"pending": self._pending, "running": self._running, "waiting": self._waiting}
        return tuple(
            RunDiagnosis(
                run.run_id,
                run.job,
                run.status,
                run.interruptions,
                (*look[run.status](run), *self._crash_loop(run)),
            )
            for run in runs
        )

    def _running(self, run: Unfinished) -> Iterator[Finding]:
        execution = self._worker.executions.get(run.run_id)
        if execution is None:
            assert run.heartbeat_at is not None, "a running run has a heartbeat"
            age = (self._term.clock.now() - run.heartbeat_at) / 1000
            yield Finding(
                "owned-elsewhere",
                f"Owner {run.lease_owner!r} has it, whose last heartbeat was {age:.0f} s ago; it "
                "is pending again when that owner has provably ended, or is silent for "
                f"{self._term.options.stale_threshold:.0f} s.",
            )
            return
        if execution.is_held:
            yield Finding("hidden", "Its next step waits until this page is visible.")
        if self._term.database.has_no_room:
            yield Finding("storage-full", "What it has done cannot be stored: there is no room.")
        yield Finding("running", "It is running here.")

    def _waiting(self, run: Unfinished) -> Iterator[Finding]:
        for wait in self._waits.get(run.run_id, ()):
            limit = ""
            if wait.deadline_at is not None:
                left = (wait.deadline_at - self._term.steady.now()) / 1000
                limit = f", for {left:.0f} s more at most"
            yield Finding("waiting", f"It waits for {wait.name!r} ({wait.wait_id}){limit}.")

    def _pending(self, run: Unfinished) -> Iterator[Finding]:
        own = list(self._obstacles(run))
        yield from own
        yield from self._standstill()
        if own:
            return
        if self._ahead:
            yield Finding("queued", f"{self._ahead} runs that are older come before it.")
        else:
            yield Finding("next", "It is the next to be claimed.")
        self._ahead += 1

    def _obstacles(self, run: Unfinished) -> Iterator[Finding]:
        """What keeps this run, and lets those behind it pass."""
        if run.job not in self._worker.jobs:
            yield Finding(
                "unknown-job",
                f"Job {run.job!r} is not registered here: pass it in Durably(..., jobs=[...]).",
            )
        if run.run_id in self._worker.parked:
            yield Finding(
                "unreadable",
                "What is stored for it cannot be read here: bring back the class it was stored "
                "from, and open the database again.",
            )
        if run.busy_run_id is not None:
            yield Finding(
                "key-busy",
                f"Run {run.busy_run_id} is running under its concurrency key "
                f"{run.concurrency_key!r}.",
            )
        if run.run_id in self._worker.executions:
            yield Finding("ending", "Its last execution here has not come to its end yet.")

    def _standstill(self) -> Iterator[Finding]:
        """What keeps every pending run."""
        term, running = self._term, len(self._worker.executions)
        if not self._worker.is_claiming:
            yield Finding("worker-stopped", "The worker is stopped: call start().")
        if not term.visibility.is_visible:
            yield Finding("hidden", "This page is hidden, and claims nothing new.")
        if term.database.has_no_room:
            yield Finding("storage-full", "The storage is full, and nothing new is claimed.")
        if running >= term.options.max_concurrent_runs:
            yield Finding("at-limit", f"{running} runs are running here, which is the limit.")

    def _crash_loop(self, run: Unfinished) -> Iterator[Finding]:
        most = self._term.options.max_interruptions
        if run.interruptions >= most * NEAR_A_CRASH_LOOP:
            yield Finding(
                "near-crash-loop",
                f"It was interrupted {run.interruptions} times without a new checkpoint; it fails "
                f"when that happens more than {most} times.",
            )
