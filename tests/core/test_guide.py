"""The samples of the guide do what it says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from durably import Durably

pytestmark = pytest.mark.cpython_only  # There is no guide inside Pyodide.

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"


@pytest.fixture
def guide(tmp_path: Path) -> dict[str, Any]:
    """All samples as one module."""
    samples = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    module = tmp_path / "guide.py"
    module.write_text("\n".join(samples))
    return runpy.run_path(str(module), run_name="guide")


def opened(guide: dict[str, Any], folder: Path, **options: Any) -> Durably:
    jobs = [guide[name] for name in ("summarise", "translate", "publish", "expensive")]
    return Durably("guide", jobs=jobs, directory=folder, labels=guide["Labels"], **options)


async def test_samples_of_the_guide(guide: dict[str, Any], tmp_path: Path) -> None:
    async with opened(guide, tmp_path) as durably:
        await guide["triggering"](durably)
        await guide["waiting"](durably)
        await guide["looking"](durably)
        await guide["looking_after_it"](durably)
        translated = await durably.trigger(guide["translate"]("hi"))

        assert await translated.result() == {"french": "HI (FR)", "german": "HI (DE)"}
        assert await guide["following"](durably, translated.run) == ["run:complete"]


async def test_sample_of_driving_by_hand(guide: dict[str, Any], tmp_path: Path) -> None:
    async with opened(guide, tmp_path, autostart=False) as durably:
        await guide["in_a_script"](durably)


async def test_sample_of_moving(guide: dict[str, Any], tmp_path: Path) -> None:
    async with (
        opened(guide, tmp_path / "here", autostart=False) as durably,
        opened(guide, tmp_path / "there") as elsewhere,
    ):
        await guide["moving"](durably, elsewhere)
