"""What an act costs, in counts that do not depend on the machine; and how a change is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Cost = Mapping[str, int]
"""How often something was done, by its name."""


def difference(after: Cost, before: Cost) -> Cost:
    return {name: after[name] - before[name] for name in after}


def check_cost(act: str, found: Cost, expected: Cost, places: Collection[str] = ()) -> None:
    """Raise AssertionError unless ``act`` costs exactly what the table of its test says.

    ``places`` are where the costs of the whole test were caused, as far as that is known.
    """
    if found == expected:
        return
    width = max(len(name) for name in (*expected, *found))
    lines = [f"{act} does not cost what it did:", "", f"{'':{width}}  expected  found"]
    for name in sorted({*expected, *found}):
        was, is_now = expected.get(name, 0), found.get(name, 0)
        change = "" if was == is_now else "  more" if is_now > was else "  less"
        lines.append(f"{name:{width}}  {was:8}  {is_now:5}{change}")
    lines += [
        "",
        "Less: write the new number into the table of this test, with the change that saved it.",
        "More: find out what is done more often than it has to be. Where nothing is, write the new",
        "number into the table, and into the message of the commit what it buys.",
    ]
    if places:
        lines += ["", "Caused in the whole of this test:", *places]
    raise AssertionError("\n".join(lines))
