"""Laws: whatever stands in a file, it is read or refused in one line; what was read can be written and read again."""

import gzip
import io
import json
import string
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adjudge.errors import AdjudgeError, DataError
from adjudge.pairs import json_array, own
from adjudge.pairs.formats import FORMATS
from adjudge.pairs.outputs import read_outputs
from adjudge.pairs.read import read
from adjudge.types import Pair
from tests.pairs_samples import ALPACA_ONE, ALPACA_TWO, SAMPLES, arena

KEYS = sorted(
    {key for form in FORMATS.values() for key in form.keys.split()} | {"gold", "gold_index", "rubric", "meta"}
)
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".csv.gz", "")
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
values = st.recursive(
    scalars | st.sampled_from(["A", "B", "A>B", "1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=8,
)
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
many = settings(some, max_examples=200)


def read_or_refused(path: Path, **options) -> list[Pair]:
    try:
        return list(read(path, **options))
    except AdjudgeError as error:
        assert isinstance(error, DataError)
        assert str(error).startswith(str(path))
        return []


def mutated(data: bytes, place: float, what: bytes, cut: bool) -> bytes:
    at = int(place * len(data))
    return data[:at] + what + (b"" if cut else data[at + len(what) :])


@given(rows=st.lists(st.dictionaries(st.sampled_from(KEYS), values, max_size=9) | values, max_size=4))
@some
def test_any_rows_are_read_or_refused(tmp_path, rows):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read_or_refused(path)
    for name in FORMATS:
        read_or_refused(path, format=name, as_pairs=True)


@given(form=st.sampled_from(sorted(SAMPLES)), key=st.integers(0, 20), value=values, row=st.integers(0, 3))
@many
def test_a_sample_with_any_value_in_any_field_is_read_or_refused(tmp_path, form, key, value, row):
    rows = [dict(one) for one in SAMPLES[form][0][:4]]
    changed = rows[row % len(rows)]
    changed[sorted(changed)[key % len(changed)]] = value
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    read_or_refused(path, format=form)
    read_or_refused(path)


@given(data=st.binary(max_size=300), suffix=st.sampled_from(SUFFIXES), packed=st.booleans())
@many
def test_any_bytes_are_read_or_refused(tmp_path, data, suffix, packed):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(data) if packed else data)
    read_or_refused(path)


def table() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(SAMPLES["preference"][0]), buffer)
    return buffer.getvalue()


PREFERENCE = SAMPLES["preference"][0]
WHOLE = {
    ".jsonl": "".join(json.dumps(row) + "\n" for row in PREFERENCE).encode(),
    ".json": json.dumps(PREFERENCE, indent=1).encode(),
    ".csv": ("prompt,chosen,rejected\n" + "".join(f'"{r["prompt"]}",x,y\n' for r in PREFERENCE)).encode(),
    ".parquet": table(),
    ".jsonl.gz": gzip.compress("".join(json.dumps(row) + "\n" for row in PREFERENCE).encode()),
}


@pytest.mark.parametrize("suffix", WHOLE)
@given(place=st.floats(0, 1), what=st.binary(max_size=3), cut=st.booleans())
@some
def test_a_damaged_file_is_read_or_refused(tmp_path, suffix, place, what, cut):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(mutated(WHOLE[suffix], place, what, cut))
    read_or_refused(path)


@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["uid", "model", "messages", "instruction", "output"]), values), max_size=4
    )
)
@some
def test_any_answers_are_paired_or_refused(tmp_path, rows):
    one, other = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    for known in (ALPACA_ONE[:3], ALPACA_TWO[:3], arena("m")):
        one.write_text("".join(json.dumps(row) + "\n" for row in known))
        other.write_text("".join(json.dumps(row) + "\n" for row in rows))
        for paths in ((one, other), (other, one)):
            try:
                list(read_outputs(*paths))
            except DataError as error:
                assert str(error).startswith((str(one), str(other)))


@given(value=st.lists(values, max_size=5), indent=st.sampled_from([None, 0, 1]), cut=st.floats(0, 1))
@many
def test_an_array_is_split_as_a_parser_reads_it(value, indent, cut):
    text = json.dumps(value, indent=indent).encode()
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), 1)]
    assert [json.loads(element) for _, element in json_array.elements(lines, "x")] == value
    half = text[: int(cut * len(text))].rstrip()
    if half.startswith(b"[") and half != text:
        with pytest.raises(DataError):
            list(json_array.elements([(i, line.strip()) for i, line in enumerate(half.splitlines(), 1)], "x"))


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
plain = st.builds(
    Pair,
    id=words.filter(bool),
    prompt=words,
    response_a=words,
    response_b=words,
    gold=st.sampled_from(["A", "B", None]),
    domain=words,
    source=words,
    rubric=st.none() | words,
    meta=st.dictionaries(
        st.text(string.ascii_lowercase, min_size=1, max_size=3), st.none() | st.integers(0, 9) | words
    ),
)


@given(pairs=st.lists(plain, min_size=1, max_size=5, unique_by=lambda p: p.id))
@some
def test_what_is_written_is_what_is_read(tmp_path, pairs):
    pairs = [p for p in pairs if not {"id", "arms"} & p.meta.keys()] or [Pair(id="a")]
    for name in ("x.jsonl", "x.jsonl.gz", "x.parquet"):
        own.write(tmp_path / name, pairs)
        assert list(read(tmp_path / name)) == pairs
