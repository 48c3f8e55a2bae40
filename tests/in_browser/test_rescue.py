"""What IndexedDB holds is exported as it is, and put together again as far as that goes."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from durably import DamagedDatabase, Durably, NothingStored, Step, job
from durably.container import unpack
from durably.rescue import restore
from tests.contracts.mirror import life
from tests.in_browser.page import Stored, outside
from tests.in_browser.test_mirror import (
    FOLD_RECORDS,
    IndexedDBMirrors,
    as_key,
    fill,
    until_folded,
)


@job
async def count_up(step: Step, count: int) -> int:
    for number in range(count):
        await step.run("number", int, number, key=number)
    return count


async def stored_run(name: str, count: int) -> None:
    async with Durably(name, jobs=[count_up], preserve_steps=True) as durably:
        await (await durably.trigger(count_up(count))).result()


def read(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


async def test_whole_database_is_put_together_again(name: str, tmp_path: Path) -> None:
    await stored_run(name, 5)

    problems = await restore(await Durably(name).export_as_is(), tmp_path)

    path = tmp_path / f"{name}.sqlite3"
    assert problems == []
    assert read(path, "pragma integrity_check") == [("ok",)]
    assert read(path, "select count(*) from steps") == [(5,)]


async def test_folded_database_is_put_together_from_its_chunks(name: str, tmp_path: Path) -> None:
    mirrors = IndexedDBMirrors(name)
    async with life(mirrors) as opened:
        notes = await fill(opened, FOLD_RECORDS, 1000)
        await until_folded(mirrors)
        notes += await fill(opened, 3)
        data = await Durably(name).export_as_is()

    problems = await restore(data, tmp_path)

    path = tmp_path / f"{name}.sqlite3"
    assert problems == []
    assert read(path, "pragma integrity_check") == [("ok",)]
    assert len(notes) == FOLD_RECORDS + 3
    assert [note for (note,) in read(path, "select * from notes")] == notes


async def test_every_record_is_exported_as_it_is_stored(name: str) -> None:
    await stored_run(name, 5)
    await (await outside()).alter(name, "log", as_key((1, 3)))
    with pytest.raises(DamagedDatabase, match=r"record 1\.3"):
        await Durably(name).__aenter__()
    before = await Stored.look(name)

    data = await Durably(name).export_as_is(passphrase="secret")

    header, lines = await unpack(data, "secret")
    exported = {
        tuple(line["key"]): base64.b64decode(line["bytes"])
        for line in lines
        if line["store"] == "log"
    }
    assert (header["kind"], header["database"]) == ("indexeddb", name)
    assert exported == before.log
    assert await Stored.look(name) == before
    (meta,) = [line for line in lines if line["store"] == "meta"]
    assert (meta["key"], meta["value"]["format"]) == ("database", 1)


async def test_damaged_database_is_put_together_up_to_the_damage(name: str, tmp_path: Path) -> None:
    await stored_run(name, 5)
    await (await outside()).alter(name, "log", as_key((1, 5)))

    problems = await restore(await Durably(name).export_as_is(), tmp_path)

    path = tmp_path / f"{name}.sqlite3"
    assert problems == [
        "record [1, 5] was altered, or is of a newer format",
        "record 1.5 is missing; the rest is left out",
    ]
    assert read(path, "pragma integrity_check") == [("ok",)]
    assert 0 < read(path, "select count(*) from steps")[0][0] < 5


async def test_altered_chunk_is_told_and_used_as_it_is(name: str, tmp_path: Path) -> None:
    mirrors = IndexedDBMirrors(name)
    async with life(mirrors) as opened:
        await fill(opened, FOLD_RECORDS, 1000)
        folded = await until_folded(mirrors)
    await (await outside()).alter(name, "chunks", as_key(min(folded.chunks)))

    problems = await restore(await Durably(name).export_as_is(), tmp_path)

    assert problems == ["chunk 0 is missing or was altered"]
    assert (tmp_path / f"{name}.sqlite3").stat().st_size > 0


async def test_stores_of_a_newer_version_are_exported_too(name: str) -> None:
    await stored_run(name, 1)
    await (await outside()).upgrade(name)

    _, lines = await unpack(await Durably(name).export_as_is(), None)

    assert [line for line in lines if line["store"] == "more"] == [
        {"store": "more", "key": [1, "a"], "value": {"text": "new"}},
        {"store": "more", "key": [2, "b"], "bytes": "AQID"},
        {"store": "more", "key": [3, "c"], "value": "undefined"},
    ]


async def test_name_without_a_database_is_told_and_makes_none(name: str) -> None:
    with pytest.raises(NothingStored, match=name):
        await Durably(name).export_as_is()

    assert name not in (await (await outside()).names()).to_py()


async def test_database_in_use_is_exported_and_let_go(name: str) -> None:
    async with Durably(name, jobs=[count_up]) as durably:
        await durably.export_as_is()
        handle = await durably.trigger(count_up(2))

        assert await handle.result() == 2
    await durably.export_as_is()
    assert await (await outside()).erase(name) is False
