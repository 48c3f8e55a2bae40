"""One Chromium on a profile on disk, and the pages in it that are measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page, sync_playwright

from bench.serving import served
from tests.e2e.chromium import Chromium
from tests.e2e.host import UNTIL_SAID

TIMEOUT_MS = 180_000
FLAGS = ("--js-flags=--expose-gc",)
FILLING = ("checkpoints", "loading", "startup")
"""The programs that import ``filling``."""
COMPILED = "https://durably.invalid/__pycache__"
"""The key of ``browser/pycache.py`` in the Cache API."""
UNTIL_KEPT = """async (key) => {
  while (!(await caches.match(key))) await new Promise((done) => setTimeout(done, 100));
}"""


class Contender:
    """A page that says what it measures, as soon as it is loaded or when it is asked to."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def ask(self, question: str) -> dict[str, Any]:
        """Ask for a work and how much of it, and return what was measured."""
        self.begin(question)
        return self.until_said(question)

    def begin(self, question: str) -> None:
        """Ask, and leave the answer for ``until_said``."""
        self.page.evaluate("(question) => { said.length = 0; ask(question); }", question)

    def until_said(self, kind: str) -> dict[str, Any]:
        # Modules of a page may still be loading: then there is nothing yet to listen to.
        self.page.evaluate(
            "async () => { while (!globalThis.said) await new Promise(requestAnimationFrame); }"
        )
        self.page.evaluate(UNTIL_SAID, [kind, {}, 1, TIMEOUT_MS])
        said: dict[str, dict[str, Any]] = {
            line["kind"]: line for line in self.page.evaluate("said")
        }
        if "crash" in said:
            raise RuntimeError(said["crash"]["text"])
        if kind not in said:
            raise TimeoutError(f"{self.page.url} has not said {kind!r}")
        return said[kind]

    def close(self) -> None:
        self.page.close()


class Browser:
    """Opens pages in one Chromium. Each stands in a window of its own, so that none is hidden."""

    def __init__(self, chromium: Chromium, url: str) -> None:
        self.chromium = chromium
        self._url = url

    @property
    def version(self) -> str:
        connection = self.chromium.page.context.browser
        assert connection is not None
        return connection.version

    def program(self, program: str, **options: object) -> Contender:
        """A program under Pyodide, which is there when it has said ``ready``."""
        contender = self._opened(program, options)
        contender.until_said("ready")
        return contender

    def peer(self, peer: str, **options: object) -> Contender:
        """A module of ``peers/``."""
        query = urlencode({"peer": peer, **options})
        url = f"{self._url}/bench/peers/page.html?{query}"
        contender = Contender(self.chromium.new_window(url))
        contender.until_said("ready")
        return contender

    def blank(self) -> Page:
        return self.chromium.new_window(f"{self._url}/pages/blank.html")

    def loads(self, program: str, count: int, **options: object) -> list[dict[str, Any]]:
        """What a program says as its ``result``, for each time that its page was loaded.

        One load more comes first and is left out: it fills the database and the browser's caches,
        and lives long enough for the compiled code to be kept.
        """
        contender = self._opened(program, options)
        contender.until_said("result")
        contender.page.evaluate(UNTIL_KEPT, COMPILED)
        results = []
        for _ in range(count):
            contender.page.reload()
            results.append(contender.until_said("result"))
        contender.close()
        return results

    def result(self, program: str, **options: object) -> dict[str, Any]:
        """What a program says as its ``result``, at the first load of its page."""
        contender = self._opened(program, options)
        result = contender.until_said("result")
        contender.close()
        return result

    def cpu_seconds(self) -> dict[int, float]:
        """The CPU time that each renderer has used so far, by its process id."""
        processes = self._processes()
        return {one["id"]: one["cpuTime"] for one in processes if one["type"] == "renderer"}

    def written_bytes(self) -> int:
        """What all processes of the browser have given to ``write`` and ``pwrite`` so far."""
        total = 0
        for one in self._processes():
            counters = Path(f"/proc/{one['id']}/io").read_text().split()
            total += int(counters[counters.index("wchar:") + 1])
        return total

    def _processes(self) -> list[dict[str, Any]]:
        connection = self.chromium.page.context.browser
        assert connection is not None
        session = connection.new_browser_cdp_session()
        processes: list[dict[str, Any]] = session.send("SystemInfo.getProcessInfo")["processInfo"]
        session.detach()
        return processes

    def _opened(self, program: str, options: dict[str, object]) -> Contender:
        query = {"folder": "/bench/programs", "program": program, "stack_switching": "yes"}
        if program in FILLING:
            query["beside"] = "filling"
        url = f"{self._url}/pages/host.html?{urlencode(query | options)}"
        return Contender(self.chromium.new_window(url))


@contextmanager
def browser() -> Iterator[Browser]:
    with (
        served() as url,
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory(prefix="durably-bench-") as folder,
    ):
        chromium = Chromium.open(playwright, Path(folder) / "profile", flags=FLAGS)
        try:
            yield Browser(chromium, url)
        finally:
            chromium.close()
