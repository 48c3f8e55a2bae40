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

PAGE = 4096
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
    pages: dict[int, bytes]
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
    manifest = next((record for record in reversed(records) if record.chunks), None)
    if manifest is not None:
        start = manifest.replay_from
        stored = {tuple(key): base64.b64decode(value) for key, value in dump["chunks"]}
        for index, (epoch, fold, crc) in enumerate(manifest.chunks):
            chunk = stored.get((index, epoch, fold))
            if chunk is None or zlib.crc32(chunk) != crc:
                raise NotWhole(f"chunk {index} is missing or wrong")
            image[index * CHUNK_PAGES * PAGE :] = chunk
    replayed = [record for record in records if (record.epoch, record.seq) > start]
    _check_chain(replayed, start, is_first=manifest is None)
    size = PAGE * records[-1].page_count
    image.extend(bytes(max(0, size - len(image))))
    for record in replayed:
        for number, page in record.pages.items():
            if number < records[-1].page_count:
                image[number * PAGE : (number + 1) * PAGE] = page
    return bytes(image[:size])


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
    _, _, kind, _, _, writer, epoch, seq, previous, _, page_count, pages, entries, *rest = fields
    if [epoch, seq] != key:
        raise NotWhole(f"record {key} says that it is {epoch}.{seq}")
    at = HEADER.size
    numbers = struct.unpack_from(f"<{pages}I", content, at)
    at += 4 * pages
    chunks = tuple(struct.iter_unpack("<III", content[at : at + 12 * entries]))
    at += 12 * entries
    images = {
        number: content[at + i * PAGE : at + (i + 1) * PAGE] for i, number in enumerate(numbers)
    }
    return Record(
        epoch,
        seq,
        kind,
        writer.hex(),
        crc,
        previous,
        page_count,
        images,
        chunks,
        (rest[0], rest[1]),
    )
