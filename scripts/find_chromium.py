"""Find a Chromium or Chrome for the browser tests, and install one if asked to.

python scripts/find_chromium.py             prints its path
python scripts/find_chromium.py --install   the same, and installs one when there is none
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

VARIABLE = "DURABLY_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/usr/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
ADVICE = f"install the package chromium, or set {VARIABLE} to the path of a Chromium or Chrome"


class ChromiumNotFound(Exception):
    """There is no browser to test in."""

    def __init__(self) -> None:
        super().__init__(f"No Chromium was found: {ADVICE}.")


def find_chromium() -> str:
    """The path of a Chromium; ``DURABLY_CHROMIUM`` wins over what is installed.

    Raises ChromiumNotFound.
    """
    if chosen := os.environ.get(VARIABLE):
        return chosen
    for candidate in (*NAMES, *PLACES):
        if path := shutil.which(candidate):
            return path
    if path := playwright_chromium():
        return path
    raise ChromiumNotFound


def playwright_chromium() -> str | None:
    """The one that ``playwright install chromium`` keeps in the user's cache, if it is there."""
    # In a process of its own: the caller may have a Playwright open, and a second cannot start.
    question = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as playwright: print(playwright.chromium.executable_path)"
    )
    done = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True)
    path = done.stdout.strip()
    return path if path and Path(path).exists() else None


def install_chromium() -> None:
    """From the system's packages where that is allowed, else through Playwright."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("Installing Chromium with apt-get (about a minute) ...", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        packages = ["--no-install-recommends", "chromium"]
        for arguments in (["update"], ["install", "-y", *packages]):
            run(["apt-get", "-qq", *arguments], environment)
    else:
        print("Installing Chromium with Playwright (about a minute) ...", flush=True)
        run([sys.executable, "-m", "playwright", "install", "chromium"], dict(os.environ))


def run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next((line for line in said if "rror" in line), "no message")
        sys.exit(f"{' '.join(command)} failed ({reason}). To go on, {ADVICE}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--install", action="store_true", help="install one when none is found")
    parser.add_argument("--quiet", action="store_true", help="do not print the path")
    options = parser.parse_args()
    try:
        path = find_chromium()
    except ChromiumNotFound as error:
        if not options.install:
            sys.exit(str(error))
        install_chromium()
        try:
            path = find_chromium()
        except ChromiumNotFound as still:
            sys.exit(str(still))
    if not options.quiet:
        print(path)


if __name__ == "__main__":
    main()
