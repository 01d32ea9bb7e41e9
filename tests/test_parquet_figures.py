"""Parquet without the texts: the same records as with them, whatever the file holds."""

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from adjudge import parquet, records
from adjudge.errors import DataError
from adjudge.store.sources import without_texts
from adjudge.types import Judgment, Outcome, Pair, Record

from . import records_drawn
from .judgments import record
from .recorded import FILES, recorded

X = Judgment(arm="x", ab=Outcome.A, completion_ab="[[A]]", output_tokens=3, scores=((1.0, 2.5), ()))


def light(path) -> list[Record]:
    return list(records.read(path, texts=False))


@pytest.fixture
def columns_only(monkeypatch):
    """Going row by row is a failure."""

    def refuse(*_):
        raise AssertionError("was read row by row")

    monkeypatch.setattr(parquet, "_rows", refuse)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_recorded_judgments_are_the_same_by_column_without_their_texts(file, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "FIGURE_ROWS", 100)
    found = recorded(file.name)
    records.write(tmp_path / "r.parquet", found)
    assert light(tmp_path / "r.parquet") == [without_texts(r) for r in found]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many=records_drawn.records)
def test_any_records_are_the_same_by_column_and_by_row(many, tmp_path):
    records.write(tmp_path / "r.parquet", many)
    if many:
        assert list(map(without_texts, light(tmp_path / "r.parquet"))) == list(map(without_texts, many))


@pytest.mark.usefixtures("columns_only")
def test_what_adjudge_writes_is_read_by_column(tmp_path):
    pair = Pair(id="p", gold="B", rubric="be fair", gold_index=None, meta={"level": 3, "by": None}, prompt="text")
    one = Record(
        pair=pair, evaluator="e", judgments={"x": X, "y": Judgment(arm="y", ba=Outcome.TRUNCATED, error="cut")}
    )
    two = Record(pair=Pair(id="q", gold_index=2), evaluator="e", judgments={})
    records.write(tmp_path / "r.parquet", [one, two])
    assert light(tmp_path / "r.parquet") == [without_texts(one), without_texts(two)]


@pytest.mark.usefixtures("columns_only")
def test_an_order_without_a_verdict_is_unread_where_it_has_a_completion_and_not_run_where_it_has_none(tmp_path):
    def said(number: int, ab: str | None, ba: str | None) -> Record:
        outcomes = {"ab": None if ab is None else Outcome.UNREAD, "ba": None if ba is None else Outcome.UNREAD}
        judgment = Judgment(arm="x", **outcomes, completion_ab=ab, completion_ba=ba)
        return Record(pair=Pair(id=str(number)), evaluator="e", judgments={"x": judgment})

    whole = [said(i, "?", "?") for i in range(parquet.BATCH_ROWS)]
    mixed = [said(1000 + i, "?" if i % 2 else None, None) for i in range(10)]
    records.write(tmp_path / "r.parquet", whole + mixed)
    assert light(tmp_path / "r.parquet") == [without_texts(r) for r in whole + mixed]


def test_after_a_batch_that_is_not_plain_every_record_still_comes_once_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "FIGURE_ROWS", 50)
    monkeypatch.setattr(parquet, "BATCH_ROWS", 120)
    many = [record(i, "A", x="A?") for i in range(400)]
    for odd in (0, 60, 130, 399):
        extra = msgspec.structs.replace(X, extra={"votes": odd})
        found = [*many[:odd], msgspec.structs.replace(many[odd], judgments={"x": extra}), *many[odd + 1 :]]
        records.write(tmp_path / "r.parquet", found)
        assert [without_texts(r) for r in light(tmp_path / "r.parquet")] == [without_texts(r) for r in found]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("verdict_ab", "a", "Invalid enum value 'a'"),
        ("outcome_ab", "failed", "exclude each other"),
        ("output_tokens", -1.0, ">= 0"),
        ("p_a", float("nan"), "p_a"),
        ("p_a", 1.5, "<= 1"),
        ("scores", [None], "got `null`"),
        ("scores", [[1.0, None]], "got `null`"),
    ],
)
def test_what_is_no_record_is_named_by_row_and_field_all_the_same(tmp_path, field, value, says):
    arm = {"verdict_ab": "A", field: value}
    rows = [
        {"id": str(i), "evaluator": "e", "source": "", "domain": "", "arms": [("x", arm if i else {})]} for i in (0, 1)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=parquet._SCHEMA), tmp_path / "r.parquet")
    with pytest.raises(DataError, match=r"r\.parquet:2: is no record: ") as caught:
        light(tmp_path / "r.parquet")
    assert says in str(caught.value)


def test_a_file_that_another_program_wrote_is_read_row_by_row(tmp_path):
    records.write(tmp_path / "r.parquet", [record(i, "A", x="AB") for i in range(5)])
    table = pq.read_table(tmp_path / "r.parquet")
    large = table.set_column(0, "id", table.column("id").cast(pa.large_string()))
    pq.write_table(large, tmp_path / "s.parquet")
    assert light(tmp_path / "s.parquet") == light(tmp_path / "r.parquet")
