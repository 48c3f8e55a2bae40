"""The part of the inner pytest run that is executed inside Pyodide."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


class Outcomes:
    """A pytest plugin that remembers how each test ended."""

    def __init__(self) -> None:
        self.by_test: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.by_test[report.nodeid] = "failed"
        elif report.skipped:
            self.by_test[report.nodeid] = "xfailed" if hasattr(report, "wasxfail") else "skipped"
        elif report.when == "call":
            self.by_test[report.nodeid] = "passed"


def run(arguments: Iterable[str]) -> tuple[int, dict[str, str]]:
    """The exit code, and the outcomes by node id."""
    outcomes = Outcomes()
    exit_code = pytest.main(list(arguments), plugins=[outcomes])
    return int(exit_code), outcomes.by_test
