"""What a dump of IndexedDB holds: the records of the log, and the SQLite file that they come to.

A second reading of the format, on purpose: nothing here is taken from the library. The layout is
at the top of ``mirror.js``.
"""

from __future__ import annotations

import base64
import sqlite3
import struct
import zlib
from dataclasses import dataclass
from typing import Any

FORMAT = 2
PAGE = 4096
BLOCKS = 32
BLOCK = PAGE // BLOCKS
ALL_BLOCKS = (1 << BLOCKS) - 1
CHUNK_PAGES = 15
OPEN, COMMIT, SEAL = 1, 2, 3
HEADER = struct.Struct("<IHBB16s16sIIIIIIIII4xd")

Dump = dict[str, list[list[Any]]]


class NotWhole(Exception):
    """The records do not come to a file."""


@dataclass(frozen=True, slots=True)
class Record:
    epoch: int
    seq: int
    kind: int
    writer: str
    crc: int
    previous: int
    page_count: int
    pages: dict[int, int]
    """Which of its blocks are in the record, for each page."""
    blocks: bytes
    chunks: tuple[tuple[int, int, int], ...]
    """Epoch, fold and checksum of each chunk of the file, where the record has a manifest."""
    replay_from: tuple[int, int]


def records_of(dump: Dump) -> list[Record]:
    """In the order of their keys. Raises NotWhole for one that is none."""
    return [_record(key, base64.b64decode(value)) for key, value in dump["log"]]


def rebuild(dump: Dump) -> bytes:
    """The SQLite file. Raises NotWhole where a record or a page of it is missing or wrong."""
    records = records_of(dump)
    if not records:
        return b""
    start, image = (1, -1), bytearray()
    whole: set[int] = set()
    manifest = next((record for record in reversed(records) if record.chunks), None)
    if manifest is not None:
        start = manifest.replay_from
        stored = {tuple(key): base64.b64decode(value) for key, value in dump["chunks"]}
        for index, (epoch, fold, crc) in enumerate(manifest.chunks):
            chunk = stored.get((index, epoch, fold))
            if chunk is None or zlib.crc32(chunk) != crc:
                raise NotWhole(f"chunk {index} is missing or wrong")
            first = index * CHUNK_PAGES
            image[first * PAGE :] = chunk
            whole |= set(range(first, first + len(chunk) // PAGE))
    replayed = [record for record in records if (record.epoch, record.seq) > start]
    _check_chain(replayed, start, is_first=manifest is None)
    page_count = records[-1].page_count
    for record in replayed:
        _replay(record, image)
        whole |= {page for page, blocks in record.pages.items() if blocks == ALL_BLOCKS}
    if missing := set(range(page_count)) - whole:
        raise NotWhole(f"the pages {sorted(missing)} are missing")
    return bytes(image[: PAGE * page_count])


def _replay(record: Record, image: bytearray) -> None:
    at = 0
    for page, blocks in record.pages.items():
        image.extend(bytes(max(0, PAGE * (page + 1) - len(image))))
        for block in range(BLOCKS):
            if blocks & 1 << block:
                first = PAGE * page + BLOCK * block
                image[first : first + BLOCK] = record.blocks[at : at + BLOCK]
                at += BLOCK
    if at != len(record.blocks):
        raise NotWhole(f"record {record.epoch}.{record.seq} has blocks of no page")


def open_file(image: bytes) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.deserialize(image)
    connection.row_factory = sqlite3.Row
    return connection


def _check_chain(records: list[Record], start: tuple[int, int], *, is_first: bool) -> None:
    epoch, seq = start
    last = None
    for record in records:
        follows = (record.epoch, record.seq) == (epoch, seq + 1) or (
            last is not None and last.kind == SEAL and (record.epoch, record.seq) == (epoch + 1, 0)
        )
        is_known = last is not None or is_first
        if not follows or (is_known and record.previous != (last.crc if last else 0)):
            raise NotWhole(f"record {record.epoch}.{record.seq} does not follow {epoch}.{seq}")
        epoch, seq, last = record.epoch, record.seq, record


def _record(key: list[int], content: bytes) -> Record:
    if len(content) < HEADER.size + 4 or content[:4] != b"DURL":
        raise NotWhole(f"record {key} is none")
    (crc,) = struct.unpack("<I", content[-4:])
    if zlib.crc32(content[:-4]) != crc:
        raise NotWhole(f"record {key} was altered")
    fields = HEADER.unpack_from(content)
    _, version, kind, _, _, writer, epoch, seq, previous, _, page_count, *fields = fields
    pages, entries, *rest = fields
    if version != FORMAT:
        raise NotWhole(f"record {key} has the format {version}")
    if [epoch, seq] != key:
        raise NotWhole(f"record {key} says that it is {epoch}.{seq}")
    chunks_at = HEADER.size + 8 * pages
    blocks_at = chunks_at + 12 * entries
    chunks = tuple(struct.iter_unpack("<III", content[chunks_at:blocks_at]))
    return Record(
        epoch,
        seq,
        kind,
        writer.hex(),
        crc,
        previous,
        page_count,
        dict(struct.iter_unpack("<II", content[HEADER.size : chunks_at])),
        content[blocks_at:-4],
        chunks,
        (rest[0], rest[1]),
    )
