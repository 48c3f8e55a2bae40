"""Build the wheels, and put them up in build/site as a package index of static files.

python scripts/make_site.py             build/site/wheels and build/site/simple (PEP 503)
python scripts/make_site.py --wheel     dist/ only
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from browser_wheel import make_browser_wheel

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "site"
PROJECT = "durably"
INDEX = "<!doctype html><title>{title}</title>\n{links}\n"
LINK = '<a href="{url}">{text}</a>'


def build_wheels(folder: Path) -> list[Path]:
    """The wheel for everybody and the one for browsers. Nothing is downloaded for it."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"Hatchling could not build the wheel:\n{done.stderr}")
    wheel = next(folder.glob("*.whl"))
    return [wheel, make_browser_wheel(wheel)]


def write_index(wheels: Sequence[Path]) -> None:
    links = "\n".join(
        LINK.format(
            url=f"../../wheels/{wheel.name}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}",
            text=wheel.name,
        )
        for wheel in wheels
    )
    pages = {
        "": {"title": "simple", "links": LINK.format(url=f"{PROJECT}/", text=PROJECT)},
        PROJECT: {"title": PROJECT, "links": links},
    }
    for folder, values in pages.items():
        page = SITE / "simple" / folder / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(INDEX.format(**values), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheel", action="store_true", help="build into dist/ and stop")
    if parser.parse_args().wheel:
        for wheel in build_wheels(ROOT / "dist"):
            print(wheel.relative_to(ROOT))
    else:
        write_index(build_wheels(SITE / "wheels"))


if __name__ == "__main__":
    main()
