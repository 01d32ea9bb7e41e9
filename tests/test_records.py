"""The interchange format: what goes through a file comes back, and what is no record is named."""

import gzip
import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from adjudge import records
from adjudge.errors import DataError
from adjudge.types import Judgment, Outcome, Pair, Record

from . import records_drawn
from .recorded import FILES, recorded

ARM = dict.fromkeys(
    ("verdict_ab", "verdict_ba", "p_a", "prompt_tokens", "output_tokens", "completion_ab", "completion_ba")
)
ROW = {"id": "1", "evaluator": "e", "arms": {"x": ARM}}
FORMS = ("r.jsonl", "r.jsonl.gz", "r.parquet")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_recorded_judgments_come_back_row_for_row(file, tmp_path):
    with gzip.open(file, "rb") as lines:
        rows = [msgspec.json.decode(line) for line in lines]
    found = recorded(file.name)
    assert [records.to_row(record) for record in found] == rows
    for form in ("r.jsonl", "r.parquet"):
        out = tmp_path / form
        assert records.write(out, found) == len(rows)
        back = list(records.read(out))
        assert back == found
        assert [list(record.judgments) for record in back] == [list(row["arms"]) for row in rows]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(many=records_drawn.records)
def test_any_records_come_back_from_every_form_of_file(many, tmp_path):
    for record in many:
        row = records.to_row(record)
        assert msgspec.json.decode(msgspec.json.encode(row)) == row
        assert records.from_row(row) == record
    for form in FORMS:
        records.write(tmp_path / form, many)
        if many:
            assert list(records.read(tmp_path / form)) == many


def test_keys_beyond_the_schema_are_kept_in_their_place(tmp_path):
    row = ROW | {"arms": {"x": ARM | {"votes": [1, None]}}, "difficulty": "hard", "nested": {"b": 1, "a": 2}}
    file = tmp_path / "r.jsonl"
    file.write_text(json.dumps(row))
    [record] = records.read(file)
    assert record.pair.meta == {"difficulty": "hard", "nested": {"b": 1, "a": 2}}
    assert record.judgments["x"].extra == {"votes": [1, None]}
    back = records.to_row(record)
    assert {key: back[key] for key in row} == row


@pytest.mark.parametrize("form", FORMS)
def test_a_key_of_a_pair_that_the_schema_uses_itself_is_kept_apart(form, tmp_path):
    own = {"id": 7, "evaluator": "someone", "meta.id": 8, "meta.other": 9, "other": 1}
    judgment = Judgment(arm="x", ab=Outcome.A, extra={"p_a": "high", "extra.p_a": 1, "other": 2})
    record = Record(pair=Pair(id="1", meta=own), evaluator="e", judgments={"x": judgment})
    records.write(tmp_path / form, [record])
    assert list(records.read(tmp_path / form)) == [record]


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("completion", [None, "", "text"])
def test_every_outcome_is_told_from_an_order_that_was_not_run(outcome, completion):
    judgment = Judgment(arm="x", ab=outcome, completion_ab=completion)
    record = Record(pair=Pair(id="1"), evaluator="e", judgments={"x": judgment})
    assert records.from_row(records.to_row(record)) == record
    assert records.from_row(records.to_row(record)).judgments["x"].ba is None


def test_numbers_keep_their_kind_and_every_digit(tmp_path):
    line = json.dumps(ROW | {"arms": {"x": ARM | {"prompt_tokens": 4, "output_tokens": 4.5, "p_a": 0.1 + 0.2}}})
    (tmp_path / "r.jsonl").write_text(line)
    records.write(tmp_path / "s.jsonl", records.read(tmp_path / "r.jsonl"))
    assert '"prompt_tokens":4,"output_tokens":4.5' in (tmp_path / "s.jsonl").read_text()
    assert '"p_a":0.30000000000000004' in (tmp_path / "s.jsonl").read_text()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([], "Expected `object`"),
        ({}, "missing required field `id`"),
        (ROW | {"arms": {"x": {}}}, "missing required field `verdict_ab`"),
        (ROW | {"id": 1}, "Expected `str`, got `int` - at `$.id`"),
        (ROW | {"gold": "C"}, "Invalid enum value 'C' - at `$.gold`"),
        (ROW | {"gold_index": -1}, "`int` >= 0"),
        (ROW | {"arms": {"x": ARM | {"verdict_ab": "a"}}}, "Invalid enum value 'a'"),
        (ROW | {"arms": {"x": ARM | {"p_a": 1.5}}}, "<= 1"),
        (ROW | {"arms": {"x": ARM | {"output_tokens": -1}}}, ">= 0"),
        (ROW | {"arms": {"x": ARM | {"output_tokens": 10**30}}}, "<= 9007199254740992"),
        (ROW | {"arms": {"x": ARM | {"cost_usd": -0.1}}}, ">= 0"),
        (ROW | {"arms": {"x": ARM | {"verdict_ab": "A", "outcome_ab": "failed"}}}, "exclude each other"),
    ],
)
def test_what_is_no_record_is_named_by_line_and_field(row, says, tmp_path):
    file = tmp_path / "r.jsonl"
    file.write_text(json.dumps(ROW | {"id": "0"}) + "\n\n" + json.dumps(row) + "\n")
    stream = records.read(file)
    assert next(stream).pair.id == "0"
    with pytest.raises(DataError) as caught:
        next(stream)
    assert str(caught.value).startswith(f"{file}:3: is no record: ")
    assert says in str(caught.value)


def test_one_id_may_stand_once_for_each_evaluator(tmp_path):
    file = tmp_path / "r.jsonl"
    rows = [ROW, ROW | {"evaluator": "f"}, ROW]
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"r.jsonl:3: id '1' stands twice for evaluator 'e' \(first at 1\); keep one"):
        list(records.read(file))


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_written_whole_or_not_at_all(form, tmp_path):
    out = tmp_path / form
    records.write(out, [Record(pair=Pair(id="before"), evaluator="e", judgments={})])
    before = out.read_bytes()

    def breaks():
        yield Record(pair=Pair(id="1"), evaluator="e", judgments={})
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        records.write(out, breaks())
    with pytest.raises(DataError, match=r"r\..*: cannot hold"):
        records.write(out, [Record(pair=Pair(id="\ud83e"), evaluator="e", judgments={})])
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("content", [b"", b"PAR1", b'{"id": "1"}\n', b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_what_is_no_parquet_is_one_error(content, tmp_path):
    file = tmp_path / "r.parquet"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"r\.parquet: .*Parquet") as caught:
        list(records.read(file))
    assert "\n" not in str(caught.value)


def test_a_parquet_file_of_something_else_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for table, says in (
        ({"id": ["1"]}, "no column `arms`"),
        ({"id": ["1"], "arms": ["text"]}, "no column `arms`"),
        ({"id": pa.array([], pa.string())}, "is empty"),
        ({"id": ["1"], "evaluator": ["e"], "arms": [[("x", {"p_a": 1.0})]]}, "missing required field"),
        ({"id": ["1"], "arms": [[]], "other": ["[" * 200 + "]" * 200]}, "nested"),
        ({"id": ["1"], "arms": [[]], "other": ["7"]}, "no JSON object"),
    ):
        columns = {k: v for k, v in table.items() if k != "arms"}
        schema = None
        if isinstance(table.get("arms"), list) and table["arms"] != ["text"]:
            schema = pa.map_(pa.string(), pa.struct([("p_a", pa.float64())]))
        arms = {} if "arms" not in table else {"arms": pa.array(table["arms"], schema)}
        pq.write_table(pa.table(columns | arms), tmp_path / "r.parquet")
        with pytest.raises(DataError, match=says):
            list(records.read(tmp_path / "r.parquet"))


def test_a_parquet_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "r.parquet"
    records.write(
        file, [Record(pair=Pair(id=str(i), prompt="x" * 10_000), evaluator="e", judgments={}) for i in range(9)]
    )
    assert len(list(records.read(file))) == 9
    monkeypatch.setattr("adjudge.files.GZIP_GRACE_BYTES", 0)
    monkeypatch.setattr("adjudge.files.MAX_GZIP_RATIO", 0.1)
    with pytest.raises(DataError, match="unpacks to over"):
        list(records.read(file))
