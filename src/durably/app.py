"""Durably: the one object a program opens. It delegates, and decides nothing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar, cast

from .clock import SystemClock, seconds
from .codec import encode
from .emitter import Emitter
from .errors import InvalidOption, JobNotRegistered, RunConflict, UnreadableValue
from .events import LogWrite
from .handle import RunHandle
from .jobs import AnyJob, Call, Trigger, registry
from .leader import Leader
from .model import (
    Coalesce,
    Durability,
    ImportReport,
    Progress,
    Receipt,
)
from .options import OnHidden, check_count, check_flag, check_options, check_text
from .ports import Environment
from .queries import Queries

R_co = TypeVar("R_co", covariant=True)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Plugin(Protocol):
    """Something that extends a Durably: it listens, or wraps, or adds."""

    def install(self, durably: Durably) -> None: ...


class Durably(Queries):
    """Runs jobs whose steps survive the end of the program.

    ``name`` names the database: in a browser an IndexedDB database of the page's origin, on
    CPython the file ``<directory>/<name>.sqlite3``. Durations are seconds or ``timedelta``.

    Use it with ``async with``: entering waits until this program leads and its database is loaded,
    or, in a browser where one tab of an origin leads, until this tab follows that one: then all of
    it works just the same, and the runs are executed over there. Leaving lets the steps under way
    finish, for ``stop_timeout`` at most, and gives unfinished runs back, to go on at the next
    opening.

    Raises InvalidOption for options that cannot work; entering raises StorageRefused (unless
    ``when_refused="memory"``: then nothing is kept, and the event ``storage:memory`` says so),
    DamagedDatabase and NewerSchema, and leaves what is stored as it is.
    """

    def __init__(
        self,
        name: str,
        *,
        jobs: Iterable[AnyJob] = (),
        heartbeat_interval: float | timedelta = 5.0,
        stale_threshold: float | timedelta = 30.0,
        max_concurrent_runs: int = 1,
        max_interruptions: int = 20,
        on_hidden: OnHidden = "continue",
        durability: Durability = "relaxed",
        stop_timeout: float | timedelta = 10.0,
        when_refused: Literal["error", "memory"] = "error",
        preserve_steps: bool = False,
        persist_logs: bool = False,
        retain: float | timedelta | None = None,
        labels: type | None = None,
        autostart: bool = True,
        directory: str | Path = ".",
        environment: Environment | None = None,
    ) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InvalidOption(
                "name", name, "1 to 100 letters, digits, '.', '_' or '-', beginning with no sign"
            )
        if when_refused not in ("error", "memory"):
            raise InvalidOption("when_refused", when_refused, '"error" or "memory"')
        options = check_options(
            heartbeat_interval=heartbeat_interval,
            stale_threshold=stale_threshold,
            max_concurrent_runs=max_concurrent_runs,
            max_interruptions=max_interruptions,
            on_hidden=on_hidden,
            durability=durability,
            stop_timeout=stop_timeout,
            preserve_steps=preserve_steps,
            persist_logs=persist_logs,
            retain=retain,
        )
        check_flag("autostart", autostart)
        if labels is not None:
            from .labels import check_label_schema

            check_label_schema(labels)
        self.name = name
        self._options = options
        self._jobs = registry(jobs)
        self._environment = environment
        self._directory = Path(directory)
        self._clock = SystemClock() if environment is None else environment.clock
        events = Emitter(self._clock)
        leader = Leader(
            name,
            self._place,
            options,
            self._jobs,
            events,
            falls_back_to_memory=when_refused == "memory",
            is_working=autostart,
        )
        super().__init__(leader, events, labels)

    async def __aenter__(self) -> Self:
        await self._leader.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leader.stop()
        self._events.end_streams()

    # Triggering

    async def trigger(
        self,
        call: Call[R_co],
        *,
        idempotency_key: str | None = None,
        idempotency_ttl: float | timedelta | None = None,
        concurrency_key: str | None = None,
        coalesce: Coalesce | None = None,
        labels: Mapping[str, object] | None = None,
    ) -> RunHandle[R_co]:
        """Make a run of a bound job: ``await durably.trigger(import_orders("orders.csv"))``.

        Where the job already has a run under ``idempotency_key``, that one is returned and nothing
        is changed; the key is forgotten ``idempotency_ttl`` (seconds or timedelta) after it was
        first used, or never.
        Of the runs of a job under one ``concurrency_key`` at most one runs and one is pending;
        ``coalesce`` says which one to join instead. A run for which a worker has room runs at once,
        and the next one under its key is the pending one. ``labels`` are texts to find runs by.

        The run is durable when this returns. It sees the context variables (``contextvars``) as
        they were when this Durably was entered, and none of the caller's: it may go on in another
        life. Raises JobNotRegistered, ValidationError, and ConcurrencyConflict where the key has a
        pending run and ``coalesce`` is not given; then nothing is stored.
        """
        (handle,) = await self.trigger_many(
            [Trigger(call, idempotency_key, idempotency_ttl, concurrency_key, coalesce, labels)]
        )
        return handle

    async def trigger_many(
        self, triggers: Iterable[Trigger[R_co] | Call[R_co]]
    ) -> list[RunHandle[R_co]]:
        """Make all these runs or, if one of them cannot be, none.

        They are stored in their order, in one transaction; a later one may join an earlier one.
        Raises what ``trigger`` raises.
        """
        if not isinstance(triggers, Iterable):
            raise InvalidOption("triggers", triggers, "a list of calls of jobs, or of Trigger(...)")
        items = [item if isinstance(item, Trigger) else Trigger(item) for item in triggers]
        from .triggers import check_trigger

        now = self._clock.now()
        news = [check_trigger(item, self._jobs, self._label_schema, now) for item in items]
        creations = await self._leader.asking.ask("create", news)
        return [RunHandle(self, creation) for creation in creations]

    async def trigger_and_wait(
        self,
        call: Call[R_co],
        *,
        timeout: float | timedelta | None = None,
        on_progress: Callable[[Progress], object] | None = None,
        on_log: Callable[[LogWrite], object] | None = None,
        idempotency_key: str | None = None,
        idempotency_ttl: float | timedelta | None = None,
        concurrency_key: str | None = None,
        coalesce: Coalesce | None = None,
        labels: Mapping[str, object] | None = None,
    ) -> R_co:
        """``trigger``, and return what the job function returns. Raises what both can raise."""
        handle = await self.trigger(
            call,
            idempotency_key=idempotency_key,
            idempotency_ttl=idempotency_ttl,
            concurrency_key=concurrency_key,
            coalesce=coalesce,
            labels=labels,
        )
        return await handle.result(timeout, on_progress=on_progress, on_log=on_log)

    async def retrigger(self, run_id: str) -> RunHandle[object]:
        """Make a fresh run of a terminal one, with the same input and labels, and without its keys.

        Raises RunNotFound, RunConflict for a run that is not terminal, JobNotRegistered,
        UnreadableValue, and InvalidArguments where the job's function of today does not take the
        input.
        """
        run = await self.get_run(run_id)
        if not run.is_terminal:
            raise RunConflict(run_id, run.status, "be triggered again before it has ended")
        if run.job not in self._jobs:
            raise JobNotRegistered(run.job)
        if isinstance(run.input, UnreadableValue):
            raise run.input
        arguments = cast("dict[str, object]", run.input)
        return await self.trigger(self._jobs[run.job](**arguments), labels=run.labels)

    # Intervening

    async def signal(
        self, wait_id: str, payload: object = None, *, signal_id: str | None = None
    ) -> Receipt:
        """Give a wait what it waits for; a run that waits for it goes on.

        It may come before the run waits, and is kept. On return it is durable. With a ``signal_id``
        it is safe to send again: the same payload gets the same receipt, even when the wait is long
        over.

        Raises WaitNotFound; WaitIsOver where another signal or the deadline came first, or the run
        has ended; SignalConflict where ``signal_id`` was used with another payload;
        UnstorableValue; InvalidOption.
        """
        check_text("wait_id", wait_id)
        if signal_id is not None:
            check_text("signal_id", signal_id)
        text = encode(payload, root="payload")
        given_id = signal_id or os.urandom(16).hex()
        receipt: Receipt = await self._leader.asking.ask("signal", wait_id, text, given_id)
        return receipt

    async def cancel(self, run_id: str) -> None:
        """Cancel a pending, running or waiting run.

        Its status is ``cancelled``, durably, when this returns; a step under way is cancelled and
        its result is not stored. Raises RunNotFound, and RunConflict for a terminal run.
        """
        await self._leader.asking.ask("cancel", run_id)

    async def delete_run(self, run_id: str) -> None:
        """Remove a terminal run, with its steps, attempts, waits, logs and labels, durably.

        Its idempotency key is free again. Raises RunNotFound, and RunConflict for a run that is not
        terminal.
        """
        await self._leader.asking.ask("delete", run_id)

    async def purge_runs(self, older_than: float | timedelta, limit: int = 500) -> int:
        """Remove terminal runs that ended longer ago than this (seconds or timedelta), durably.

        The earliest go first, ``limit`` at most. Their idempotency keys stay until they expire, so
        that nothing is done twice. Returns how many are gone.
        """
        check_count("limit", limit)
        purged: int = await self._leader.asking.ask(
            "purge", seconds(older_than, "older_than"), limit
        )
        return purged

    # Moving

    async def import_(self, data: bytes, *, passphrase: str | None = None) -> ImportReport:
        """Put the runs of an ``export`` here, all that are new or, if that cannot be, none.

        Pending, waiting and half-done runs go on from their checkpoints; one that was running is
        pending, which counts as no interruption. What is here already is left as it is, and so is
        whatever would be done twice: an unfinished run whose idempotency key another run has here
        is not taken. ``ImportReport`` tells which those are. On return it is durable, ``strict``.

        An export is a copy: cancel what is to go on here alone in the place that it came from.
        Take files of people you trust, as results name the classes that they are made with.

        Raises DamagedExport, NewerExport and WrongPassphrase, and then has stored nothing;
        EncryptionUnavailable; InvalidOption.
        """
        from .transfer import read_export

        lines = await read_export(data, passphrase)
        report: ImportReport = await self._leader.asking.ask("take", lines)
        return report

    async def export_as_is(self, *, passphrase: str | None = None) -> bytes:
        """What is stored under this name, byte for byte, as one file for ``durably.rescue``.

        For a database that does not open: it needs no ``async with``, takes no lead, changes
        nothing, and does not ask whether what it reads is whole. In a browser those are the records
        in IndexedDB, on CPython the files of SQLite; close the programs that write to these.
        An ``environment`` of one's own is not asked.

        Raises NothingStored, StorageRefused, InvalidOption and EncryptionUnavailable.
        """
        from .transfer import export_as_is

        return await export_as_is(self.name, self._directory, passphrase)

    # The storage

    async def persist(self) -> bool:
        """Ask the browser to keep what is stored until its user clears it; whether it will.

        Some browsers ask the user, others decide by how the page is used. A web worker cannot ask:
        there this only says whether its page has. True on CPython, False where memory is used.
        """
        is_kept: bool = await self._leader.asking.ask("persist")
        return is_kept

    # The worker

    def start(self) -> None:
        """Claim and execute runs from now on. Entering does so already, unless ``autostart`` is
        off."""
        self._leader.start_working()

    async def stop(self) -> None:
        """Claim nothing more, and return when the steps under way have ended and are stored.

        Their runs are given back, to go on after ``start`` or elsewhere; after ``stop_timeout``
        the steps are not waited for. Everything but the worker goes on. Raises NotOpen.
        """
        await self._leader.stop_working()

    async def process_one(self) -> bool:
        """Execute the oldest run that can be claimed to its end; False where there is none, or
        where ``stop`` has given it back.

        For scripts and tests, with ``autostart=False``.
        """
        return await self._leader.process_one()

    async def process_until_idle(self, max_runs: int | None = None) -> int:
        """``process_one`` until there is nothing to claim, or ``max_runs`` times.

        Returns how many runs were executed.
        """
        if max_runs is not None:
            check_count("max_runs", max_runs)
        processed = 0
        while (max_runs is None or processed < max_runs) and await self.process_one():
            processed += 1
        return processed

    def use(self, plugin: Plugin) -> Self:
        """Install a plugin: ``plugin.install(durably)`` is called now. Returns this Durably."""
        plugin.install(self)
        return self

    async def _place(self) -> Environment:
        if self._environment is None:
            if sys.platform == "emscripten":
                from .browser import browser_environment

                self._environment = await browser_environment(self.name)
            else:
                from .local import local_environment

                self._environment = local_environment(self.name, self._directory)
        return self._environment
