"""The mirrors of CPython, and the one of tests, keep the contract of their port."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from durably import StorageRefused
from durably.local import FileMirror, VolatileMirror
from durably.ports import Mirror
from durably.testing import MemoryDisk, MemoryMirror, settle
from tests.contracts.mirror import (
    FaultContract,
    FenceContract,
    MirrorContract,
    Mirrors,
    StateContract,
    life,
)


class FileMirrors(Mirrors):
    place = "file"

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self) -> Mirror:
        return FileMirror("contract", self._path)


class MemoryMirrors(Mirrors):
    place = "memory"

    def __init__(self) -> None:
        self.disk = MemoryDisk()

    def make(self) -> Mirror:
        return MemoryMirror("contract", self.disk)

    async def damage(self) -> None:
        self.disk.image = b"damaged" + self.disk.image[7:]

    async def clear(self) -> None:
        self.disk.clear()

    async def stored(self) -> object:
        return (self.disk.epoch, self.disk.image)

    async def fail_next(self, fault: Literal["full", "lost"]) -> None:
        self.disk.fail(self.disk.writes + 1, fault)


class VolatileMirrors(Mirrors):
    place = "memory"

    def make(self) -> Mirror:
        return VolatileMirror()


class TestFileMirror(MirrorContract):
    @pytest.fixture
    def mirrors(self, tmp_path: Path) -> Mirrors:
        return FileMirrors(tmp_path / "folder" / "contract.sqlite3")

    async def test_two_at_a_time_see_what_the_other_writes(self, mirrors: Mirrors) -> None:
        async with life(mirrors) as one, life(mirrors) as two:
            one.write("by one")
            await one.commit()
            two.write("by two")
            await two.commit()

            assert one.notes() == two.notes() == ["by one", "by two"]
            assert one.mirror.is_shared

    async def test_usage_is_the_size_of_its_files(self, tmp_path: Path) -> None:
        path = tmp_path / "contract.sqlite3"
        async with life(FileMirrors(path)) as opened:
            opened.write("x" * 100_000)
            state = await opened.mirror.state()
            size = size_of(tmp_path)

        assert state.usage_bytes == size > 100_000
        assert state.is_persisted

    async def test_folder_that_cannot_be_made_is_refused_storage(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        mirror = FileMirror("contract", tmp_path / "file" / "contract.sqlite3")

        with pytest.raises(StorageRefused):
            await mirror.take_over()


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


class TestMemoryMirror(MirrorContract, FenceContract, FaultContract):
    @pytest.fixture
    def mirrors(self) -> Mirrors:
        return MemoryMirrors()

    async def test_dead_disk_acknowledges_nothing_until_it_is_revived(self) -> None:
        mirrors = MemoryMirrors()
        async with life(mirrors) as opened:
            opened.write("kept")
            await opened.commit()
            mirrors.disk.fail(mirrors.disk.writes + 1, "die")
            opened.write("lost")
            outcome = opened.begin_commit()
            await settle()
            assert not outcome.done()
        mirrors.disk.revive()

        async with life(mirrors) as opened:
            assert opened.notes() == ["kept"]

    async def test_write_can_land_though_it_is_not_acknowledged(self) -> None:
        mirrors = MemoryMirrors()
        async with life(mirrors) as opened:
            opened.write("landed")
            mirrors.disk.fail(mirrors.disk.writes + 1, "die", lands=True)
            outcome = opened.begin_commit()
            await settle()
            assert not outcome.done()
        mirrors.disk.revive()

        async with life(mirrors) as opened:
            assert opened.notes() == ["landed"]

    async def test_refused_takeover_changes_nothing(self) -> None:
        mirrors = MemoryMirrors()
        mirrors.disk.fail(1, "refuse")
        mirror = mirrors.make()

        with pytest.raises(StorageRefused):
            await mirror.take_over()
        await mirror.close()
        assert await mirrors.stored() == (0, b"")


class TestVolatileMirror(StateContract):
    @pytest.fixture
    def mirrors(self) -> Mirrors:
        return VolatileMirrors()

    async def test_keeps_nothing(self) -> None:
        mirrors = VolatileMirrors()
        async with life(mirrors) as opened:
            opened.write("forgotten")
            await opened.commit("strict")

        async with life(mirrors) as opened:
            assert opened.notes() == []
