"""The checker finds what it is there to find: each rule, broken once, by hand."""

from __future__ import annotations

import base64
import json
import sqlite3
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import pytest

from tests.faults.checker import Evidence, check
from tests.faults.schedule import Order
from tests.faults.stored import (
    BLOCK,
    BLOCKS,
    COMMIT,
    FORMAT,
    HEADER,
    OPEN,
    PAGE,
    SEAL,
    Dump,
    rebuild,
)

UUID, OURS, THEIRS = bytes(16), b"a" * 16, b"b" * 16
TABLES = (
    "create table runs (id text, job text, status text, idempotency_key text, output, error)",
    "create table steps (run_id text, name text, status text, output, error)",
)
ORDER = Order("first", "sequence", {"count": 2, "seconds": 0.1})
HELD = Order("first", "held", {"seconds": 0.1})


class World:
    """The evidence of one run that went well, to be altered."""

    def __init__(self, *orders: Order) -> None:
        self.orders = orders or (ORDER,)
        self.time = 0.0
        self.lines: list[dict[str, Any]] = []
        self.runs = [["r1", self.orders[0].job, "completed", "first", '["t0", "t1"]', None]]
        self.steps = [
            ["r1", "s0", "completed", '"t0"', None],
            ["r1", "s1", "completed", '"t1"', None],
        ]
        self.tell("triggered", key="first", run="r1")
        for name, token in (("s0", "t0"), ("s1", "t1")):
            self.begin(name, token)
            self.tell("acked", run="r1", step=name, token=token)

    def tell(self, kind: str, **facts: object) -> None:
        """A second later than what was told before, and heard at once."""
        self.time += 1000
        facts = {"life": "tab.1", "at": self.time} | facts
        self.lines.append({"kind": kind, "received": self.time, **facts})

    def begin(self, step: str, token: str, run: str = "r1", term: int = 1, **facts: object) -> None:
        self.tell("began", run=run, step=step, token=token, term=term, **facts)

    def end(self, status: str = "completed") -> World:
        for order in self.orders:
            self.tell("result", key=order.key, run="r1", status=status, value=None)
        return self

    def drop(self, kind: str) -> None:
        self.lines = [line for line in self.lines if line["kind"] != kind]

    def dump(self) -> Dump:
        connection = sqlite3.connect(":memory:")
        connection.execute(f"pragma page_size = {PAGE}")
        for statement in TABLES:
            connection.execute(statement)
        connection.executemany("insert into runs values (?, ?, ?, ?, ?, ?)", self.runs)
        connection.executemany("insert into steps values (?, ?, ?, ?, ?)", self.steps)
        connection.commit()
        return log([(1, 0, OPEN, OURS, b""), (1, 1, COMMIT, OURS, connection.serialize())])

    def broken(self, *dumps: Dump) -> set[str]:
        """The rules that are broken, by name."""
        evidence = Evidence(self.orders, self.lines, list(dumps) or [self.dump()])
        return {violation.rule for violation in check(evidence)}


def log(records: Iterable[tuple[int, int, int, bytes, bytes]], blocks: int = BLOCKS) -> Dump:
    """Records that follow each other, each with the first blocks of every page of a file, or with
    none."""
    stored, previous = [], 0
    page_count = 0
    for epoch, seq, kind, writer, file in records:
        pages = len(file) // PAGE
        page_count = pages or page_count
        head = HEADER.pack(
            0x4C525544, FORMAT, kind, 0, UUID, writer, epoch, seq, previous, PAGE, page_count,
            pages, 0, 0, 0, 0.0,
        )  # fmt: skip
        entries = b"".join(struct.pack("<II", page, (1 << blocks) - 1) for page in range(pages))
        size = blocks * BLOCK
        content = head + entries
        content += b"".join(file[at : at + size] for at in range(0, len(file), PAGE))
        previous = zlib.crc32(content)
        content += previous.to_bytes(4, "little")
        stored.append([[epoch, seq], base64.b64encode(content).decode()])
    return {"log": stored, "chunks": []}


@pytest.fixture
def world() -> World:
    return World()


def test_run_that_went_well_breaks_no_rule(world: World) -> None:
    assert world.end().broken() == set()


def test_repeat_with_a_fault_for_it_breaks_no_rule() -> None:
    world = World()
    world.drop("acked")
    world.tell("fault", fault="kill")
    world.begin("s1", "t2", life="tab.2")
    world.steps[1][3] = '"t2"'
    world.runs[0][4] = '["t0", "t2"]'

    assert world.end().broken() == set()


def test_acknowledged_checkpoint_that_is_not_stored_is_found(world: World) -> None:
    world.tell("acked", run="r1", step="s2", token="t9")

    assert world.end().broken() == {"kept"}


def test_acknowledged_result_that_is_stored_as_another_is_found(world: World) -> None:
    world.tell("acked", run="r1", step="s1", token="t9")

    assert world.end().broken() == {"kept"}


def test_body_that_runs_after_its_checkpoint_was_acknowledged_is_found(world: World) -> None:
    world.tell("fault", fault="kill")
    world.begin("s1", "t2", life="tab.2")

    assert world.end().broken() == {"not again"}


def test_repeat_without_a_fault_is_found() -> None:
    world = World()
    world.drop("acked")
    world.begin("s1", "t2", life="tab.2")

    assert world.end().broken() == {"repeats"}


def test_second_repeat_for_one_fault_is_found() -> None:
    world = World()
    world.drop("acked")
    world.tell("fault", fault="kill")
    world.begin("s1", "t2", life="tab.2")
    world.begin("s1", "t3", life="tab.3")

    assert world.end().broken() == {"repeats"}


def test_repeat_in_the_same_term_is_found() -> None:
    world = World()
    world.drop("acked")
    world.tell("fault", fault="reload")
    world.begin("s1", "t2")

    assert world.end().broken() == {"repeats"}


def test_fault_that_ends_no_term_excuses_no_repeat() -> None:
    world = World()
    world.drop("acked")
    world.tell("fault", fault="clock")
    world.begin("s1", "t2", life="tab.2")

    assert world.end().broken() == {"repeats"}


@pytest.mark.parametrize("seen_by", ["stored", "acked"])
def test_result_of_a_cancelled_step_is_found(seen_by: str) -> None:
    world = World()
    world.begin("s2", "t2")
    world.tell("cut", run="r1", step="s2", token="t2")
    if seen_by == "stored":
        world.steps.append(["r1", "s2", "completed", '"t2"', None])
    else:
        world.tell("acked", run="r1", step="s2", token="t2")

    assert "cut" in world.end().broken()


def test_result_whose_token_only_begins_like_that_of_a_cancelled_try_breaks_no_rule() -> None:
    world = World()
    world.begin("s0", "t", term=2)
    world.tell("cut", run="r1", step="s0", token="t")

    assert "cut" not in world.end().broken()


def test_acknowledged_result_that_only_begins_like_the_stored_one_is_found(world: World) -> None:
    world.steps[1][3] = '"t12"'

    assert world.end().broken() >= {"kept"}


def test_run_that_was_cancelled_and_is_not_is_found() -> None:
    world = World(HELD)
    world.tell("cancelled", run="r1")

    assert "cancelled" in world.end().broken()


def test_step_that_begins_after_the_cancellation_was_acknowledged_is_found() -> None:
    world = World(HELD)
    world.runs[0][2] = "cancelled"
    world.tell("cancelled", run="r1")
    world.begin("s2", "t2")

    assert world.end("cancelled").broken() == {"cancelled"}


def test_acknowledged_trigger_without_a_run_is_found(world: World) -> None:
    world.tell("triggered", key="second", run="r2")

    assert world.end().broken() == {"one run"}


def test_two_runs_of_one_trigger_are_found(world: World) -> None:
    world.runs.append(["r2", *world.runs[0][1:]])
    world.steps += [["r2", *row[1:]] for row in world.steps]

    assert world.end().broken() == {"one run"}


def test_run_that_was_executed_and_is_not_stored_is_found(world: World) -> None:
    world.begin("s0", "t9", run="r2")

    assert world.end().broken() == {"one run"}


@pytest.mark.parametrize("status", ["pending", "running", "waiting", "failed", "cancelled"])
def test_wrong_last_state_is_found(world: World, status: str) -> None:
    world.runs[0][2] = status

    assert world.end().broken() == {"states"}


def test_end_that_was_told_otherwise_is_found(world: World) -> None:
    assert world.end("failed").broken() == {"states"}


def test_completed_run_without_all_its_checkpoints_is_found(world: World) -> None:
    world.drop("acked")
    del world.steps[1]

    assert world.end().broken() == {"states"}


def test_signal_that_was_acknowledged_and_never_came_is_found() -> None:
    world = World(Order("first", "waiting", {"timeout": 1.0}))
    world.runs[0][4] = '"timed out"'
    world.tell("signalled", run="r1")

    assert world.end().broken() == {"states"}


def test_order_whose_end_nobody_was_told_is_found(world: World) -> None:
    assert world.broken() == {"ends"}


def test_runs_of_one_concurrency_key_side_by_side_are_found() -> None:
    orders = tuple(
        Order(key, "sequence", {"count": 2}, concurrency_key="k") for key in ("first", "second")
    )
    world = World(*orders)
    world.runs.append(["r2", "sequence", "completed", "second", '["u0", "u1"]', None])
    world.steps.append(["r2", "s0", "completed", '"u0"', None])
    world.steps.append(["r2", "s1", "completed", '"u1"', None])
    world.begin("s0", "u0", run="r2", at=2500.0)
    world.begin("s1", "u1", run="r2")

    assert world.end().broken() == {"one at a time"}


def test_tab_that_breaks_is_found(world: World) -> None:
    world.tell("broken", text="TypeError")

    assert world.end().broken() == {"tabs hold"}


def test_file_that_sqlite_finds_fault_with_is_found(world: World) -> None:
    file = bytearray(rebuild(world.dump()))
    file[PAGE : PAGE + 100] = b"\xff" * 100

    dump = log([(1, 0, OPEN, OURS, b""), (1, 1, COMMIT, OURS, bytes(file))])

    assert world.end().broken(dump) == {"whole"}


def test_missing_record_is_found(world: World) -> None:
    dump = world.dump()
    del dump["log"][0]

    assert world.end().broken(dump) == {"whole"}


def test_two_writers_in_one_epoch_are_found(world: World) -> None:
    file = rebuild(world.dump())
    dump = log([(1, 0, OPEN, OURS, b""), (1, 1, COMMIT, OURS, file), (1, 2, COMMIT, THEIRS, file)])

    assert world.end().broken(dump) == {"epochs"}


def test_two_writers_in_one_epoch_are_found_across_two_looks(world: World) -> None:
    file = rebuild(world.dump())
    early = log([(1, 0, OPEN, THEIRS, b"")])
    late = log([(1, 0, OPEN, OURS, b""), (1, 1, COMMIT, OURS, file)])

    assert world.end().broken(early, late) == {"epochs"}


def test_record_behind_a_seal_is_found(world: World) -> None:
    file = rebuild(world.dump())
    records = [(1, 0, OPEN, OURS, file), (1, 1, SEAL, THEIRS, b""), (1, 2, COMMIT, OURS, file)]

    assert "epochs" in world.end().broken(log(records))


def test_epoch_without_a_seal_is_found(world: World) -> None:
    file = rebuild(world.dump())
    records = [(1, 0, OPEN, OURS, file), (2, 0, OPEN, THEIRS, b"")]

    assert "epochs" in world.end().broken(log(records))


def test_sealed_epoch_and_the_next_break_no_rule(world: World) -> None:
    file = rebuild(world.dump())
    records = [
        (1, 0, OPEN, OURS, b""),
        (1, 1, COMMIT, OURS, file),
        (1, 2, SEAL, THEIRS, b""),
        (2, 0, OPEN, THEIRS, b""),
    ]

    assert world.end().broken(log(records)) == set()


def test_page_that_was_never_stored_as_a_whole_is_found(world: World) -> None:
    file = rebuild(world.dump())
    parts = log([(1, 0, OPEN, OURS, b""), (1, 1, COMMIT, OURS, file)], blocks=BLOCKS - 1)

    assert world.end().broken(parts) == {"whole"}


def test_evidence_can_be_kept_as_json(world: World) -> None:
    evidence = Evidence(world.orders, json.loads(json.dumps(world.end().lines)), [world.dump()])

    assert check(evidence) == []
