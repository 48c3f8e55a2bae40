"""The contracts of the ports, and what is special to each, on a real IndexedDB and Web Locks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser

from scripts.static_server import ROOT
from tests.browser.inside import INNER_SUMMARY, collect_on_host, run_inside

# The harness ends it where the tests inside come no further, and says how far they got. This is for
# a page that one of them blocks, which answers nobody.
pytestmark = pytest.mark.timeout(1800)

PORT_TESTS = ("tests/in_browser",)


def test_ports_keep_their_contracts_in_a_browser(
    browser: Browser, server_url: str, record_property: Callable[[str, object], None]
) -> None:
    expected = collect_on_host(ROOT, PORT_TESTS)

    report = run_inside(browser, server_url, ROOT, PORT_TESTS)

    record_property(INNER_SUMMARY, f"ports in Chromium {browser.version}: {report.summary}")
    if problems := report.problems(expected):
        pytest.fail("\n".join([report.output, "", *problems]), pytrace=False)
