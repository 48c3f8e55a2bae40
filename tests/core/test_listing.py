"""Listing runs: filtered, in pages, and without going through them all."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from durably import Durably, InvalidOption, Run, RunStatus, Step, job
from durably.codec import encode
from durably.store.runs import NewRun
from tests.core.kit import OpenStore, Tab


@job
async def work(step: Step, number: int = 0) -> int:
    return number


@job
async def other(step: Step, number: int = 0) -> int:
    return number


async def triggered(durably: Durably, count: int) -> list[str]:
    handles = await durably.trigger_many(work(number) for number in range(count))
    return [handle.id for handle in handles]


def ids(runs: list[Run]) -> list[str]:
    return [run.id for run in runs]


# What fits


async def test_no_statuses_fit_no_run(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await triggered(durably, 2)

        assert await durably.list_runs(status=[]) == []
        assert await durably.list_runs(status=()) == []


async def test_no_jobs_fit_no_run(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await triggered(durably, 2)

        assert await durably.list_runs(job=[]) == []
        assert await durably.list_runs(job=set()) == []


async def test_none_fits_every_run(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await triggered(durably, 2)

        assert len(await durably.list_runs(status=None, job=None, labels=None, before=None)) == 2


async def test_filters_can_come_from_generators(tab: Tab) -> None:
    async with tab.durably(work, other, autostart=False) as durably:
        await triggered(durably, 2)
        await durably.trigger(other())
        found = await durably.list_runs(
            status=(status for status in ("pending", "failed")),
            job=(name for name in ("other", "unheard-of")),
        )

        assert [run.job for run in found] == ["other"]


async def test_status_or_job_named_twice_counts_once(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        await triggered(durably, 2)

        assert len(await durably.list_runs(status=["pending"] * 2, job=["work"] * 2)) == 2


@pytest.mark.parametrize(
    "filters",
    [
        {"status": 7},
        {"status": [None]},
        {"status": ""},
        {"status": b"failed"},
        {"job": 7},
        {"job": work},
        {"job": [work]},
        {"job": [None]},
        {"job": b"work"},
        {"job": "\ud800"},
        {"before": "some id"},
        {"before": 3},
        {"limit": 2**63},
        {"limit": float("inf")},
        {"limit": None},
        {"offset": "1"},
        {"offset": True},
    ],
)
async def test_filter_that_cannot_be_is_refused_by_name(tab: Tab, filters: dict[str, Any]) -> None:
    async with tab.durably(work) as durably:
        with pytest.raises(InvalidOption) as caught:
            await durably.list_runs(**filters)

        assert caught.value.option == next(iter(filters))


# In pages


async def test_pages_by_cursor_hold_each_run_once(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        runs = await triggered(durably, 7)
        sizes: list[int] = []
        listed: list[str] = []
        last = None
        while page := await durably.list_runs(limit=3, before=last):
            sizes.append(len(page))
            listed += ids(page)
            last = page[-1]

        assert sizes == [3, 3, 1]
        assert listed == runs[::-1]


async def test_pages_by_cursor_are_stable_while_runs_come_and_go(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        runs = await triggered(durably, 6)
        first = await durably.list_runs(limit=2)
        await triggered(durably, 3)
        await durably.cancel(first[-1].id)
        await durably.delete_run(first[-1].id)
        second = await durably.list_runs(limit=2, before=first[-1])

        assert ids(second) == [runs[3], runs[2]]


async def test_pages_by_cursor_of_filtered_runs_hold_each_once(tab: Tab) -> None:
    async with tab.durably(work, other, autostart=False) as durably:
        for number in range(4):
            await durably.trigger_many([work(number), other(number)])
        first = await durably.list_runs(job="other", status="pending", limit=3)
        second = await durably.list_runs(job="other", status="pending", limit=3, before=first[-1])

        assert [run.input for run in (*first, *second)] == [
            {"number": number} for number in (3, 2, 1, 0)
        ]


async def test_pages_by_offset_follow_one_another(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        runs = await triggered(durably, 5)
        listed: list[str] = []
        for offset in (0, 2, 4, 6):
            listed += ids(await durably.list_runs(limit=2, offset=offset))

        assert listed == runs[::-1]


async def test_newest_a_hundred_are_listed_unless_more_are_asked_for(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        runs = await triggered(durably, 101)

        assert ids(await durably.list_runs()) == runs[:0:-1]
        assert len(await durably.list_runs(limit=1000)) == 101


# What a status means


@pytest.mark.parametrize(
    ("status", "is_terminal", "is_waiting"),
    [
        ("pending", False, False),
        ("running", False, False),
        ("waiting", False, True),
        ("completed", True, False),
        ("failed", True, False),
        ("cancelled", True, False),
    ],
)
async def test_run_says_what_its_status_means(
    opened: OpenStore, status: str, is_terminal: bool, is_waiting: bool
) -> None:
    run = opened.trigger()
    # Told apart by the words alone: how a run gets there is the matter of other tests.
    values = {name: getattr(run, name) for name in Run.__match_args__}
    run = Run(**{**values, "status": RunStatus(status)})

    assert run.is_terminal is is_terminal
    assert run.is_active is not is_terminal
    assert run.is_waiting is is_waiting


# Query plans


def plan_of(opened: OpenStore, **filters: Any) -> str:
    """How SQLite would carry out the statement behind ``list_runs``."""
    statements: list[str] = []
    connection = opened.database._open_connection()
    connection.set_trace_callback(statements.append)
    everything: dict[str, Any] = {
        "statuses": None,
        "jobs": None,
        "labels": {},
        "before": None,
        "limit": 100,
        "offset": 0,
    }
    opened.store.runs.find(**everything | filters)
    connection.set_trace_callback(None)
    return "; ".join(
        row["detail"] for row in connection.execute(f"explain query plan {statements[0]}")
    )


async def test_listing_all_goes_backwards_and_stops_at_the_limit(opened: OpenStore) -> None:
    assert plan_of(opened) == "SCAN runs"
    assert plan_of(opened, before=7) == "SEARCH runs USING INTEGER PRIMARY KEY (rowid<?)"


@pytest.mark.parametrize("jobs", [["a"], ["a", "b"]])
async def test_job_filter_uses_its_index(opened: OpenStore, jobs: list[str]) -> None:
    assert "SEARCH runs USING INDEX runs_by_job (job=?" in plan_of(opened, jobs=jobs)


@pytest.mark.parametrize("status", [status for status in RunStatus if status != "completed"])
async def test_filter_by_one_status_uses_its_index_and_sorts_nothing(
    opened: OpenStore, status: RunStatus
) -> None:
    plan = plan_of(opened, statuses=[status])

    assert plan == "SEARCH runs USING INDEX runs_by_status (status=?)"


@pytest.mark.parametrize(
    "statuses",
    [
        [RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING],
        [RunStatus.FAILED, RunStatus.CANCELLED],
    ],
)
async def test_filter_by_rare_statuses_uses_their_index(
    opened: OpenStore, statuses: Collection[RunStatus]
) -> None:
    plan = plan_of(opened, statuses=statuses)

    assert "SEARCH runs USING INDEX runs_by_status (status=?)" in plan


async def test_claim_and_end_of_a_run_dirty_few_pages(opened: OpenStore) -> None:
    """Why the index by status leaves the completed runs out, and holds all the others."""
    store, pages = opened.store, opened.database._open_connection()
    for _ in range(300):
        opened.trigger()
        store.leases.complete(opened.claim().lease, encode("x" * 100), 1, keeps_outputs=False)
    store.runs.create(NewRun("job", "{}"), 1)
    (path,) = [row["file"] for row in pages.execute("pragma database_list")]

    before = pages_of(path)
    claim = opened.claim()
    claimed = pages_of(path)
    store.leases.complete(claim.lease, encode("x" * 100), 2, keeps_outputs=False)
    completed = pages_of(path)

    assert dirty(before, claimed) <= 2
    assert dirty(claimed, completed) <= 4


def pages_of(path: str) -> list[bytes]:
    content = Path(path).read_bytes()
    return [content[start : start + 4096] for start in range(0, len(content), 4096)]


def dirty(before: list[bytes], after: list[bytes]) -> int:
    """How many pages are new or changed."""
    changed = sum(1 for old, new in zip(before, after, strict=False) if old != new)
    return changed + len(after) - len(before)
