"""Serve the demo on the loopback address; what it needs was built before.

python scripts/demo.py [--port PORT] [--open]
"""

from __future__ import annotations

import argparse
import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Run as a script, Python looks for modules in this folder, not in the project's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.find_chromium import ChromiumNotFound, find_chromium
from scripts.static_server import PROJECT_MOUNTS, ROOT, StaticHandler, StaticServer

DATA = ROOT / "build" / "data"
DATA_SETS = ("airports.csv",)
PAGE = "/web/demo/"
PORTS_TRIED = 20
LAST_PORT = 65_535


def copy_data() -> None:
    """Put the data sets of the installed vega_datasets where the demo's server finds them."""
    # Found, not imported: importing it would import pandas.
    package = importlib.util.find_spec("vega_datasets")
    if package is None or package.origin is None:
        sys.exit("The package vega_datasets is not installed; run: make setup")
    DATA.mkdir(parents=True, exist_ok=True)
    for name in DATA_SETS:
        shutil.copyfile(Path(package.origin).parent / "_data" / name, DATA / name)


class DemoHandler(StaticHandler):
    """Serves the project's files and the data, and leads ``/`` to the demo."""

    def send_head(self) -> Any:
        asked = urlsplit(self.path)
        if asked.path != "/":
            return super().send_head()
        self.send_response(302)
        self.send_header("Location", asked._replace(path=PAGE).geturl())
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None


class DemoServer(StaticServer):
    """The server of the demo; port 0 takes a free one."""

    def __init__(self, port: int = 0) -> None:
        copy_data()
        super().__init__({**PROJECT_MOUNTS, "/data/": DATA}, port=port, handler=DemoHandler)


def listen(port: int) -> DemoServer:
    """A server at ``port``, or at the next one that is free."""
    for candidate in range(port, min(port + PORTS_TRIED, LAST_PORT + 1)):
        try:
            return DemoServer(candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                sys.exit(f"Port {candidate} cannot be used: {error.strerror}.")
    sys.exit(f"Ports {port} to {candidate} are taken; choose another: make demo PORT=9000")


def open_browser(url: str) -> bool:
    """Show the URL in the user's browser, or in the Chromium that the tests use."""
    has_screen = sys.platform != "linux" or any(
        variable in os.environ for variable in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    # Without a screen, webbrowser would find a text browser, which runs no Python.
    if not has_screen:
        return False
    if webbrowser.open(url):
        return True
    try:
        command = [find_chromium(), url]
    except ChromiumNotFound:
        return False
    if sys.platform == "linux" and os.geteuid() == 0:
        # Chromium's sandbox does not start for root.
        command.insert(1, "--no-sandbox")
    quiet = subprocess.DEVNULL
    subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    options = parser.parse_args()
    if not 0 <= options.port <= LAST_PORT:
        parser.error(f"a port is a number from 0 to {LAST_PORT}")
    with listen(options.port) as server:
        note = "" if options.port in (0, server.server_port) else f"port {options.port} is taken; "
        print(f"The demo is at {server.url}/ ({note}stop with Ctrl-C)", flush=True)
        # The socket listens already: a browser that is faster than the next lines only waits.
        if options.open and not open_browser(f"{server.url}/"):
            print("There is no browser with a screen here: open that address in one.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
