"""The wheel that users get, in the browser that they get it in."""

from __future__ import annotations

import pytest
from pytest_pyodide import run_in_pyodide
from pytest_pyodide.runner import PlaywrightChromeRunner


@run_in_pyodide(packages=["micropip"])
async def install(selenium, requirement, index):
    import micropip

    await micropip.install(requirement, index_urls=index)


@run_in_pyodide
def installed_version(selenium):
    from importlib.metadata import version

    import durably  # noqa: F401

    return version("durably")


@run_in_pyodide
def installed_tag(selenium):
    from importlib.metadata import distribution

    return distribution("durably").read_text("WHEEL").splitlines()[-1]


@run_in_pyodide
def versions_of_the_extras(selenium):
    import msgspec
    import pydantic

    return [pydantic.VERSION, msgspec.__version__]


@run_in_pyodide
def assert_equal(selenium, left, right):
    assert left == right


@run_in_pyodide
async def switches_stacks(selenium):
    from pyodide.ffi import can_run_sync

    return can_run_sync()


@run_in_pyodide
async def answer_after_a_turn(selenium, value):
    import asyncio

    await asyncio.sleep(0)
    return value


def test_failing_assertion_inside_pyodide_fails_outside(selenium: PlaywrightChromeRunner) -> None:
    assert_equal(selenium, 1, 1)

    with pytest.raises(AssertionError, match="1 == 2"):
        assert_equal(selenium, 1, 2)


def test_async_function_inside_pyodide_is_awaited(selenium: PlaywrightChromeRunner) -> None:
    assert answer_after_a_turn(selenium, {"steps": [1, 2]}) == {"steps": [1, 2]}


def test_these_pages_run_python_on_the_ordinary_stack(selenium: PlaywrightChromeRunner) -> None:
    assert switches_stacks(selenium) is False


def test_wheel_installs_by_url_and_imports(
    selenium_standalone: PlaywrightChromeRunner, site: str
) -> None:
    install(selenium_standalone, f"{site}/wheels/durably-0.1.0-py3-none-any.whl", f"{site}/simple")

    assert installed_version(selenium_standalone) == "0.1.0"
    assert installed_tag(selenium_standalone) == "Tag: py3-none-any"


def test_by_name_the_wheel_for_browsers_is_installed_with_its_extras(
    selenium_standalone: PlaywrightChromeRunner, site: str
) -> None:
    install(selenium_standalone, "durably[pydantic,msgspec]", f"{site}/simple")

    assert installed_version(selenium_standalone) == "0.1.0"
    assert installed_tag(selenium_standalone) == "Tag: py3-none-pyemscripten_2026_0_wasm32"
    assert len(versions_of_the_extras(selenium_standalone)) == 2
