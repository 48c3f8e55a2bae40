"""The files in which Chromium keeps the IndexedDB of an origin, treated as a death treats them.

Their format: https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

HEADER = struct.Struct("<IHB")  # checksum, length, type
FULL = 1
TIMEOUT = 10.0


def log_file(profile: Path) -> Path:
    """The log that is written at present, of the only origin in the profile."""
    (folder,) = (profile / "Default" / "IndexedDB").glob("*.leveldb")
    return max(folder.glob("*.log"))


def tear(profile: Path) -> Path:
    """Leave the first bytes of a record at the end, as a browser that dies while it writes does;
    returns the log."""
    log = log_file(profile)
    with log.open("ab") as file:
        file.write(HEADER.pack(0, 1000, FULL) + bytes(20))
    return log


def damage(profile: Path) -> None:
    """Alter a byte in the middle of the log."""
    log = log_file(profile)
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)


def wait_until_gone(log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while log.exists():
        assert time.monotonic() < deadline, f"{log.name} is still in use"
        time.sleep(0.02)
