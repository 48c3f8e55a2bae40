"""The wheel for browsers has the same program as the wheel for everybody, line by line."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import subprocess
import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

import durably
from tests.core.test_architecture import NOT_IN_A_TAB

pytestmark = pytest.mark.cpython_only

SHOWN = "Public, and shown."
FOR_TYPES = 7
"""The line of the block that is for a type checker alone."""
SOURCE = '''\
"""Of the module."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import (
        Decimal,
    )

PRICES: dict[str, Decimal] = {}
LINES = """
 a line that ends with a blank \\

"""


class Shop:
    """Public, and shown."""

    name: str = "shop"  # a field is no annotation of a function
    """What is on
    its sign."""

    def sell(
        self,
        item: dict[
            str, int
        ],
        /,
        *rest: str,
        price: int = 3,
    ) -> tuple[
        int, ...
    ]:
        """Private."""
        text: Decimal = "# no comment ünd"  # a comment
        self.sold: list[
            Decimal
        ] = []
        self.last: Decimal | None = None
        """A variable."""
        return (price, len(text))

    async def close(self) -> None:
        """Nothing but
        this."""

    if not TYPE_CHECKING:
        size: Decimal = 3


def raising(first: "int | None" = None, **others: object) -> int: raise LookupError(first)
'''


@pytest.fixture(scope="module")
def scripts() -> Iterator[None]:
    """Scripts import each other as they are run: from their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
        yield


@pytest.fixture(scope="module")
def slim(scripts: None) -> str:
    from browser_wheel import slim_source

    return slim_source(SOURCE, {SHOWN})


def test_every_line_stays_in_its_place(slim: str) -> None:
    def lines(source: str) -> list[tuple[str, int]]:
        statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
        return [
            (type(node).__name__, node.lineno)
            for node in statements
            if not isinstance(node, ast.Expr)
        ]

    program = [
        line
        for line in lines(SOURCE)
        if line not in [("If", FOR_TYPES), ("ImportFrom", FOR_TYPES + 1)]
    ]
    assert [(kind.replace("Ann", ""), line) for kind, line in lines(slim)] == [
        (kind.replace("Ann", ""), line) for kind, line in program
    ]


def test_what_running_does_not_use_is_gone(slim: str) -> None:
    for gone in (
        "Of the module",
        "Private",
        "a comment",
        "a field is",
        "Nothing but",
        "its sign",
        "A variable",
        "int | None",
        "import Decimal",
        "dict[str, Decimal]",
        "text:",
        "last:",
    ):
        assert gone not in slim
    assert "def raising(first = None, **others): raise LookupError(first)" in slim
    assert "\n def sell(\n" in slim


def test_what_running_uses_is_left(slim: str) -> None:
    space: dict[str, object] = {}
    exec(slim, space)
    shop = space["Shop"]

    assert isinstance(shop, type)
    assert shop.__doc__ == SHOWN
    assert shop.__annotations__ == {"name": "str", "size": "Decimal"}
    assert shop().sell({}, price=4) == (4, len("# no comment ünd"))
    assert space["LINES"] == "\n a line that ends with a blank \n"


def test_a_source_that_would_be_another_program_is_refused(scripts: None) -> None:
    from browser_wheel import slim_source

    # Without its comment, which stands inside of the annotation, the cuts would overlap.
    with pytest.raises((AssertionError, SyntaxError, tokenize.TokenError)):
        slim_source("def f(\n    a: dict[  # keys\n        str, int],\n) -> int: ...\n", set())


@pytest.mark.parametrize(
    "path", sorted(Path(durably.__file__).parent.rglob("*.py")), ids=lambda path: path.stem
)
def test_each_module_can_be_made_slim(scripts: None, path: Path) -> None:
    from browser_wheel import slim_source

    source = path.read_text(encoding="utf-8")

    assert len(slim_source(source, set()).splitlines()) <= len(source.splitlines())


def test_javascript_is_the_same_program_in_fewer_bytes(scripts: None) -> None:
    from browser_wheel import minified

    source = """\
/** About a. */
class A {
  // Private.
  #private = "/* kept */";
  tell() { const unused = 1; return this.#private; }
}
export const told = new A().tell();
"""
    module = minified(source)
    check = f"import({json.dumps('data:text/javascript,' + quote(module))})"
    command = ["node", "-e", f"{check}.then(({{ told }}) => console.log(told))"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert told == "/* kept */\n"
    assert len(module) < len(source) / 2


def test_javascript_that_cannot_be_read_ends_the_build(scripts: None) -> None:
    from browser_wheel import minified

    with pytest.raises(ValueError, match="terser could not read it"):
        minified("class {")


def test_wheel_tells_the_truth_about_itself(scripts: None, tmp_path: Path) -> None:
    from browser_wheel import TAG, make_browser_wheel

    whole = tmp_path / "durably-0.1.0-py3-none-any.whl"
    info = "durably-0.1.0.dist-info"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("durably/__init__.py", SOURCE)
        archive.writestr("durably/rescue.py", SOURCE)
        archive.writestr(f"{info}/METADATA", "Name: durably\nVersion: 0.1.0\n\n# durably\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")

    made = make_browser_wheel(whole)

    assert made.name == f"durably-0.1.0-{TAG}.whl"
    with zipfile.ZipFile(made) as archive:
        assert "durably/rescue.py" not in archive.namelist()
        assert archive.read(f"{info}/WHEEL").decode() == f"Wheel-Version: 1.0\nTag: {TAG}\n"
        assert archive.read(f"{info}/METADATA").decode() == "Name: durably\nVersion: 0.1.0\n"
        for line in archive.read(f"{info}/RECORD").decode().splitlines():
            path, digest, size = line.split(",")
            if path.endswith("/RECORD"):
                continue
            content = archive.read(path)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            assert (digest, size) == (f"sha256={expected.decode()}", str(len(content)))


def test_modules_of_cpython_are_those_that_the_layers_name(scripts: None) -> None:
    from browser_wheel import OF_CPYTHON

    assert set(OF_CPYTHON) == NOT_IN_A_TAB
