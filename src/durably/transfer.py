"""Export and import: runs that go on in another browser, another origin, or on CPython."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .clock import SystemClock
from .codec import is_text
from .container import FILES, RUNS, STORES, check_passphrase, pack, unpack
from .errors import InvalidOption, StorageFull
from .events import RunImport
from .export_errors import DamagedExport, NewerExport
from .model import ImportReport
from .schema import SCHEMA_VERSION
from .term import Term


async def snapshot(term: Term, runs: list[str] | None) -> list[dict[str, Any]]:
    """What an export of these runs, or of all, holds. Raises RunNotFound."""
    lines = term.store.transfers.snapshot(runs)
    # Behind the look, so that everything in the file outlives a crash. Where the storage is full
    # that cannot be, and the file is wanted all the more.
    with suppress(StorageFull):
        await term.database.flush("strict", waits_for_room=False)
    return lines


async def packed(lines: list[dict[str, Any]], passphrase: str | None, now: int) -> bytes:
    """The file of a snapshot."""
    return await pack(RUNS, lines, passphrase, schema=SCHEMA_VERSION, created_at=now)


async def export_as_is(name: str, directory: Path, passphrase: str | None) -> bytes:
    """The file of a database as it is stored. Raises what ``Durably.export_as_is`` raises."""
    check_passphrase(passphrase)
    if sys.platform == "emscripten":
        from .browser.stored import stored

        kind, lines = STORES, await stored(name)
    else:
        from .rescue import stored_files

        kind, lines = FILES, list(stored_files(name, directory))
    return await pack(kind, lines, passphrase, database=name, created_at=SystemClock().now())


async def read_export(data: bytes, passphrase: str | None) -> list[dict[str, Any]]:
    """What is in a file of runs. Raises what ``Durably.import_`` raises."""
    header, lines = await unpack(data, passphrase)
    schema = header.get("schema")
    if header["kind"] != RUNS:
        raise DamagedExport(
            f"it holds a database as it was stored ({header['kind']}), and no runs; "
            "see durably.rescue"
        )
    if not isinstance(schema, int):
        raise DamagedExport("its header does not say which schema it has")
    if schema > SCHEMA_VERSION:
        raise NewerExport("schema", schema, SCHEMA_VERSION)
    return lines


def import_runs(term: Term, lines: list[dict[str, Any]]) -> ImportReport:
    """Store what is new of a file, in one transaction, and stage the events."""
    taken = term.store.transfers.take(lines, term.clock.now())
    for run_id, job, status in taken.runs:
        term.tell(RunImport, run_id=run_id, job=job, status=status)
    return taken.report


def ids_of(runs: Iterable[str]) -> list[str]:
    """Raises InvalidOption."""
    wanted = "the ids of runs"
    if isinstance(runs, str) or not isinstance(runs, Iterable):
        raise InvalidOption("runs", runs, wanted)
    ids = list(runs)
    for run_id in ids:
        if not is_text(run_id):
            raise InvalidOption("runs", run_id, wanted)
    return ids
