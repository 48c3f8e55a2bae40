"""The SQLite file is opened, also while other processes are just creating it."""

from __future__ import annotations

import sqlite3

from .clock import Bell, Clock
from .errors import DamagedDatabase, StorageRefused
from .schema import prepare
from .sqlite_codes import is_busy, is_out_of_reach

BUSY_TIMEOUT = 30.0
"""Seconds a write waits for another process that holds the file; the event loop stands still
meanwhile. Only a program that is stopped in the middle of a write, or a foreign one, takes long."""
OPENING_PAUSE = 0.02
"""Seconds between two tries to open a file that is locked."""


async def connect(
    path: str, name: str, clock: Clock, giving_up: Bell, *, is_shared: bool
) -> tuple[sqlite3.Connection, bool]:
    """A connection to the file, with today's schema in it; and whether this has created it.

    Raises StorageRefused where the file cannot be opened, DamagedDatabase where SQLite cannot read
    it or it belongs to another program, and NewerSchema. What is in the file stays as it is then.
    """
    # The change to WAL mode, and the end of the last connection, take locks for which SQLite does
    # not wait, whatever the timeout: "database is locked" comes at once.
    deadline = clock.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT, isolation_level=None, cached_statements=256
            )
            try:
                return connection, prepare(connection, name, is_shared=is_shared)
            except BaseException:
                connection.close()
                raise
        except sqlite3.DatabaseError as error:
            if not is_busy(error) or clock.monotonic() > deadline:
                if is_out_of_reach(error):
                    raise StorageRefused(name, str(error)) from error
                raise DamagedDatabase(name, str(error)) from error
        await giving_up.wait(clock, OPENING_PAUSE)
