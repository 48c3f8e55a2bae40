"""Tabs of one origin that have loaded different versions of the library."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.static_server import ROOT
from tests.e2e.chromium import Chromium
from tests.e2e.host import Host
from tests.server import EffectServer

NEWER = "/newer"
VERSIONS = {"durably/protocol.py": "PROTOCOL", "durably/schema.py": "SCHEMA_VERSION"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EffectServer]:
    """One that also serves a version of durably that is yet to come."""
    make_newer_wheel(tmp_path)
    with EffectServer({f"{NEWER}/": tmp_path}) as server:
        yield server


def make_newer_wheel(folder: Path) -> None:
    """The wheel for browsers, with another protocol and a newer schema."""
    (built,) = (ROOT / "build" / "site" / "wheels").glob("*wasm32.whl")
    with zipfile.ZipFile(built) as today, zipfile.ZipFile(folder / built.name, "w") as newer:
        for name in today.namelist():
            content = today.read(name)
            if name in VERSIONS:
                constant = rb"(?m)^(%s) ?= ?(\d+)$" % VERSIONS[name].encode()
                content, count = re.subn(constant, newer_number, content)
                assert count == 1, f"no {VERSIONS[name]} in {name}"
            newer.writestr(name, content)


def newer_number(found: re.Match[bytes]) -> bytes:
    return b"%s = %d" % (found[1], int(found[2]) + 1)


def test_tab_of_an_older_version_is_refused_and_stands_back_for_the_next_of_the_newer_one(
    chromium: Chromium, server: EffectServer
) -> None:
    newer = Host(chromium.page, server.url)
    older = Host(chromium.new_window(server.url + "/pages/blank.html"), server.url)
    newer.open(program="versions", wheels=NEWER).wait_for_event("tab:leader")
    older.open(program="versions").wait_for_event("tab:follower")
    older.wait_for("opened")
    answer = newer.ask("trigger")
    refusal_while_it_leads = older.ask("trigger")
    newer.page.close()
    told = older.wait_for_event("storage:refused")
    refusal_behind_it = older.ask("trigger")
    successor = Host(chromium.new_window(server.url + "/pages/blank.html"), server.url)
    successor.open(program="versions", wheels=NEWER).wait_for_event("tab:leader")

    assert answer["result"] == [1, 1, 1]
    assert refusal_while_it_leads["refusal"] == "ValidationError"
    assert "it has another version of durably" in refusal_while_it_leads["text"]
    assert (told["error"], refusal_behind_it["refusal"]) == ("NewerSchema", "NewerSchema")
    assert "update durably" in refusal_behind_it["text"]
    assert not older.events("tab:leader")
    assert successor.ask("trigger")["disposition"] == "idempotent"
    assert len(server.effects()) == 3
