"""The compiled code that one page keeps for the next: used when it fits, and only then."""

from __future__ import annotations

import pytest

from tests.e2e.chromium import Chromium
from tests.e2e.host import Host
from tests.server import EffectServer

ENGINE = {"database.py", "worker.py", "store/runs.py", "browser/mirror.py"}


@pytest.fixture
def kept(chromium: Chromium, server: EffectServer) -> Host:
    """A page whose first load has compiled the engine, and kept it."""
    host = Host(chromium.page, server.url).open(program="compiled")
    assert set(host.wait_for("opened")["compiled"]) >= ENGINE
    host.ask("until kept")
    return host


def test_next_page_compiles_nothing_again(kept: Host) -> None:
    opened = kept.reload().wait_for("opened")

    assert opened["compiled"] == ["browser/__init__.py", "browser/pycache.py"]
    assert opened["result"] == 42


def test_code_of_another_source_is_compiled_again_and_kept_anew(kept: Host) -> None:
    kept.ask("another source")

    assert "worker.py" in kept.reload().wait_for("opened")["compiled"]
    kept.ask("until kept")
    assert "worker.py" not in kept.reload().wait_for("opened")["compiled"]


def test_rubbish_in_the_cache_is_no_obstacle(kept: Host) -> None:
    kept.ask("rubbish")

    opened = kept.reload().wait_for("opened")

    assert set(opened["compiled"]) >= ENGINE
    assert opened["result"] == 42


def test_kept_code_can_be_thrown_away(kept: Host) -> None:
    kept.page.evaluate(
        "async () => { for (const name of await caches.keys()) await caches.delete(name); }"
    )

    assert set(kept.reload().wait_for("opened")["compiled"]) >= ENGINE
