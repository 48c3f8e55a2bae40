"""A page that runs a program under Pyodide, as a test sees it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page

TIMEOUT_MS = 60_000

# A promise and not Playwright's own waiting, which draws frames (a hidden page draws none) or calls
# eval again and again (a content security policy may forbid it).
UNTIL_SAID = """
([kind, facts, count, timeout]) => new Promise((resolve) => {
  const fits = (line) => line.kind === kind
    && Object.entries(facts).every(([key, value]) => line[key] === value);
  const look = () => {
    if (!said.some((line) => line.kind === "crash") && said.filter(fits).length < count) return;
    removeEventListener("said", look);
    resolve(true);
  };
  addEventListener("said", look);
  setTimeout(() => resolve(false), timeout);
  look();
})
"""


class Host:
    """Opens ``host.html`` in a tab, and reads what its program says."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url

    def open(self, **options: object) -> Host:
        """Load the page and start its program; returns at once."""
        query = urlencode({"program": "scenario"} | options)
        self.page.goto(f"{self._url}/pages/host.html?{query}")
        return self

    def reload(self) -> Host:
        self.page.reload()
        return self

    def said(self, kind: str, **facts: object) -> list[dict[str, Any]]:
        """What the program has said so far of this kind, and with these facts."""
        return [line for line in self._said() if matches(line, kind, facts)]

    def wait_for(self, kind: str, count: int = 1, **facts: object) -> dict[str, Any]:
        """Wait until the program has said it ``count`` times, and return the last one.

        A program that crashes instead fails the test with its traceback.
        """
        self._until_said(kind, facts, count)
        lines = self.said(kind, **facts)
        if len(lines) < count:
            raise AssertionError(self.said("crash")[0]["text"])
        return lines[count - 1]

    def wait_for_event(self, event_type: str, count: int = 1, **facts: object) -> dict[str, Any]:
        return self.wait_for("event", count, type=event_type, **facts)

    def wait_for_crash(self) -> str:
        """Wait until the program has ended with an exception, and return its traceback."""
        self._until_said("crash", {}, 1)
        text: str = self.said("crash")[0]["text"]
        return text

    def events(self, event_type: str, **facts: object) -> list[dict[str, Any]]:
        return self.said("event", type=event_type, **facts)

    def ask(self, question: str, answer: str | None = None) -> dict[str, Any]:
        """Ask the program something, and wait for what it says to it."""
        kind = answer or question
        before = len(self.said(kind))
        self.page.evaluate("(question) => ask(question)", question)
        return self.wait_for(kind, before + 1)

    def result(self) -> Any:
        """Wait for the result of the program's run."""
        return self.wait_for("result")["value"]

    def _until_said(self, kind: str, facts: dict[str, object], count: int) -> None:
        arguments = [kind, facts, count, TIMEOUT_MS]
        if not self.page.evaluate(UNTIL_SAID, arguments):
            raise TimeoutError(f"{kind} {facts} was not said {count} times; said: {self._said()}")

    def _said(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = self.page.evaluate("said")
        return lines


def matches(line: dict[str, Any], kind: str, facts: dict[str, object]) -> bool:
    return line["kind"] == kind and all(line.get(key) == value for key, value in facts.items())
