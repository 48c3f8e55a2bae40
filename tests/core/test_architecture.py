"""The rules of the house that a machine can check: layers, time, SQL, sizes, and no browser."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import durably

SOURCE = Path(durably.__file__).parent

LAYERS: list[set[str]] = [
    # Top to bottom: a module imports only from layers below its own, but for what is listed in
    # LATE, which is imported inside a function.
    {"app"},
    {"handle", "queries"},
    {"waiting"},
    {"leader"},
    {"asking", "handover"},
    {"following", "answering"},
    {"wire"},
    {"desk"},
    {"doctor"},
    {"health", "worker"},
    {"heartbeat", "executor", "recovery", "housekeeping"},
    {"step"},
    {"waits"},
    {"checkpointing"},
    {"execution"},
    {"attempts", "progress", "transfer", "triggers"},
    {"term"},
    {"store"},
    {"database"},
    {"opening"},
    {"schema", "sqlite_codes"},
    {"rescue"},
    {"container"},
    {"browser", "testing"},
    {"local"},
    {"owners"},
    {"emitter"},
    {"protocol"},
    {"events", "jobs", "options", "ports"},
    {"annotations", "labels"},
    {"matching", "signatures"},
    {"constraints", "hints"},
    {"codec"},
    {"standard", "failure", "rebuilding", "sealing"},
    {"objects"},
    {"clock", "landing"},
    {"export_errors", "model"},
    {"errors"},
    {"records"},
]
LATE = {("app", "browser"), ("app", "local"), ("leader", "waiting")}
NOT_IN_A_TAB = {"owners", "rebuilding", "rescue", "sealing"}
"""What the wheel for browsers comes without."""
TYPES_ONLY = {("jobs", "step"), ("errors", "model"), ("handle", "app"), ("sealing", "container")}
"""Upward imports that exist for a type checker alone."""
WITH_THE_PACKAGE = {
    "app",
    "asking",
    "clock",
    "codec",
    "emitter",
    "errors",
    "events",
    "export_errors",
    "handle",
    "handover",
    "jobs",
    "leader",
    "model",
    "options",
    "ports",
    "protocol",
    "queries",
    "records",
    "signatures",
    "step",
}
"""What a page compiles before its first line runs. The others come when a Durably is entered, or
when they are first used."""

SLEEPS = {"testing": {"sleep"}}  # `settle` gives turns of the event loop, and no time.
MOST_LINES = 400

MODULES = sorted(path for at in ("", "store/", "testing/") for path in SOURCE.glob(f"{at}*.py"))
SQL_WORDS = ("select ", "insert into ", "update ", "delete from ", "create table ", "pragma ")


def each(paths: Iterable[Path]) -> list[Any]:
    """The parameters of a test for each of these files that there are where it runs."""
    of_cpython = {SOURCE / f"{module}.py" for module in NOT_IN_A_TAB}
    return [
        pytest.param(path, id=path.stem, marks=[pytest.mark.cpython_only] * (path in of_cpython))
        for path in sorted(paths)
    ]


def module_of(path: Path) -> str:
    """What a file is called in LAYERS: the files of a package share its name."""
    return path.stem if path.parent == SOURCE else path.parent.name


def layer_of(module: str) -> int:
    (layer,) = (number for number, names in enumerate(LAYERS) if module in names)
    return layer


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """The modules of this package that a file imports, and whether for types alone."""
    own_level = 1 if path.parent == SOURCE else 2
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for_types.update(inner for part in node.body for inner in ast.walk(part))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == own_level:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                yield str(name).split(".")[0], node in for_types


def calls_of(path: Path) -> Iterator[tuple[str, str]]:
    """The calls of a function in a module, as ``("time", "monotonic")``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr


def test_every_module_has_a_layer() -> None:
    known = set().union(*LAYERS) - {"browser"}
    if sys.platform == "emscripten":
        known -= NOT_IN_A_TAB

    assert {module_of(path) for path in MODULES} - {"__init__"} == known


@pytest.mark.parametrize("path", each(MODULES))
def test_imports_point_down_the_layers(path: Path) -> None:
    if module_of(path) == "__init__":
        return  # It re-exports from everywhere.
    module = module_of(path)
    upward = {
        (module, imported)
        for imported, for_types in imports_of(path)
        if layer_of(imported) <= layer_of(module)
        and not (for_types and (module, imported) in TYPES_ONLY)
    }

    assert upward - LATE == set()


def test_init_only_re_exports() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    others = [
        node
        for node in tree.body
        if not isinstance(node, ast.ImportFrom | ast.Expr)
        and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    ]

    assert others == []
    assert durably.__all__ == sorted(durably.__all__)
    assert all(hasattr(durably, name) for name in durably.__all__)


@pytest.mark.parametrize("path", each(MODULES))
def test_only_the_clock_reads_time_or_sleeps(path: Path) -> None:
    if module_of(path) == "clock":
        return
    found = {
        f"{module}.{name}"
        for module, name in calls_of(path)
        if (module == "time" and name not in ("fromisoformat", "min", "max"))
        or (module == "asyncio" and name in {"sleep", "timeout", "wait_for"})
        or (module == "datetime" and name in {"now", "utcnow", "today"})
        if name not in SLEEPS.get(module_of(path), ())
    }

    assert found == set()


@pytest.mark.parametrize("path", each(MODULES))
def test_only_the_store_and_the_database_contain_sql(path: Path) -> None:
    if module_of(path) in ("store", "database", "opening", "schema", "sqlite_codes"):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [
        node.value.strip().lower()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]

    assert [text for text in texts if text.startswith(SQL_WORDS)] == []
    assert "sqlite3" not in {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }


@pytest.mark.parametrize("path", each({*SOURCE.rglob("*.py"), *SOURCE.rglob("*.sql")}))
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", each(MODULES))
def test_engine_imports_nothing_of_a_browser(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    absolute = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
    }

    assert absolute & {"js", "pyodide", "pyodide_js"} == set()


@pytest.mark.cpython_only
def test_every_core_module_can_be_imported_without_a_browser_and_without_extras() -> None:
    names = ["durably", *(f"durably.{path.stem}" for path in SOURCE.glob("[a-z]*.py"))]
    code = (
        "import importlib, sys\n"
        "for name in ('js', 'pyodide', 'pyodide_js', 'pydantic', 'msgspec', 'cryptography'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "print(sorted(name for name in sys.modules if name.startswith('durably.browser')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.cpython_only
def test_only_what_a_program_names_is_imported_with_the_package() -> None:
    code = (
        "import sys, durably\n"
        "@durably.job\n"
        "async def greet(step, name: str) -> str: ...\n"
        "print(*sorted(name[8:] for name in sys.modules if name.startswith('durably.')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (set(done.stdout.split()), done.stderr) == (WITH_THE_PACKAGE, "")
