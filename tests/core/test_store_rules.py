"""What the store keeps to, where no lease is needed for it."""

from __future__ import annotations

from tests.core.kit import OpenStore


async def test_log_line_of_a_run_that_is_gone_is_not_kept(opened: OpenStore) -> None:
    run = opened.trigger()
    lease = opened.claim().lease
    opened.store.runs.cancel(run.id, 1, keeps_outputs=True)
    opened.store.retention.delete(opened.row(run.id))
    opened.store.logs.add(lease, "info", "late", "null", None, 2)

    assert opened.store.logs.of_run(run.id, 0, 10) == []


async def test_waits_are_listed_as_they_were_prepared_whatever_the_clock_says(
    opened: OpenStore,
) -> None:
    run = opened.trigger()
    lease = opened.claim().lease
    for name, now in (("b", 5), ("c", 5), ("a", 5), ("d", 1)):
        opened.store.waits.prepare(lease, name, name, metadata="null", deadline_at=None, now=now)

    assert [wait.name for wait in opened.store.waits.of_run(run.id)] == ["b", "c", "a", "d"]
