"""The page of the README, as a new user would serve it, with only its addresses made local."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import Chromium
from tests.server import EffectServer

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def folder(tmp_path: Path, server: EffectServer) -> Path:
    """A user's folder, with the README's page and its Python in it."""
    text = README.read_text()
    python = re.search(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    page = re.search(r"^```html\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert python
    assert page
    html = page[1].replace("./pyodide/", "/pyodide/")
    assert 'install("durably")' in html
    # micropip asks the public index unless it is told of another one.
    html = html.replace(
        'install("durably")',
        'install.callKwargs("durably", { index_urls: `${location.origin}/site/simple` })',
    )
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "orders.py").write_text(python[1])
    (folder / "index.html").write_text(html)
    return folder


@pytest.fixture
def page(chromium: Chromium, folder: Path) -> Iterator[tuple[Page, list[str]]]:
    printed: list[str] = []
    page = chromium.page
    page.on("console", lambda message: printed.append(message.text))
    with EffectServer({"/user/": folder}) as server:
        page.goto(f"{server.url}/user/index.html")
        yield page, printed


def test_reloaded_in_the_middle_it_goes_on_with_the_next_batch(
    page: tuple[Page, list[str]],
) -> None:
    tab, printed = page

    def is_saved(text: str) -> bool:
        return "StepComplete" in text and "save[300]" in text

    with tab.expect_console_message(lambda message: is_saved(message.text), timeout=60_000):
        pass
    before = len(printed)
    tab.reload()
    with tab.expect_console_message(lambda message: "imported" in message.text, timeout=60_000):
        pass

    after = "\n".join(printed[before:])
    assert "imported 1000" in after
    assert "StepReplay" in after
    assert "save[0]" not in "\n".join(
        line for line in printed[before:] if line.startswith("StepStart")
    )
