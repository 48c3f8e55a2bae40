"""Make the wheel for browsers of the wheel for everybody.

A tab downloads the wheel and compiles its sources at each load. So the wheel for browsers leaves
out what a tab does not use: modules for CPython, the annotations of functions and variables,
imports for a type checker, comments, most of the indentation, the README, what is said below
attributes, and docstrings that ``help()`` of a public name does not show. Every line of Python
stays where it was, so a traceback in a browser tells the places of the sources; the JavaScript is
minified. ``micropip`` and ``pip`` prefer it, by its tag, where it fits; everywhere else the other
wheel is taken.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib
import inspect
import io
import re
import subprocess
import tokenize
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import zopfli

TAG = "py3-none-pyemscripten_2026_0_wasm32"
"""Of Pyodide 314, the first with ``sqlite3`` in its standard library (PEP 783)."""

OF_CPYTHON = ("owners", "rebuilding", "rescue", "sealing")
"""Modules that no tab imports."""
PUBLIC_MODULES = ("durably",)

TERSER = Path(__file__).parent.parent / "node_modules" / ".bin" / "terser"
"""From npm; ``make setup`` installs it."""

Span = tuple[int, int]
Definition = ast.FunctionDef | ast.AsyncFunctionDef
Documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def make_browser_wheel(wheel: Path) -> Path:
    """Write it beside ``wheel`` and return its path. Overwrites one that is there."""
    name, version, *_ = wheel.stem.split("-")
    made = wheel.with_name(f"{name}-{version}-{TAG}.whl")
    shown = texts_of_help(PUBLIC_MODULES)
    with zipfile.ZipFile(wheel) as whole:
        files = {info.filename: whole.read(info) for info in whole.infolist()}
    record = f"{name}-{version}.dist-info/RECORD"
    for path in (record, f"{name}/py.typed", *(f"{name}/{module}.py" for module in OF_CPYTHON)):
        files.pop(path, None)
    for path, content in files.items():
        if path.endswith(".py"):
            files[path] = slim_source(content.decode(), shown).encode()
        elif path.endswith(".js"):
            files[path] = minified(content.decode()).encode()
        elif path.endswith(".sql"):
            files[path] = re.sub(rb"(?m)^--.*\n| +(?= )", b"", content)
        elif path.endswith(".dist-info/METADATA"):
            facts = content.partition(b"\n\n")[0] + b"\n"
            files[path] = re.sub(
                rb"(?m)^(?:Classifier|Keywords|Description-Content-Type): .*\n", b"", facts
            )
        elif path.endswith(".dist-info/WHEEL"):
            files[path] = re.sub(rb"(?m)^Tag: .*$", f"Tag: {TAG}".encode(), content)
    files[record] = "".join(record_lines(files, record)).encode()
    with zopfli.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as slim:
        for path, content in files.items():
            # A fixed time, for the same bytes from the same sources.
            info = zipfile.ZipInfo(path, (2020, 2, 2, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            slim.writestr(info, content)
    return made


def record_lines(files: dict[str, bytes], record: str) -> Iterator[str]:
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        yield f"{path},sha256={digest},{len(content)}\n"
    yield f"{record},,\n"


def texts_of_help(modules: Sequence[str]) -> set[str]:
    """The summaries that somebody sees who asks for help on a public name."""
    texts: set[str] = set()
    for module in map(importlib.import_module, modules):
        public = getattr(module, "__all__", [name for name in vars(module) if name[0] != "_"])
        for thing in (module, *(getattr(module, name) for name in public)):
            members = inspect.getmembers(thing) if inspect.isclass(thing) else []
            for part in (thing, *(member for name, member in members if name[0] != "_")):
                texts.add(summary(getattr(part, "__doc__", None) or ""))
    return texts


def summary(docstring: str) -> str:
    """Its first paragraph."""
    return inspect.cleandoc(docstring).partition("\n\n")[0]


def slim_source(source: str, shown: set[str]) -> str:
    """The same program, each line in its place, with nothing in it that running it does not use.

    Raises AssertionError, SyntaxError or TokenError when what is left would be another program.
    """
    tree = ast.parse(source)
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    cut = _Cutter(source.encode(), starts)
    for node in ast.walk(tree):
        if isinstance(node, Definition):
            cut.annotations_of(node)
        if isinstance(node, Documented):
            cut.docstring_of(node, shown)
            cut.notes_in(node)
    for variable in typed_variables(tree):
        cut.annotation_of(variable)
    for block in blocks_for_types(tree):
        cut.whole(block)
    cut.comments()
    slim = narrowed(cut.done())
    assert essence(ast.parse(slim), shown) == essence(tree, shown)
    return slim


class _Cutter:
    """Collects what is to go from a source, in bytes, as the positions of ``ast`` are."""

    def __init__(self, source: bytes, starts: list[int]) -> None:
        self._source = source
        self._starts = starts
        self._spans: list[tuple[Span, bytes]] = []

    def annotations_of(self, function: Definition) -> None:
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        for argument in (*named, arguments.vararg, arguments.kwarg):
            if argument is not None and argument.annotation is not None:
                first, last = self._span(argument)
                self._cut((first + len(argument.arg.encode()), last))
        if function.returns is not None:
            first, last = self._span(function.returns)
            arrow = self._source.rindex(b"->", 0, first)
            # Between the bracket and the colon a line cannot end.
            if b"\n" not in self._source[arrow:last]:
                self._cut((len(self._source[:arrow].rstrip()), last))

    def annotation_of(self, variable: ast.AnnAssign) -> None:
        _, first = self._span(variable.target)
        _, last = self._span(variable.annotation)
        if b"\n" not in self._source[first:last]:
            self._cut((first, last))

    def whole(self, node: ast.AST) -> None:
        self._cut(self._span(node))

    def docstring_of(self, node: ast.AST, shown: set[str]) -> None:
        docstring = docstring_in(node)
        if docstring is None:
            return
        first, last = self._span(docstring)
        if summary(docstring.value.value) in shown:
            paragraph = self._source.find(b"\n\n", first, last)
            if paragraph != -1:
                self._cut((paragraph, last - len(b'"""')))
            return
        alone = len(node.body) == 1 and not isinstance(node, ast.Module)
        self._cut((first, last), b"..." if alone else b"")

    def notes_in(self, node: ast.AST) -> None:
        for note in notes_in(node):
            self._cut(self._span(note))

    def comments(self) -> None:
        for token in tokenize.tokenize(io.BytesIO(self._source).readline):
            if token.type == tokenize.COMMENT:
                line, column = token.start
                first = self._starts[line - 1] + len(token.line[:column].encode())
                self._cut((first, first + len(token.string.encode())))

    def done(self) -> str:
        text = self._source
        for (first, last), instead in sorted(self._spans, reverse=True):
            lines = text[first:last].count(b"\n")
            text = text[:first] + instead + b"\n" * lines + text[last:]
        return re.sub(r"[ \t]+$", "", text.decode(), flags=re.MULTILINE)

    def _span(self, node: ast.AST) -> Span:
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _cut(self, span: Span, instead: bytes = b"") -> None:
        self._spans.append((span, instead))


def docstring_in(node: ast.AST) -> ast.Expr | None:
    first = node.body[0] if node.body else None
    return first if is_text(first) else None


def is_text(node: ast.AST | None) -> bool:
    """Whether it is a statement that is nothing but a text."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return False
    return isinstance(node.value.value, str)


def notes_in(node: ast.AST) -> list[ast.Expr]:
    """The texts below attributes of a module, of a class and of ``self``: no code can see them."""
    return [one for one in node.body[1:] if is_text(one)]


def typed_variables(node: ast.AST, is_class: bool = False) -> Iterator[ast.AnnAssign]:
    """The assignments with an annotation, but for those of fields: a program can see these."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.AnnAssign) and child.value is not None and not is_class:
            yield child
        is_field = isinstance(child, ast.ClassDef) or (
            is_class and not isinstance(child, Definition)
        )
        yield from typed_variables(child, is_field)


def blocks_for_types(tree: ast.Module) -> list[ast.If]:
    """What a module imports for a type checker alone."""
    return [
        node
        for node in tree.body
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        and not node.orelse
    ]


def narrowed(source: str) -> str:
    """With one blank for each level, and none where a line only goes on with the one before."""
    levels: dict[int, int] = {}
    level, begins = 0, True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.INDENT, tokenize.DEDENT):
            level += 1 if token.type == tokenize.INDENT else -1
        elif token.type == tokenize.NEWLINE:
            begins = True
        elif token.type not in (tokenize.NL, tokenize.ENDMARKER):
            levels.setdefault(token.start[0], level if begins else 0)
            begins = False
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno is not None:
            for inside_text in range(node.lineno + 1, node.end_lineno + 1):
                levels.pop(inside_text, None)
    lines = source.splitlines(keepends=True)
    for number, depth in levels.items():
        lines[number - 1] = " " * depth + lines[number - 1].lstrip(" ")
    return "".join(lines)


class _Untyped(ast.NodeTransformer):
    """Makes plain assignments of those with an annotation."""

    def __init__(self, variables: Iterator[ast.AnnAssign]) -> None:
        self._variables = set(variables)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node not in self._variables or node.value is None:
            return node
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def essence(tree: ast.Module, shown: set[str]) -> tuple[str, list[tuple[str, int | None]]]:
    """What two sources have to have in common: the program, and the line of each part of it."""
    blocks = blocks_for_types(tree)
    tree.body = [node for node in tree.body if node not in blocks]
    tree = _Untyped(typed_variables(tree)).visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, Definition):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, Documented):
            notes = notes_in(node)
            node.body = [one for one in node.body if one not in notes]
            docstring = docstring_in(node)
            if docstring is None:
                continue
            docstring.value.value = summary(docstring.value.value)
            if docstring.value.value not in shown:
                nothing = ast.copy_location(ast.Expr(ast.Constant(...)), docstring)
                ast.copy_location(nothing.value, docstring)
                node.body[:1] = (
                    [] if len(node.body) > 1 or isinstance(node, ast.Module) else [nothing]
                )
    lines = [(type(node).__name__, getattr(node, "lineno", None)) for node in ast.walk(tree)]
    return ast.dump(tree), lines


def minified(script: str) -> str:
    """The same module of JavaScript in fewer bytes, by terser."""
    command = [str(TERSER), "--module", "--compress", "--mangle", "--ecma", "2022"]
    done = subprocess.run(command, input=script, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(f"terser could not read it: {done.stderr}")
    return done.stdout
