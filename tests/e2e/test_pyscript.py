"""A PyScript page runs the same job, from PyScript's npm package, without any special header."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.e2e.chromium import Chromium
from tests.server import EffectServer


@pytest.fixture
def page(chromium: Chromium, server: EffectServer) -> Page:
    """A page that asks nobody but this machine for anything."""

    def is_ours(url: str) -> bool:
        return url.startswith((server.url, "blob:", "data:"))

    page = chromium.page
    outside: list[str] = []
    page.on("request", lambda request: is_ours(request.url) or outside.append(request.url))
    yield page
    assert outside == []


@pytest.mark.parametrize("where", ["main", "worker"])
def test_job_in_a_pyscript_page_goes_on_after_a_reload(
    page: Page, server: EffectServer, where: str
) -> None:
    server.hold("second")
    page.goto(f"{server.url}/pages/pyscript.html?{where}")
    server.wait_until_held("second", timeout=60)
    page.reload()
    server.release("second")

    (result,) = server.wait_for("result", timeout=60)

    assert result.body == [1, 2, 1]
    assert [effect.name for effect in server.effects()] == [
        "first",
        "second",
        "second",
        "third",
        "result",
    ]
