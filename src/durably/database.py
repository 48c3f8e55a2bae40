"""The SQLite file: opened, brought to today's schema, written, and made durable.

SQLite in memory is the truth while a program lives; the mirror holds the truth between lives.
``flush`` is the bridge: what was written before it is durable when it returns.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from .clock import Bell, Clock
from .errors import StorageError, StorageFull, StorageLost
from .landing import Landing
from .model import Durability
from .opening import BUSY_TIMEOUT, connect
from .ports import Mirror
from .sqlite_codes import code_of, is_busy, is_fault

FULL_RETRY_INTERVAL = 2.0
"""Seconds between two tries to write to a storage that was full."""

Parameters = Mapping[str, object] | tuple[object, ...]


class TermEnded(StorageLost):
    """Asked of a database whose term was over; the next leader has it."""


class Database:
    """One opened database. Synchronous but for ``open``, ``flush`` and ``close``."""

    def __init__(self, name: str, mirror: Mirror, clock: Clock) -> None:
        self.name = name
        self.commits = 0
        """How many writes SQLite has committed since ``open``."""
        self.on_durable: Callable[[int], None] = lambda commit: None
        self.on_full: Callable[[StorageFull | None], None] = lambda error: None
        """Called when the storage is full, and with None when there is room again."""
        self.on_failure: Callable[[StorageError], None] = lambda error: None
        self.mirror = mirror
        self.durable_at: int | None = None
        """When (UTC ms) something was made durable last."""
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._writing: sqlite3.Cursor | None = None
        """For the statements that give no rows: one cursor, and not one for each of them."""
        self._in_transaction = self._is_committing = False
        self._waiters: list[Landing] = []
        self._wanted: Durability = "relaxed"
        """What the strictest of them asks of the next commit."""
        self._aboard: tuple[int, Durability] = (0, "relaxed")
        """How many writes the mirror commit under way makes durable, and how durable."""
        self._to_wake: deque[tuple[Landing, StorageError | None]] = deque()
        """Who is to hear of the commit that has landed, and what."""
        self._is_waking = False
        self._wakings = 0
        self._left_behind: Landing | None = None
        """Done when the commit under way is, for what came too late for it."""
        self._promised = 0
        """The last commit that somebody waits or has waited for."""
        self._disk_is_full = False
        self._durable: dict[Durability, int] = {"relaxed": 0, "strict": 0}
        self._failure: StorageError | None = None
        self._closing = Bell()

    @property
    def is_shared(self) -> bool:
        """True where other processes may write to the same file."""
        return self.mirror.is_shared

    @property
    def is_full(self) -> bool:
        return isinstance(self._failure, StorageFull)

    @property
    def has_no_room(self) -> bool:
        """True where the last write or commit was refused for want of room."""
        return self.is_full or self._disk_is_full

    @property
    def has_failed(self) -> bool:
        """True where nothing more can be made durable in this term."""
        return self._failure is not None and not self.is_full

    async def open(self, known_epoch: int = 0) -> None:
        """Take over, load, check, and bring to today's schema; all of it is durable on return.

        Raises what ``Mirror.take_over`` raises, StorageRefused where the file cannot be opened,
        DamagedDatabase where SQLite cannot read it or it belongs to another program, and
        NewerSchema. In each case what is stored stays as it is.
        """
        path = await self.mirror.take_over(known_epoch)
        self.mirror.on_failure(self._fail)
        self.mirror.on_stall(self._wake)
        self._connection, is_new = await connect(
            path, self.name, self._clock, self._closing, is_shared=self.mirror.is_shared
        )
        self._writing = self._connection.cursor()
        self.commits += is_new
        await self.flush("strict")

    async def settle(self) -> None:
        """Wait until what was written to be durable is: readers see nothing that a crash undoes.

        Returns at once where the storage is full or gone, and nothing would come of waiting.
        """
        while self._durable["relaxed"] < self._promised and self._failure is None:
            if self._connection is None:
                return
            waiter = Landing()
            self._waiters.append(waiter)
            if not self._is_committing:
                # Whoever was to start this commit was cancelled while it waited for its turn.
                self._commit("relaxed")
            with suppress(StorageError):
                await waiter

    async def when_there_is_room(self, write: Callable[[], None]) -> None:
        """Make a write that nothing may drop: try again while the disk is full.

        Raises StorageFull once ``stop_waiting`` was called.
        """
        while True:
            try:
                return write()
            except StorageFull:
                await self._closing.wait(self._clock, FULL_RETRY_INTERVAL)
                if self._closing.is_set():
                    raise

    def stop_waiting(self) -> None:
        """From now on a ``flush`` to a full storage raises StorageFull at its first try."""
        self._closing.set()

    def end_term(self) -> None:
        """Begin one last commit of what was written; behind it, nothing becomes durable any more.

        The last commit is in order before the takeover of whoever leads next, or it is fenced.
        """
        self.start_flush()
        if not self.has_failed:
            self._failure = self._term_ended()

    async def close(self) -> None:
        """Let go of the file. What was not flushed is dropped."""
        self.stop_waiting()
        # A commit under way may still end; whoever listens belongs to the next life by then.
        self.on_durable = lambda commit: None
        self.on_full = lambda error: None
        self.on_failure = lambda error: None
        if self._connection is not None:
            self._connection.close()
            self._connection = self._writing = None
        await self.mirror.close()

    def read(self, sql: str, parameters: Parameters) -> list[sqlite3.Row]:
        try:
            return (self._connection or self._open_connection()).execute(sql, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            self._raise_fault(error)
            raise

    def write(self, sql: str, parameters: Parameters) -> int:
        """Run one statement as a transaction of its own; the answer is how many rows it changed."""
        changed = self._execute(sql, parameters).rowcount
        if changed:
            self._committed()
        return changed

    def insert(self, sql: str, parameters: Parameters) -> int:
        """Insert one row as a transaction of its own; the answer is its ``rowid``."""
        row_id = self._execute(sql, parameters).lastrowid
        self._committed()
        assert row_id is not None, "a row was inserted"
        return row_id

    def write_returning(self, sql: str, parameters: Parameters) -> list[sqlite3.Row]:
        """Run one statement with a ``returning`` clause as a transaction of its own."""
        rows = self.read(sql, parameters)
        if rows:
            self._committed()
        return rows

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside commit together, or none of them. Contains no ``await``.

        Inside another transaction it is a part of that one.
        """
        if self._in_transaction:
            yield
            return
        connection = self._open_connection()
        changes = connection.total_changes
        self._execute("begin immediate", {})
        self._in_transaction = True
        try:
            yield
            self._execute("commit", {})
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        finally:
            self._in_transaction = False
        if connection.total_changes != changes:
            self._committed()

    def start_flush(self) -> None:
        """Begin to make durable what was written, and do not wait for it."""
        self._promised = self.commits
        is_durable = self._durable["relaxed"] >= self._promised
        if is_durable or self._connection is None or self.has_failed:
            return
        if not self._is_committing:
            self._commit("relaxed")
        elif self._left_behind is None:
            # One of the waiters, so that those who came before it and ask for more have their turn.
            self._left_behind = Landing()
            self._left_behind.add_done_callback(self._follow)
            self._waiters.append(self._left_behind)

    def _follow(self, left_behind: asyncio.Future[None]) -> None:
        """Commit what ``start_flush`` was asked for while another commit was under way."""
        self._left_behind = None
        if left_behind.exception() is None and self._durable["relaxed"] < self._promised:
            self.start_flush()

    async def flush(
        self, durability: Durability = "relaxed", *, waits_for_room: bool = True
    ) -> None:
        """Return when everything committed before this call is durable.

        Calls that come while a mirror commit is under way share the next one. While the storage is
        full the call waits and tries again, or raises StorageFull; nothing is dropped. Raises
        StorageFenced and StorageLost.
        """
        if durability == "none":
            return
        wanted = self.commits
        if self._durable[durability] >= wanted:
            return
        if wanted > self._promised:
            self._promised = wanted
        if not self._is_committing and self._failure is None and self._connection is not None:
            self._commit(durability)  # In a file it lands before this returns.
        while self._durable[durability] < wanted:
            if self._failure is not None and self.has_failed:
                raise self._failure
            if self._connection is None:
                raise self._ended()
            waiter = Landing()
            self._waiters.append(waiter)
            if durability == "strict":
                self._wanted = "strict"
            if not self._is_committing:
                self._commit(durability)
            try:
                await waiter
            except StorageFull:
                if not waits_for_room:
                    raise
                await self._closing.wait(self._clock, FULL_RETRY_INTERVAL)
                if self._closing.is_set():
                    raise

    def _execute(self, sql: str, parameters: Parameters) -> sqlite3.Cursor:
        """Run a statement that gives no rows; the answer tells what it changed."""
        try:
            return (self._writing or self._open_connection()).execute(sql, parameters)
        except sqlite3.DatabaseError as error:
            self._raise_fault(error)
            raise

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise self._ended()
        return self._connection

    def _raise_fault(self, error: sqlite3.DatabaseError) -> None:
        """Raise what the storage did, where it is not a mistake of this library."""
        fault = self._fault(error)
        if fault is not None:
            raise fault from error

    def _fault(self, error: sqlite3.DatabaseError) -> StorageError | None:
        """What the place of the file did to a statement, which then changed nothing.

        None for what is a mistake of this library; it shows as it is.
        """
        if code_of(error) == sqlite3.SQLITE_FULL:
            full = StorageFull(self.name)
            if not self._disk_is_full:
                self._disk_is_full = True
                self.on_full(full)
            return full
        if is_busy(error):
            return StorageLost(self.name, f"another program held its file for {BUSY_TIMEOUT} s")
        return StorageLost(self.name, str(error)) if is_fault(error) else None

    def _ended(self) -> StorageError:
        return self._failure or self._term_ended()

    def _term_ended(self) -> TermEnded:
        return TermEnded(self.name, "the term in which it was open has ended")

    def _committed(self) -> None:
        if not self._in_transaction:
            self.commits += 1
        if self._disk_is_full:
            self._disk_is_full = False
            self.on_full(None)

    def _commit(self, durability: Durability) -> None:
        """Start one mirror commit of everything that SQLite has committed so far."""
        assert not self._in_transaction, "a mirror commit is cut between SQLite transactions"
        wanted: Durability | None = durability
        while wanted is not None:
            self._aboard = self.commits, wanted
            self._is_committing = True
            if self.mirror.commit(wanted, self._landed):
                return
            if self._waiters:
                wanted = self._landed(None)
                continue
            try:
                self._note_durable(*self._aboard)  # As in a file; and there is nobody to wake.
            finally:
                self._is_committing = False
            wanted = self._next_commit() if self._waiters else None

    def _landed(self, error: StorageError | None) -> Durability | None:
        """The outcome of the mirror commit under way is known; the answer is the next to begin."""
        if self._waiters:
            self._to_wake.extend([(waiter, error) for waiter in self._waiters])
            self._waiters = []
        self._wanted = "relaxed"
        self._is_waking = True
        try:
            if error is None:
                self._note_durable(*self._aboard)
            else:
                self._fail(error)
        finally:
            wanted = self._wake()
        return wanted

    def _wake(self) -> Durability | None:
        """Whoever waited goes on in here, and what they all write is one commit again.

        The mirror calls it once more where one of them stands still in ``run_sync``, perhaps until
        something else is durable; and that one's call ends without a word when it is back.
        """
        if not self._is_waking:
            return None
        self._wakings = waking = self._wakings + 1
        while self._to_wake:
            waiter, error = self._to_wake.popleft()
            waiter.land(error)
            if self._wakings != waking:
                return None
        self._is_waking = False
        self._is_committing = False
        return self._next_commit() if self._waiters else None

    def _next_commit(self) -> Durability | None:
        """What the waiters ask for, who came while the last commit landed."""
        if self._connection is not None and (self._failure is None or self.is_full):
            self._aboard = self.commits, self._wanted
            self._is_committing = True
            return self._wanted
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.land(self._ended())
        return None

    def _note_durable(self, commit: int, durability: Durability) -> None:
        self._durable["relaxed"] = commit
        if durability == "strict":
            self._durable["strict"] = commit
        self.durable_at = self._clock.now()
        if self._failure is not None and self.is_full:
            self._failure = None
            self.on_full(None)
        self.on_durable(commit)

    def _fail(self, error: StorageError) -> None:
        """A commit was refused, or the storage went away between two of them."""
        if self.has_failed:
            return  # The first one has said what there is to say.
        was_full = self.is_full
        self._failure = error
        if not isinstance(error, StorageFull):
            self.on_failure(error)
        elif not was_full:
            self.on_full(error)
