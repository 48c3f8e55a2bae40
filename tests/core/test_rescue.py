"""A database is exported as it is stored, and comes back byte for byte. Files of CPython here; what
IndexedDB holds is in tests/in_browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from durably import (
    DamagedDatabase,
    DamagedExport,
    Durably,
    NothingStored,
    RunStatus,
    Step,
    StorageRefused,
    WrongPassphrase,
    job,
)

pytestmark = pytest.mark.cpython_only


@job
async def double(step: Step, number: int) -> int:
    return 2 * await step.run("a", int, number)


async def restore(*arguments: Any, **options: Any) -> list[str]:
    from durably import rescue  # Pyodide collects this file too, and has none.

    return await rescue.restore(*arguments, **options)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


async def test_files_come_back_byte_for_byte_with_what_is_in_the_wal(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    async with Durably("shop", jobs=[double], directory=here, autostart=False) as durably:
        handle = await durably.trigger(double(21))
        wal = (here / "shop.sqlite3-wal").read_bytes()
        data = await Durably("shop", directory=here).export_as_is()

    problems = await restore(data, there)

    assert problems == []
    assert (there / "shop.sqlite3-wal").read_bytes() == wal
    async with Durably("shop", jobs=[double], directory=there) as durably:
        assert await durably.result(handle.id, timeout=20) == 42


async def test_database_that_does_not_open_is_exported_as_it_is(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    async with Durably("shop", jobs=[double], directory=here) as durably:
        await (await durably.trigger(double(21))).result()
    path = here / "shop.sqlite3"
    torn = bytearray(path.read_bytes())
    torn[:100] = b"\0" * 100
    path.write_bytes(torn)
    before = files_in(here)

    durably = Durably("shop", directory=here)
    with pytest.raises(DamagedDatabase):
        await durably.__aenter__()
    data = await durably.export_as_is(passphrase="secret")
    await restore(data, there, passphrase="secret")

    assert files_in(there) == before
    assert files_in(here) == before


async def test_large_file_is_put_together_from_its_parts(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    content = bytes(range(256)) * 8 * 1024 + b"the rest"
    (here / "shop.sqlite3").write_bytes(content)

    await restore(await Durably("shop", directory=here).export_as_is(), there)

    assert files_in(there) == {"shop.sqlite3": content}


async def test_empty_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "shop.sqlite3").touch()
    data = await Durably("shop", directory=tmp_path).export_as_is()
    (tmp_path / "shop.sqlite3").unlink()

    await restore(data, tmp_path)

    assert files_in(tmp_path) == {"shop.sqlite3": b""}


async def test_name_without_a_database_is_told_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(NothingStored, match="shop"):
        await Durably("shop", directory=tmp_path).export_as_is()

    assert files_in(tmp_path) == {}


async def test_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "shop.sqlite3").mkdir()

    with pytest.raises(StorageRefused):
        await Durably("shop", directory=tmp_path).export_as_is()


@pytest.mark.parametrize("taken", ["shop.sqlite3", "shop.sqlite3-wal"])
async def test_restoring_overwrites_nothing(tmp_path: Path, taken: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    (there / taken).write_bytes(b"mine")
    async with Durably("shop", directory=here, autostart=False) as durably:
        data = await durably.export_as_is()

    with pytest.raises(FileExistsError):
        await restore(data, there)

    assert files_in(there) == {taken: b"mine"}


async def test_each_kind_of_file_is_told_from_the_other(tmp_path: Path) -> None:
    async with Durably("shop", jobs=[double], directory=tmp_path, autostart=False) as durably:
        await durably.trigger(double(1))
        runs, database = await durably.export(), await durably.export_as_is()
        with pytest.raises(DamagedExport, match=r"durably\.rescue"):
            await durably.import_(database)
        with pytest.raises(DamagedExport, match="import_"):
            await restore(runs, tmp_path / "there")
        with pytest.raises(WrongPassphrase):
            await restore(database, tmp_path / "there", passphrase="any")

        assert [run.status for run in await durably.list_runs()] == [RunStatus.PENDING]
    assert not (tmp_path / "there").exists()
