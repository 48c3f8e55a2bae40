"""The tests of the engine, unchanged, on the Python and the SQLite of the browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from playwright.sync_api import Browser

from scripts.static_server import ROOT
from tests.browser.inside import (
    INNER_SUMMARY,
    InnerReport,
    collect_on_host,
    run_inside,
    until_reported,
)

# The harness ends it where the tests inside come no further, and says how far they got. This is for
# a page that one of them blocks, which answers nobody.
pytestmark = pytest.mark.timeout(1800)

ENGINE_TESTS = ("tests/core", "tests/contracts", "tests/crash")


def test_engine_tests_pass_inside_pyodide(
    browser: Browser, server_url: str, record_property: Callable[[str, object], None]
) -> None:
    expected = collect_on_host(ROOT, ENGINE_TESTS)

    report = run_inside(browser, server_url, ROOT, ENGINE_TESTS)

    summary = f"inside Pyodide, Chromium {browser.version}: {report.summary}"
    record_property(INNER_SUMMARY, summary)
    if problems := report.problems(expected):
        pytest.fail("\n".join([report.output, "", *problems]), pytrace=False)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose tests end in every way that a test can end."""
    project = tmp_path_factory.mktemp("sample")
    folder = project / "tests" / "core"
    folder.mkdir(parents=True)
    (folder / "test_sample.py").write_text(
        dedent(
            """
            import asyncio
            import sys
            import pytest

            def test_passes():
                assert sys.platform == "emscripten"

            async def test_passes_after_a_turn():
                await asyncio.sleep(0)
                assert asyncio.get_running_loop().is_running()

            def test_fails():
                assert 1 == 2

            async def test_fails_after_a_turn():
                await asyncio.sleep(0)
                assert 1 == 2

            @pytest.fixture
            def broken():
                yield
                raise ValueError

            def test_fails_at_its_end(broken):
                pass

            def test_is_skipped():
                pytest.skip("no reason")

            @pytest.mark.cpython_only
            def test_is_not_for_pyodide():
                raise AssertionError
            """
        ),
        encoding="utf-8",
    )
    return project


@pytest.fixture(scope="module")
def sample_report(browser: Browser, server_url: str, sample: Path) -> InnerReport:
    return run_inside(browser, server_url, sample, ["tests/core"])


def test_harness_tells_how_each_inner_test_ended(sample_report: InnerReport) -> None:
    prefix = "tests/core/test_sample.py::"

    assert sample_report.exit_code == 1
    assert {test.removeprefix(prefix): how for test, how in sample_report.outcomes.items()} == {
        "test_passes": "passed",
        "test_passes_after_a_turn": "passed",
        "test_fails": "failed",
        "test_fails_after_a_turn": "failed",
        "test_fails_at_its_end": "failed",
        "test_is_skipped": "skipped",
    }
    assert "assert 1 == 2" in sample_report.output
    assert sample_report.summary.startswith("2 failed, 3 passed, 1 skipped, 1 deselected, 1 error")


def test_harness_reports_what_did_not_pass(sample_report: InnerReport) -> None:
    assert sample_report.problems([*sample_report.outcomes, "tests/core/test_gone.py::test"]) == [
        "pytest exited with 1",
        "tests/core/test_sample.py::test_fails: failed",
        "tests/core/test_sample.py::test_fails_after_a_turn: failed",
        "tests/core/test_sample.py::test_fails_at_its_end: failed",
        "tests/core/test_sample.py::test_is_skipped: skipped",
        "tests/core/test_gone.py::test: 1 on the host, 0 inside Pyodide",
    ]


def test_harness_gives_up_a_page_that_says_nothing_more(browser: Browser) -> None:
    page = browser.new_page()
    page.evaluate("globalThis.output = '..'; globalThis.report = null;")
    page.evaluate("setTimeout(() => { output += '.'; }, 300)")
    with pytest.raises(RuntimeError, match=r"nothing more for 1.0 s behind:\n\.\.\.$"):
        until_reported(page, stall_s=1.0)
    page.close()


def test_harness_counts_the_parameters_of_a_test() -> None:
    report = InnerReport(0, {"a::test[1]": "passed", "a::test[2]": "passed"}, "")

    assert report.problems(["a::test[x]", "a::test[y]"]) == []
    assert report.problems(["a::test[x]"]) == ["a::test: 1 on the host, 2 inside Pyodide"]


def test_harness_does_not_take_nothing_for_success() -> None:
    assert InnerReport(0, {}, "").problems([]) == ["the host collects no test"]
