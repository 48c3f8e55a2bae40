"""What SQLite's result codes (sqlite.org/rescode.html) say of the place where a file lies."""

from __future__ import annotations

import sqlite3

REFUSALS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""What SQLite says of a file that it cannot get at; anything else is about what is in it."""

FAULTS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""What the place where the file lies can do to an open database."""


def code_of(error: sqlite3.DatabaseError) -> int:
    """The primary result code; SQLITE_ERROR where Python itself has raised it."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def is_busy(error: sqlite3.DatabaseError) -> bool:
    """Whether another process has the file for a moment."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)


def is_out_of_reach(error: sqlite3.DatabaseError) -> bool:
    """Of a file that is being opened: whether it is not to be had, whatever is in it."""
    return code_of(error) in REFUSALS


def is_fault(error: sqlite3.DatabaseError) -> bool:
    """Of a file that is open: whether it is the place that failed, and not the statement."""
    return code_of(error) in FAULTS
