"""Make or refresh the virtual environment that the Makefile uses, or add a group to it.

    make_venv.py .venv          what the tests and the tools need
    make_venv.py .venv bench    the same, and that dependency group of pyproject.toml

Run by the system's Python, so only the standard library is used. Nothing is done when the
environment already holds what pyproject.toml asks for.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEVELOPMENT_GROUP = "dev"


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit("Python 3.11 or newer is needed; name one with: make PYTHON=python3.12")
    venv = ROOT / (sys.argv[1] if len(sys.argv) > 1 else ".venv")
    more = sys.argv[2:]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    requirements = [one for group in (DEVELOPMENT_GROUP, *more) for one in groups[group]]
    wanted = hashlib.sha256(repr((sys.version, requirements)).encode()).hexdigest()
    installed = venv / "-".join(["installed", *more])
    if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
        return
    print(f"Installing the Python tools into {venv.name} (about a minute) ...", flush=True)
    python = venv / "bin" / "python"
    if not works(python):
        create(venv, python)
    install(python, *requirements)
    # The tests and the type checker see the sources through an editable install.
    install(python, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    installed.write_text(wanted, encoding="utf-8")


def works(python: Path) -> bool:
    return (
        python.exists()
        and subprocess.run([python, "-m", "pip"], capture_output=True).returncode == 0
    )


def create(venv: Path, python: Path) -> None:
    """An empty environment with pip in it."""
    shutil.rmtree(venv, ignore_errors=True)
    attempts = [
        [[sys.executable, "-m", "venv", str(venv)]],
        # Debian splits ensurepip off into python3-venv. A pip outside can do its work.
        [
            [sys.executable, "-m", "venv", "--without-pip", str(venv)],
            [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "pip"],
        ],
        [[sys.executable, "-m", "virtualenv", "--quiet", str(venv)]],
    ]
    for commands in attempts:
        if all(
            subprocess.run(command, capture_output=True).returncode == 0 for command in commands
        ):
            return
        shutil.rmtree(venv, ignore_errors=True)
    sys.exit(
        f"{sys.executable} cannot make a virtual environment. "
        "On Debian and Ubuntu: apt-get install python3-venv"
    )


def install(python: Path, *arguments: str) -> None:
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    if subprocess.run([*pip, *arguments], cwd=ROOT).returncode != 0:
        sys.exit("pip could not install the Python tools; its message is above.")


if __name__ == "__main__":
    main()
