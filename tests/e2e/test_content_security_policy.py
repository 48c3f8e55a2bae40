"""A page whose policy forbids eval: it registers the modules itself, and everything works."""

from __future__ import annotations

import pytest

from tests.e2e.chromium import Chromium
from tests.e2e.host import Host
from tests.server import EffectServer

POLICY = "script-src 'self' 'wasm-unsafe-eval'"


@pytest.fixture
def host(chromium: Chromium, server: EffectServer) -> Host:
    for prefix in ("/pages/", "/pyodide/", "/js/", "/web/"):
        server.set_headers(prefix, {"Content-Security-Policy": POLICY})
    return Host(chromium.page, server.url)


@pytest.mark.parametrize("thread", ["main", "worker"])
def test_registered_modules_work_without_eval(
    host: Host, server: EffectServer, thread: str
) -> None:
    server.hold("second")
    host.open(thread=thread, registered=1)
    server.wait_until_held("second")
    host.reload()
    server.release("second")

    assert host.result() == [1, 2, 1]


def test_page_that_registers_nothing_is_told_what_to_do(host: Host) -> None:
    text = host.open().wait_for_crash()

    assert "registerJsModule" in text
