"""Build the wheel, and put it up in build/site as a package index of static files.

python scripts/make_site.py             build/site/wheels and build/site/simple (PEP 503)
python scripts/make_site.py --wheel     dist/ only
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "site"
PROJECT = "durably"
INDEX = '<!doctype html><title>{title}</title>\n<a href="{url}">{text}</a>\n'


def build_wheel(folder: Path) -> Path:
    """Build it with the Hatchling of this environment; nothing is downloaded."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"Hatchling could not build the wheel:\n{done.stderr}")
    return next(folder.glob("*.whl"))


def write_index(wheel: Path) -> None:
    checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pages = {
        "": {"title": "simple", "url": f"{PROJECT}/", "text": PROJECT},
        PROJECT: {
            "title": PROJECT,
            "url": f"../../wheels/{wheel.name}#sha256={checksum}",
            "text": wheel.name,
        },
    }
    for folder, values in pages.items():
        page = SITE / "simple" / folder / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(INDEX.format(**values), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheel", action="store_true", help="build into dist/ and stop")
    if parser.parse_args().wheel:
        print(build_wheel(ROOT / "dist").relative_to(ROOT))
    else:
        write_index(build_wheel(SITE / "wheels"))


if __name__ == "__main__":
    main()
