"""Labels: texts by which runs are found, and which never change."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from durably import Durably, InvalidOption, Step, Trigger, job
from tests.core.kit import OpenStore, Tab, term_of


@job
async def work(step: Step, number: int = 0) -> int:
    return number


class Tenancy(TypedDict):
    tenant: str
    env: Literal["prod", "test"]
    note: NotRequired[str]


class Loose(TypedDict, total=False):
    tenant: str
    env: Literal["prod", "test"]


class Numbers(TypedDict):
    size: int


class Stage(StrEnum):
    PROD = "prod"


class Staged(TypedDict):
    stage: Stage


class Optional(TypedDict):
    tenant: str | None


class Unresolvable(TypedDict):
    tenant: Tennant  # type: ignore[name-defined]  # noqa: F821


async def numbers(durably: Durably, **filters: Any) -> list[object]:
    """The arguments of the runs that fit, newest first."""
    return [run.input["number"] for run in await durably.list_runs(**filters)]


# Given and stored


async def test_run_has_the_labels_it_was_triggered_with(tab: Tab) -> None:
    async with tab.durably(work) as durably:
        handle = await durably.trigger(work(), labels={"tenant": "a", "env": "prod"})
        await handle.result()

    async with tab.durably() as durably:
        run = await durably.get_run(handle.id)
        assert run.labels == {"tenant": "a", "env": "prod"}


async def test_run_without_labels_has_none(tab: Tab) -> None:
    async with tab.durably(work) as durably:
        assert (await durably.trigger(work())).run.labels == {}
        assert (await durably.trigger(work(), labels={})).run.labels == {}


@pytest.mark.parametrize(
    "value", ["", " ", "Zürich", "名前", "🦆", "a'b\"c", "a\nb", "a\0b", "%", "x" * 10_000]
)
async def test_value_of_a_label_may_be_any_text(tab: Tab, value: str) -> None:
    async with tab.durably(work, autostart=False) as durably:
        handle = await durably.trigger(work(), labels={"label": value})
        await durably.trigger(work(), labels={"label": value + "?"})

        assert handle.run.labels == {"label": value}
        assert [run.id for run in await durably.list_runs(labels={"label": value})] == [handle.id]


@pytest.mark.parametrize(
    "key", ["a", "A", "7", "tenant", "app.kubernetes.io/name", "a-b_c", "x" * 100]
)
async def test_key_of_a_label_may_be_a_plain_name(tab: Tab, key: str) -> None:
    async with tab.durably(work, autostart=False) as durably:
        handle = await durably.trigger(work(), labels={key: "v"})

        assert handle.run.labels == {key: "v"}
        assert len(await durably.list_runs(labels={key: "v"})) == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "-a", ".a", "/a", "ä", "a\n", "x" * 101, 7, None])
async def test_key_that_is_no_plain_name_is_refused(tab: Tab, key: Any) -> None:
    async with tab.durably(work, autostart=False) as durably:
        with pytest.raises(InvalidOption, match=r"a label's key is .*1 to 100 letters"):
            await durably.trigger(work(), labels={"good": "v", key: "v"})
        with pytest.raises(InvalidOption, match="a label's key"):
            await durably.list_runs(labels={key: "v"})

        assert await durably.list_runs() == []


@pytest.mark.parametrize("value", [None, 7, True, 1.5, b"a", ["a"], "\ud800"])
async def test_value_that_is_no_text_is_refused(tab: Tab, value: Any) -> None:
    async with tab.durably(work, autostart=False) as durably:
        with pytest.raises(InvalidOption, match=r"label 'size' is .* a text"):
            await durably.trigger(work(), labels={"size": value})
        with pytest.raises(InvalidOption, match="label 'size'"):
            await durably.list_runs(labels={"size": value})

        assert await durably.list_runs() == []


@pytest.mark.parametrize("labels", ["tenant", ["tenant"], 7, [], "", 0, False])
async def test_labels_that_are_no_dict_are_refused(tab: Tab, labels: Any) -> None:
    async with tab.durably(work, autostart=False) as durably:
        with pytest.raises(InvalidOption, match="labels"):
            await durably.trigger(work(), labels=labels)
        with pytest.raises(InvalidOption, match="labels"):
            await durably.list_runs(labels=labels)


async def test_member_of_a_text_enum_is_stored_as_its_text(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        handle = await durably.trigger(work(), labels={"stage": Stage.PROD})
        found = await durably.list_runs(labels={"stage": "prod"})

        assert type(handle.run.labels["stage"]) is str
        assert found == await durably.list_runs(labels={"stage": Stage.PROD}) == [handle.run]


# Never changed


async def test_dict_that_labels_were_given_in_is_not_theirs(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        labels = {"tenant": "a"}
        trigger = Trigger(work(), labels=labels)
        (handle,) = await durably.trigger_many([trigger])
        labels["tenant"] = "b"

        assert handle.run.labels == {"tenant": "a"}
        assert (await durably.get_run(handle.id)).labels == {"tenant": "a"}


async def test_labels_of_a_run_that_was_read_change_nothing_that_is_stored(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        handle = await durably.trigger(work(), labels={"tenant": "a"})
        await durably.process_one()
        for run in (handle.run, await durably.get_run(handle.id), *await durably.list_runs()):
            run.labels["tenant"] = "b"  # type: ignore[index]
        again = await durably.retrigger(handle.id)

        assert (await durably.get_run(handle.id)).labels == {"tenant": "a"}
        assert again.run.labels == {"tenant": "a"}
        assert len(await durably.list_runs(labels={"tenant": "a"})) == 2


async def test_run_whose_labels_were_changed_in_memory_is_deleted_whole(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        handle = await durably.trigger(work(), labels={"tenant": "a"})
        await durably.process_one()
        handle.run.labels.clear()  # type: ignore[attr-defined]
        await durably.delete_run(handle.id)
        database = (await term_of(durably)).database

        assert database.read("select * from labels", {}) == []


async def test_labels_are_a_plain_dict_for_whoever_writes_json(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        handle = await durably.trigger(work(), labels={"tenant": "a"})

        assert json.dumps(handle.run.labels) == '{"tenant": "a"}'


# Finding


@pytest.fixture
async def labelled(tab: Tab) -> Durably:
    """Runs 0 to 5, of two tenants and three environments; 5 has no labels."""
    async with tab.durably(work, autostart=False) as durably:
        for number, labels in enumerate(
            [
                {"tenant": "a", "env": "prod"},
                {"tenant": "b", "env": "prod"},
                {"tenant": "a", "env": "test"},
                {"tenant": "b", "env": "dev", "note": "a"},
                {"tenant": "a"},
                {},
            ]
        ):
            await durably.trigger(work(number), labels=labels)
        await durably.process_until_idle(max_runs=2)
    return tab.durably(work, autostart=False)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"labels": {"tenant": "a"}}, [4, 2, 0]),
        ({"labels": {"tenant": "a", "env": "prod"}}, [0]),
        ({"labels": {"env": "prod", "tenant": "a"}}, [0]),
        ({"labels": {"tenant": "b", "env": "dev", "note": "a"}}, [3]),
        ({"labels": {"tenant": "a", "env": "dev"}}, []),
        ({"labels": {"tenant": "c"}}, []),
        ({"labels": {"unheard-of": "a"}}, []),
        ({"labels": {"tenant": "A"}}, []),
        ({"labels": {}}, [5, 4, 3, 2, 1, 0]),
        ({"labels": None}, [5, 4, 3, 2, 1, 0]),
        ({"labels": {"env": "prod"}, "status": "completed"}, [1, 0]),
        ({"labels": {"tenant": "a"}, "status": "pending"}, [4, 2]),
        ({"labels": {"tenant": "a"}, "status": ["pending", "completed"]}, [4, 2, 0]),
        ({"labels": {"tenant": "a"}, "job": "work"}, [4, 2, 0]),
        ({"labels": {"tenant": "a"}, "job": "other"}, []),
        ({"labels": {"tenant": "a"}, "limit": 2}, [4, 2]),
        ({"labels": {"tenant": "a"}, "limit": 2, "offset": 2}, [0]),
    ],
)
async def test_runs_are_found_by_all_their_labels(
    labelled: Durably, filters: dict[str, Any], expected: list[int]
) -> None:
    async with labelled as durably:
        assert await numbers(durably, **filters) == expected


async def test_runs_with_a_label_are_paged_by_cursor(labelled: Durably) -> None:
    async with labelled as durably:
        (newest,) = await durably.list_runs(labels={"tenant": "a"}, limit=1)

        assert await numbers(durably, labels={"tenant": "a"}, before=newest) == [2, 0]


async def test_many_labels_can_be_asked_for_at_once(tab: Tab) -> None:
    labels = {f"key-{number}": str(number) for number in range(200)}
    async with tab.durably(work, autostart=False) as durably:
        handle = await durably.trigger(work(1), labels=labels)

        assert handle.run.labels == labels
        assert await numbers(durably, labels=labels) == [1]
        assert await numbers(durably, labels={**labels, "key-199": "200"}) == []


# A schema


async def test_labels_that_fit_the_schema_are_taken(tab: Tab) -> None:
    async with tab.durably(work, autostart=False, labels=Tenancy) as durably:
        plain = await durably.trigger(work(), labels={"tenant": "a", "env": "prod"})
        noted = await durably.trigger(work(), labels={"tenant": "a", "env": "test", "note": "x"})
        typed = await durably.trigger(work(), labels=Tenancy(tenant="b", env="prod"))

        assert len({plain.id, noted.id, typed.id}) == 3


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (None, "'tenant' is missing"),
        ({}, "'tenant' is missing"),
        ({"tenant": "a"}, "'env' is missing"),
        ({"env": "prod"}, "'tenant' is missing"),
        ({"tenant": "a", "env": "dev"}, r"labels\.env: expected .*'prod'"),
        ({"tenant": "a", "env": "prod", "tenent": "b"}, r"a label's key is 'tenent'.*'env'"),
        ({"tenant": 7, "env": "prod"}, "label 'tenant' is 7"),
    ],
)
async def test_labels_that_do_not_fit_the_schema_are_refused(
    tab: Tab, labels: Any, problem: str
) -> None:
    async with tab.durably(work, autostart=False, labels=Tenancy) as durably:
        with pytest.raises(InvalidOption, match=problem):
            await durably.trigger(work(), labels=labels)

        assert await durably.list_runs() == []


async def test_schema_may_leave_labels_out(tab: Tab) -> None:
    async with tab.durably(work, autostart=False, labels=Loose) as durably:
        await durably.trigger(work())
        await durably.trigger(work(), labels={"tenant": "a"})
        with pytest.raises(InvalidOption, match="env"):
            await durably.trigger(work(), labels={"env": "dev"})


async def test_filter_names_some_of_the_labels_of_the_schema(tab: Tab) -> None:
    async with tab.durably(work, autostart=False, labels=Tenancy) as durably:
        handle = await durably.trigger(work(), labels={"tenant": "a", "env": "prod"})

        assert [run.id for run in await durably.list_runs(labels={"env": "prod"})] == [handle.id]
        assert len(await durably.list_runs()) == 1


@pytest.mark.parametrize("labels", [{"env": "dev"}, {"tenent": "a"}, {"env": "is missing"}])
async def test_filter_that_the_schema_makes_impossible_is_refused(tab: Tab, labels: Any) -> None:
    async with tab.durably(work, autostart=False, labels=Tenancy) as durably:
        with pytest.raises(InvalidOption, match="label"):
            await durably.list_runs(labels=labels)


async def test_retriggered_run_fits_the_schema_as_its_first_did(tab: Tab) -> None:
    async with tab.durably(work, autostart=False, labels=Tenancy) as durably:
        first = await durably.trigger(work(), labels={"tenant": "a", "env": "prod"})
        await durably.process_one()

        assert (await durably.retrigger(first.id)).run.labels == first.run.labels


async def test_run_from_before_the_schema_can_be_looked_at(tab: Tab) -> None:
    async with tab.durably(work, autostart=False) as durably:
        handle = await durably.trigger(work(), labels={"old": "x"})

    async with tab.durably(work, autostart=False, labels=Tenancy) as durably:
        assert (await durably.get_run(handle.id)).labels == {"old": "x"}


@pytest.mark.parametrize(
    "schema", [Numbers, Staged, Optional, Unresolvable, dict, Stage, int, "Tenancy", {"a": str}]
)
def test_schema_that_is_no_typed_dict_of_texts_is_refused(tab: Tab, schema: Any) -> None:
    with pytest.raises(InvalidOption, match=r"labels .*a TypedDict whose values are str"):
        tab.durably(work, labels=schema)


# The index


async def test_label_filters_use_their_index(opened: OpenStore) -> None:
    statements: list[str] = []
    connection = opened.database._open_connection()
    connection.set_trace_callback(statements.append)
    opened.store.runs.find(
        statuses=None,
        jobs=None,
        labels={"tenant": "a", "env": "prod"},
        before=None,
        limit=100,
        offset=0,
    )
    connection.set_trace_callback(None)
    plan = [row["detail"] for row in connection.execute(f"explain query plan {statements[0]}")]

    assert "SEARCH runs USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert plan.count("SEARCH labels USING PRIMARY KEY (key=? AND value=?)") == 2
    assert not any(line.startswith("SCAN") for line in plan)
