"""A database as it is stored, whatever is wrong with it: out as one file, and back for tools.

``Durably.export_as_is`` makes the file. ``restore`` makes a SQLite file of it, as far as that is
possible, for ``Durably`` to open or for the tools of SQLite (``.recover``) to look at.

Of CPython: the wheel for browsers comes without this module.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from .container import FILES, STORES, Line, unpack
from .errors import NothingStored, StorageRefused
from .export_errors import DamagedExport

SUFFIXES = ("", "-wal", "-journal")
PART_BYTES = 1 << 20
MOST_LOOKS = 5
"""Times to read files that somebody writes to meanwhile."""


async def restore(
    data: bytes, directory: str | Path = ".", *, passphrase: str | None = None
) -> list[str]:
    """Write what ``export_as_is`` gave as ``<directory>/<name>.sqlite3``, and return what was found
    to be wrong with it; nothing, where it is whole.

    Files of SQLite come back byte for byte. From IndexedDB the pages are put together up to the
    last record that follows from those before it. Raises DamagedExport (also where there is no page
    at all), NewerExport, WrongPassphrase, InvalidOption, EncryptionUnavailable, and FileExistsError
    instead of overwriting anything.
    """
    header, lines = await unpack(data, passphrase)
    kind, name = header["kind"], str(header.get("database"))
    if kind not in (FILES, STORES) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise DamagedExport("it holds runs, for import_, and no database as it was stored")
    path = Path(directory) / f"{name}.sqlite3"
    problems: list[str] = []
    try:
        if kind == STORES:
            from .rebuilding import rebuild

            content, problems = rebuild(lines)
            contents = {"": content}
        else:
            contents = _joined(lines)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise DamagedExport(f"a line of it is no part of a database ({error!r})") from error
    targets = {Path(f"{path}{suffix}"): content for suffix, content in contents.items()}
    for target in targets:
        if target.exists():
            raise FileExistsError(target)
    for target, content in targets.items():
        with target.open("xb") as file:
            file.write(content)
    return problems


def stored_files(name: str, directory: Path) -> Iterator[Line]:
    """The lines about the files of a database. Raises NothingStored and StorageRefused."""
    path = directory / f"{name}.sqlite3"
    for suffix, content in _read(name, path).items():
        for at in range(0, max(len(content), 1), PART_BYTES):
            part = base64.b64encode(content[at : at + PART_BYTES]).decode()
            yield {"file": suffix, "at": at, "bytes": part}


def _read(name: str, path: Path) -> dict[str, bytes]:
    """The files of a database, all of one moment unless somebody never stops writing."""
    try:
        for _ in range(MOST_LOOKS):
            before = _marks(path)
            contents = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in before}
            if before == _marks(path):
                break
    except OSError as error:
        raise StorageRefused(name, str(error)) from error
    if "" not in contents:
        raise NothingStored(name, str(path.parent))
    return contents


def _marks(path: Path) -> dict[str, tuple[int, int]]:
    """What changes when somebody writes to a file, for those that there are."""
    marks = {}
    for suffix in SUFFIXES:
        file = Path(f"{path}{suffix}")
        if file.exists():
            status = file.stat()
            marks[suffix] = (status.st_size, status.st_mtime_ns)
    return marks


def _joined(lines: list[Line]) -> dict[str, bytes]:
    contents: dict[str, bytearray] = {}
    for line in lines:
        if line["file"] not in SUFFIXES:
            raise ValueError(line["file"])
        content = contents.setdefault(line["file"], bytearray())
        if line["at"] != len(content):
            raise ValueError(line["at"])
        content += base64.b64decode(line["bytes"], validate=True)
    return {suffix: bytes(content) for suffix, content in contents.items()}
