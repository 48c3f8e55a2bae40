"""The samples of the README do what it says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.cpython_only  # There is no README inside Pyodide; tests/e2e runs it there.

README = Path(__file__).parents[2] / "README.md"


def samples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


async def test_first_sample_imports_a_thousand_orders_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = tmp_path / "orders.py"
    sample.write_text(samples("python")[0])
    monkeypatch.chdir(tmp_path)
    module = runpy.run_path(str(sample), run_name="orders")

    await module["main"]()

    printed = capsys.readouterr().out
    assert "imported 1000" in printed
    assert printed.count("StepComplete(") == 11
    assert (tmp_path / "shop.sqlite3").exists()


def test_sample_for_tests_makes_a_durably_on_a_disk_that_dies(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text("\n".join(samples("python")[:2]))

    module = runpy.run_path(str(sample), run_name="sample")

    assert module["durably"].name == "test"
