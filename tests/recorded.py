"""The recorded judgments beside the checkout, read where they lie and once for all tests."""

from functools import cache
from pathlib import Path

import pytest

from adjudge import records
from adjudge.types import Record

DATA = Path(__file__).parents[2] / "shared" / "data"
_absent = pytest.mark.skip(reason="the recorded judgments are not beside this checkout")
FILES = sorted(DATA.glob("records_*.jsonl.gz")) or [pytest.param(DATA / "records_none.jsonl.gz", marks=_absent)]


@cache
def recorded(name: str) -> list[Record]:
    return list(records.read(DATA / name))
