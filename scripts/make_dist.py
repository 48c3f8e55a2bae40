"""Build build/pyodide: a Pyodide distribution that needs no network.

It is the npm package's core, the wheels below from PyPI, and a lock file that names these wheels
only. The published lock cannot be used as it is: its checksums belong to Pyodide's own repacked
wheels, and loadPackage drops a wheel with another checksum without raising.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "node_modules" / "pyodide"
TARGET = ROOT / "build" / "pyodide"
CACHE = ROOT / "build" / "cache"

# Those of Pyodide 314.0.7, so that tests meet what its users have.
WHEELS = (
    "iniconfig==2.3.0",
    "micropip==0.11.1",
    "packaging==26.1",
    "pluggy==1.6.0",
    "pygments==2.20.0",
    "pytest==9.0.2",
    "pytest-asyncio==0.25.3",
    "tblib==3.2.2",
)
# Releases from 1.0 on refuse to run on an event loop that is running already, as the browser's is.
# This one asks for pytest<9, and Pyodide ships it with pytest 9.0.2: the two do work together.
DECLARES_TOO_MUCH = {"pytest-asyncio"}
# What the extras need, compiled for this Pyodide by their own authors.
EXTRAS = (
    "annotated-types==0.8.0",
    "msgspec==0.22.0",
    "pydantic==2.14.3",
    "pydantic-core==2.50.4",
    "typing-extensions==4.16.0",
    "typing-inspection==0.4.5",
)
NOT_SERVED = {".map", ".md", ".ts"}


def main() -> None:
    print("Building the local Pyodide in build/pyodide (about half a minute) ...", flush=True)
    wheels = download()
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    for source in CORE.iterdir():
        if source.is_file() and source.suffix not in NOT_SERVED:
            shutil.copy2(source, TARGET)
    for wheel in wheels:
        shutil.copy2(wheel, TARGET)
    compile_standard_library()
    lock = json.loads((CORE / "pyodide-lock.json").read_text(encoding="utf-8"))
    lock["packages"] = lock_entries(wheels, lock["info"]["python"])
    # Last, because it tells that the folder is complete.
    (TARGET / "pyodide-lock.json").write_text(json.dumps(lock, indent=1), encoding="utf-8")


def download() -> list[Path]:
    """Fetch the wheels that an earlier build did not leave in the cache."""
    lock = json.loads((CORE / "pyodide-lock.json").read_text(encoding="utf-8"))
    python, abi = lock["info"]["python"], lock["info"]["abi_version"]
    folder = CACHE / hashlib.sha256(repr((python, WHEELS, EXTRAS)).encode()).hexdigest()[:12]
    complete = folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        version = ".".join(python.split(".")[:2])
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-qq"]
        pip += ["--no-deps", "--only-binary=:all:", "--implementation=cp", "--dest", str(folder)]
        pip += [f"--python-version={version}", f"--platform=pyemscripten_{abi}_wasm32"]
        pip += [f"--abi=cp{version.replace('.', '')}", "--abi=none", *WHEELS, *EXTRAS]
        if subprocess.run(pip).returncode != 0:
            sys.exit("pip could not download the wheels for Pyodide; its message is above.")
        complete.touch()
    return sorted(folder.glob("*.whl"))


def compile_standard_library() -> None:
    compiled = TARGET / "python_stdlib.compiled.zip"
    script = ROOT / "scripts" / "compile_stdlib.mjs"
    if subprocess.run(["node", str(script), str(CORE), str(compiled)]).returncode != 0:
        sys.exit("Pyodide could not compile its standard library in Node; its message is above.")
    compiled.replace(TARGET / "python_stdlib.zip")


def lock_entries(wheels: list[Path], python: str) -> dict[str, Any]:
    environment = {
        "extra": "",
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "wasm32",
        "platform_python_implementation": "CPython",
        "platform_system": "Emscripten",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "emscripten",
    }
    versions = dict(parse_wheel_filename(wheel.name)[:2] for wheel in wheels)
    entries = {}
    for wheel in wheels:
        name, version, _, _ = parse_wheel_filename(wheel.name)
        metadata, modules = read_wheel(wheel)
        depends = []
        for requirement in map(Requirement, metadata.get_all("Requires-Dist") or []):
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
            dependency = canonicalize_name(requirement.name)
            fits = (
                name in DECLARES_TOO_MUCH or versions.get(dependency, "0") in requirement.specifier
            )
            if dependency not in versions or not fits:
                sys.exit(f"{wheel.name} needs {requirement}: see the pins in scripts/make_dist.py")
            depends.append(dependency)
        entries[name] = {
            "name": name,
            "version": str(version),
            "file_name": wheel.name,
            "install_dir": "site",
            "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
            "package_type": "package",
            "imports": modules,
            "depends": sorted(depends),
            "unvendored_tests": False,
        }
    return entries


def read_wheel(wheel: Path) -> tuple[Message, list[str]]:
    """Its METADATA, and the top-level modules that it installs."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        parsed = HeaderParser().parsestr(archive.read(metadata).decode())
    roots = {name.split("/")[0].removesuffix(".py") for name in names if name.endswith(".py")}
    return parsed, sorted(root for root in roots if "." not in root)


if __name__ == "__main__":
    main()
