"""What the benchmarks found: tables of figures, printed for a terminal and written for docs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MARKS = {True: "", False: "missed", None: ""}


@dataclass(frozen=True)
class Figure:
    """One line of a table. ``met`` says whether the aim holds; None where there is none."""

    name: str
    value: str
    aim: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Table:
    """Figures that were taken together; ``note`` says how, in a sentence or two."""

    title: str
    note: str
    figures: Sequence[Figure]


def at_most(name: str, value: float, aim: float, form: str = "{:.2f}") -> Figure:
    return Figure(name, form.format(value), f"<= {form.format(aim)}", value <= aim)


def at_least(name: str, value: float, aim: float, form: str = "{:,.0f}") -> Figure:
    return Figure(name, form.format(value), f">= {form.format(aim)}", value >= aim)


def as_text(tables: Sequence[Table]) -> str:
    """For a terminal: columns that line up."""
    width = max(len(figure.name) for table in tables for figure in table.figures)
    lines: list[str] = []
    for table in tables:
        lines += ["", table.title]
        for figure in table.figures:
            line = f"  {figure.name:{width}}  {figure.value:>12}  {figure.aim:<12} "
            lines.append((line + MARKS[figure.met]).rstrip())
    return "\n".join(lines[1:])


def as_markdown(tables: Sequence[Table]) -> str:
    """For ``docs/benchmarks.md``, below its head."""
    blocks: list[str] = []
    for table in tables:
        rows = [
            f"| {figure.name} | {figure.value} | {figure.aim} | {MARKS[figure.met]} |"
            for figure in table.figures
        ]
        blocks.append(
            "\n".join(
                [
                    f"## {table.title}",
                    "",
                    table.note,
                    "",
                    "| | | aim | |",
                    "|---|--:|--:|---|",
                    *rows,
                ]
            )
        )
    return "\n\n".join(blocks) + "\n"
