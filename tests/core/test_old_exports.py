"""Files that were written once are read for ever: here, and with what docs/export-format.md says.

A file of a format that was released is never made anew.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from durably import Step, WrongPassphrase, job
from tests.core.kit import Tab, only_wait

FORMAT_1 = """
ZHVyYWJseS1leHBvcnQKeyJmb3JtYXQiOiAxLCAia2luZCI6ICJydW5zIiwgInNjaGVtYSI6IDIsICJjcmVhdGVkX2F0Ijog
MTc1MDAwMDAwMDAwMH0KeJy9Vcty2zAMvPcrPDz7QMlW/Dj2NyKPBxQhlQ1NakiqqavxvxcUHT8Suc1kEutEEhR2FwJWPXOd
YeueKcnWjGerxWKec1lxvuIcapEthMx5LZezfFmv2JT9tIIuNg4x0E6Ztgu070tmYIclW5fsjy07zlGU7EA3fIDQebpS2V2r
MaCMr0nctTagqfbbJ9xTtFbOx4SVNVXn3DliOq2nTINA7RNQQNgR0KRkDmUC0Qgetw0adBCUJUF55BbQua6NB/Qqj1yw9VsI
28vQEGmdJUk+Ijxm00k+pew/QNcl21B624Uks2RiTyLpiF637oVd5RBIGGVm62xR8NMzyHc3QqeCjAWfMFJNwJH84cierR/7
odTERlv7NOlaYtNar5KWbMogBKpuGNaj1X+Rk8hfKfkY3cPmhBoJ0u4ZVEhc3/QVSDFfiiUWkBdLATjP6jmROmoC45/RXUki
7B0GkBAgNUBt3Uij/eMjSASplcEhloQq6oNIkgoS60QlIX2RgFeNAR0bd1hsB/4+EoK9tiCvusBjCPpWRbRtUglGGGn8hZpS
KVNbFvV5D02EF9goE+HOcm8OFrZJzWF6B4zN4Vt/0ysgq+JKrnJZS8lnFS/gXV7x2iTiJ1GmGbUIj2QOcswjWMUuLWLcEbKv
cISREfoMM0iZ7uEB1Mzf3xraHWzggfNMVLN5MRMPQmQrPl8VH7OBT53/o/7z7KeD0/Af4xdzn6bjC8b9xgwOHd+/mq3rnyiN
6fa9/3P83Srq87OU/2CcpnAU5IYRjID8BdymqIivnlOOdMUkyDUG8DWnP+bGpzIIW9fLH/z5md6Hr9SOmw==
"""
FORMAT_1_ENCRYPTED = """
ZHVyYWJseS1leHBvcnQKeyJmb3JtYXQiOiAxLCAia2luZCI6ICJydW5zIiwgInNjaGVtYSI6IDIsICJjcmVhdGVkX2F0Ijog
MTc1MDAwMDAwMDAwMCwgImVuY3J5cHRpb24iOiB7ImNpcGhlciI6ICJBRVMtMjU2LUdDTSIsICJrZXkiOiAiUEJLREYyLUhN
QUMtU0hBMjU2IiwgIml0ZXJhdGlvbnMiOiA2MDAwMDAsICJzYWx0IjogImUxMWRhY2Y1NzQwNDNkZjJmOTFlZTAwNjVhZjY0
OGU3IiwgIm5vbmNlIjogIjVlZDQ2ZWRjOTc4OTQzZTA4NTRlYWJiMiJ9fQrgv321N2g02+9/gvTI8y4Dpexs+Y1PxbkX+2IY
BEmIPELm4B7oVTD5wGBD2W0ayDCoOczp2+LG+UN3HSGnNc1h7wowJMrliId9WarLDEW30PSIOjK0FeEnXfqZiuj18jvESw2l
7ZWfmLn2Cox64kcokP3VjPh5jgAYRaSbWBFJXkbTya9BxQlcRdkfX95vB2UlXOKSSkmjcJTW8M04612r2lFFBMCfROmAwl1p
BPDGDzoocaP4Xns+tRmnyo66u8K5KorrtkP2YMj2aZo1steF9vWYNEDEA8r84tZ+wXANvyspmrFYrV3Z8G8hptmquDAM6f75
ZXAMSdqFKsUdBrQhTG/utzZL2oD5shn5J7Uy2kvfiJSGawtaoX3hkroOiK78FmZ9p3yF7wpVXwIPtR5jTSjMu4TYHTPmRjn4
xif68I5WxGMTw1Z6hwc4uhbbsXVfs+mj8Pj+xM/1aXAdbyegsgELh3hzDbiq70AIJJ7DwMWIUpNRuI3Z18qqVmf4beNyOqOQ
Zsaroi1gbRBL9PT+njA64TM7WSeiK7f4ljt0h2vl/xAhwKlZRmclKxOHQjTomnGzsiLtQOy6oK0AR5017/2a822lSJ1rv96S
UHMfShQmLG308VajZ5IhzK5OAQKUFxloCRfLIT3sBC0mPqXpCrc66A88t6IRdXn0hibgXjDPPj3msYGSaXe/IVCHaQC+aM6P
CTqjlBVzteyKo2Btc30aorbEiq04o5/EHZyKk2qXD+D0cYm+UnGNtmmSwJhDkihUDaZLoDV0la9275QOlPgsbXga/rERd4Za
6vVbrg5KCUGoejf4lbhsfzccQO02l4usmjxXoROU5lYOfw==
"""
PASSPHRASE = "zo\u00eb's horse"
ENDED = "01977420dc00900afb17bd20fd8328f9"
WAITING = "01977420dc00a1c420dd92dfdd03c05a"
LOOKED_UP: list[str] = []


def look_up(name: str) -> str:
    LOOKED_UP.append(name)
    return name.upper()


@job
async def greet(step: Step, name: str) -> object:
    """The job whose runs the files hold."""
    await step.run("look up", look_up, name)
    wait = await step.prepare_wait("answer", metadata={"for": name})
    return (await step.wait_for(wait)).payload


@pytest.mark.parametrize(
    ("file", "passphrase"), [(FORMAT_1, None), (FORMAT_1_ENCRYPTED, PASSPHRASE)]
)
async def test_runs_of_an_old_file_go_on(tab: Tab, file: str, passphrase: str | None) -> None:
    LOOKED_UP.clear()
    async with tab.durably(greet) as durably:
        report = await durably.import_(base64.b64decode(file), passphrase=passphrase)
        ended = await durably.get_run(ENDED)
        wait = await only_wait(durably, WAITING)
        await durably.signal(wait.id, "at last")

        assert report.created == (ENDED, WAITING)
        assert (ended.output, ended.labels, ended.input) == (
            "bye",
            {"team": "red"},
            {"name": "zo\u00eb"},
        )
        assert [line.message for line in await durably.get_logs(ENDED)] == ["begins", "begins"]
        assert (await durably.trigger(greet("zo\u00eb"), idempotency_key="first")).id == ENDED
        assert await durably.result(WAITING) == "at last"
        assert LOOKED_UP == []


async def test_old_file_keeps_its_secret(tab: Tab) -> None:
    async with tab.durably(greet) as durably:
        with pytest.raises(WrongPassphrase):
            await durably.import_(base64.b64decode(FORMAT_1_ENCRYPTED), passphrase="a horse")


@pytest.mark.cpython_only  # There are no docs inside Pyodide.
def test_reader_in_the_description_of_the_format_reads_a_file() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "export-format.md").read_text()
    found: dict[str, Any] = {}
    for sample in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        exec(sample, found)

    header, lines = found["read_export"](base64.b64decode(FORMAT_1))

    assert (header["kind"], header["format"]) == ("runs", 1)
    assert [line["run"]["id"] for line in lines[:2]] == [ENDED, WAITING]
    assert [line["key"]["run_id"] for line in lines[2:]] == [ENDED, WAITING]
