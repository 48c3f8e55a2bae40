"""What IndexedDB holds is exported as it is. How it is put together again is in
tests/core/test_rebuilding.py, and with a real database in tests/e2e/test_moving.py."""

from __future__ import annotations

import base64

import pytest

from durably import DamagedDatabase, Durably, NothingStored, Step, job
from durably.container import unpack
from tests.in_browser.page import Stored, outside
from tests.in_browser.test_mirror import as_key


@job
async def count_up(step: Step, count: int) -> int:
    for number in range(count):
        await step.run("number", int, number, key=number)
    return count


async def stored_run(name: str, count: int) -> None:
    async with Durably(name, jobs=[count_up], preserve_steps=True) as durably:
        await (await durably.trigger(count_up(count))).result()


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
