"""Run the host's own test folders with pytest inside Pyodide, and tell truly how it went.

pytest-pyodide has a mode for that, --run-in-pyodide, but as of 0.59.2 it passes without running
anything. So here the exit code counts for nothing by itself: the caller gets the outcome of each
test by its id, to compare with what the host collects.
"""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from scripts.static_server import PROJECT_MOUNTS, ROOT

INNER_SUMMARY = "inner summary"
"""The property of a test under which it records how its inner pytest ended, for the terminal."""

MOUNTS = {"/inside/": Path(__file__).parent}
PACKAGES = ("micropip", "msgspec", "pydantic", "pytest", "pytest-asyncio")
NOT_FOR_PYODIDE = ("-m", "not cpython_only")
# They drive a browser from outside.
HOST_FOLDERS = {"browser", "e2e", "__pycache__"}
STALL_S = 120.0
"""How long pytest may print nothing, as one that works on and on at one test does."""
MOST_PROBLEMS = 30

# The rest of the host's settings is about plugins that are not there.
SHARED_SETTINGS = (
    "asyncio_default_fixture_loop_scope",
    "asyncio_mode",
    "filterwarnings",
    "markers",
    "pythonpath",
    "xfail_strict",
)
# pytest-asyncio 0.25, the one for Pyodide, touches event loop policies, which Python 3.14
# deprecates; and Pyodide's event loop is never closed, because it is the browser's.
INNER_WARNINGS = (
    "ignore:.*event_loop_policy.*:DeprecationWarning",
    "ignore:.*EventLoopPolicy.*:DeprecationWarning",
    "ignore:pytest-asyncio detected an unclosed event loop:DeprecationWarning",
)


@dataclass(frozen=True, slots=True)
class InnerReport:
    """How a pytest inside Pyodide ended."""

    exit_code: int
    outcomes: dict[str, str]
    """``passed``, ``failed``, ``skipped`` or ``xfailed`` of each test, by node id."""
    output: str
    complaints: tuple[str, ...] = ()
    """What the page reported as an error in its console, or threw and nobody caught."""

    @property
    def summary(self) -> str:
        """The line that pytest ends with, such as ``12 passed in 0.80s``."""
        lines = [line for line in self.output.splitlines() if re.search(r" in [\d.]+s", line)]
        return lines[-1].strip("= ") if lines else "no summary line"

    def problems(self, expected: Sequence[str]) -> list[str]:
        """Why this run does not show that each expected test passes; empty if it does."""
        found = [] if self.exit_code == 0 else [f"pytest exited with {self.exit_code}"]
        found += [] if expected else ["the host collects no test"]
        bad = {test: how for test, how in self.outcomes.items() if how != "passed"}
        found += [f"{test}: {how}" for test, how in sorted(bad.items())]
        found += [f"the page complained: {complaint}" for complaint in self.complaints]
        # Parameters are counted, not compared by name: a name made with repr may hold an address,
        # or something that one Python writes otherwise than another.
        on_host = Counter(map(without_parameters, expected))
        inside = Counter(map(without_parameters, self.outcomes))
        for test in sorted(on_host | inside):
            if on_host[test] != inside[test]:
                found.append(f"{test}: {on_host[test]} on the host, {inside[test]} inside Pyodide")
        if len(found) > MOST_PROBLEMS:
            found[MOST_PROBLEMS:] = [f"... and {len(found) - MOST_PROBLEMS} more"]
        return found


def without_parameters(test: str) -> str:
    return test.partition("[")[0]


def collect_on_host(project: Path, folders: Sequence[str]) -> list[str]:
    """The node ids of the tests that are meant for Pyodide too."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *NOT_FOR_PYODIDE, *folders]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    if done.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"the host could not collect the tests:\n{done.stdout}{done.stderr}")
    return [line for line in done.stdout.splitlines() if "::" in line]


def run_inside(
    browser: Browser, server_url: str, project: Path, folders: Sequence[str]
) -> InnerReport:
    """Run the folders of ``project``, unchanged, against the built wheel in a page of its own.

    The server has to serve ``MOUNTS``.
    """
    wheel = next((PROJECT_MOUNTS["/site/"] / "wheels").glob("durably-*wasm32.whl"))
    request = {
        "packages": PACKAGES,
        "wheel": f"{server_url}/site/wheels/{wheel.name}",
        "project": base64.b64encode(pack(project)).decode(),
        "arguments": ["-q", *NOT_FOR_PYODIDE, *folders],
    }
    complaints: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    try:
        page.goto(f"{server_url}/pages/blank.html")
        page.evaluate(
            "async (request) => { (await import('/inside/run_inside.js')).start(request); }",
            request,
        )
        report = until_reported(page)
    finally:
        page.close()
    if error := report.get("error"):
        raise RuntimeError(f"pytest broke off inside Pyodide: {error}")
    return InnerReport(report["exit_code"], report["outcomes"], report["output"], tuple(complaints))


def until_reported(page: Page, stall_s: float = STALL_S) -> dict[str, Any]:
    """The report of a page, for which it has as long as it prints something now and then."""
    output = ""
    while (report := page.evaluate("report")) is None:
        try:
            page.wait_for_function(
                "(length) => report !== null || output.length > length",
                arg=len(output),
                polling=500,
                timeout=stall_s * 1000,
            )
        except PlaywrightTimeout:
            raise RuntimeError(f"nothing more for {stall_s} s behind:\n{output}") from None
        output = page.evaluate("output")
    told: dict[str, Any] = report
    return told


def pack(project: Path) -> bytes:
    """A zip of the tests, and of the settings under which they run inside."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pytest.ini", inner_settings())
        archive.write(Path(__file__).with_name("inner_pytest.py"), "inner_pytest.py")
        for path in sorted((project / "tests").rglob("*")):
            inner_path = path.relative_to(project)
            if HOST_FOLDERS.isdisjoint(inner_path.parts):
                archive.write(path, inner_path)
    return content.getvalue()


def inner_settings() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    settings = dict(project["tool"]["pytest"]["ini_options"])
    settings["filterwarnings"] = [*settings["filterwarnings"], *INNER_WARNINGS]
    lines = ["[pytest]", "addopts = --import-mode=importlib --strict-markers -p no:cacheprovider"]
    for name in SHARED_SETTINGS:
        value = settings[name]
        rows = value if isinstance(value, list) else [str(value)]
        lines += [f"{name} =", *(f"    {row}" for row in rows)]
    return "\n".join(lines)
