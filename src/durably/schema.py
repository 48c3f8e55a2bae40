"""The file as SQLite sees it: whose it is, how it is opened, and today's tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from .errors import DamagedDatabase, NewerSchema

SCHEMA_VERSION = 3
"""1 and 2 were before the first release; nothing brings them here."""
APPLICATION_ID = 0x6475726C  # "durl": tells our files from other SQLite files
WAL_PAGES = 4000
"""Pages (8 MB) that gather in the WAL file before a commit copies them into the main one, and has
to wait for the disk. With the 1000 that are usual, every hundredth short run has to.
"""


def prepare(connection: sqlite3.Connection, name: str, *, is_shared: bool) -> bool:
    """Check the file, set its modes, and create the tables where it is empty; True in that case.

    Raises DamagedDatabase and NewerSchema, and then has changed nothing.
    """
    _check(connection, name)
    connection.row_factory = sqlite3.Row
    if is_shared:
        # A commit writes whole pages, and waits for the disk for all of them in the end: half the
        # usual size is half of that, while results of many kilobytes take hardly longer.
        pragmas = [
            "page_size = 2048",
            "journal_mode = wal",
            "synchronous = normal",
            f"wal_autocheckpoint = {WAL_PAGES}",
        ]
    else:
        # The mirror gives the durability, and exclusive locking leaves page 1 (the change counter)
        # out of most commits.
        pragmas = [
            "page_size = 4096",
            "locking_mode = exclusive",
            "journal_mode = memory",
            "synchronous = off",
        ]
    for pragma in (*pragmas, "temp_store = memory"):
        connection.execute(f"pragma {pragma}")
    return _version(connection) != SCHEMA_VERSION and _create(connection)


def _check(connection: sqlite3.Connection, name: str) -> None:
    """Refuse what another program, or a newer version of this one, has stored.

    Comes before anything that writes, and setting the journal mode is such a thing.
    """
    connection.execute("begin")  # One look at it, while other processes may be creating it.
    (program,) = connection.execute("pragma application_id").fetchone()
    version = _version(connection)
    (tables,) = connection.execute("select count(*) from sqlite_schema").fetchone()
    connection.execute("commit")
    if program != APPLICATION_ID and (program or version or tables):
        raise DamagedDatabase(name, "it belongs to another program")
    if version > SCHEMA_VERSION:
        raise NewerSchema(name, version, SCHEMA_VERSION)
    if 0 < version < SCHEMA_VERSION:
        raise DamagedDatabase(name, "a version of durably before the first release made it")


def _create(connection: sqlite3.Connection) -> bool:
    connection.execute("begin immediate")
    try:
        # Another process may have created the tables while this one waited for the file.
        is_empty = _version(connection) != SCHEMA_VERSION
        if is_empty:
            for statement in _statements("schema.sql"):
                connection.execute(statement)
            connection.execute(f"pragma application_id = {APPLICATION_ID}")
            connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    return is_empty


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("pragma user_version").fetchone()
    return int(version)


def _statements(file: str) -> Iterator[str]:
    """The statements of a shipped SQL file; a trigger is one, with the semicolons inside it."""
    statement = ""
    for line in Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines():
        if not line.startswith("--"):
            statement += f"{line}\n"
        if statement.strip() and sqlite3.complete_statement(statement):
            yield statement
            statement = ""
