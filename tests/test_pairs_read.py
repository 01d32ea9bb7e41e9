import csv
import gzip
import io
import json
import sys
import tracemalloc
import types

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adjudge import files
from adjudge.errors import DataError, MissingExtra
from adjudge.pairs import own, rows
from adjudge.pairs.read import check, read
from adjudge.types import Pair
from tests.pairs_samples import LLMBAR, OWN, PREFERENCE_TALK, PREFERENCE_TEXT, RM_BENCH, jsonl

GOOD = OWN[0]


def line(row: object) -> bytes:
    return json.dumps(row).encode() + b"\n"


def as_csv(table: list[dict], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, sorted({k for row in table for k in row}), delimiter=delimiter)
    writer.writeheader()
    writer.writerows({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in table)
    return text.getvalue().encode()


def refused(path, **options) -> str:
    with pytest.raises(DataError) as caught:
        list(read(path, **options))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def written(tmp_path, data: bytes, name: str = "x.jsonl"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.jsonl", b"".join(map(line, OWN))),
        ("x.jsonl.gz", gzip.compress(b"".join(map(line, OWN)))),
        ("x.data", b"".join(map(line, OWN))),
        ("x.json", json.dumps(OWN).encode()),
        ("x.json", json.dumps(OWN, indent=2).encode()),
        ("x.json.gz", gzip.compress(b"\xef\xbb\xbf " + json.dumps(OWN, indent=1).encode() + b"\n\n")),
        ("x.jsonl", json.dumps(OWN).replace("}, {", "},{").encode()),
        ("x.csv", as_csv(OWN)),
        ("x.csv.gz", gzip.compress(as_csv(OWN))),
        ("x.tsv", as_csv(OWN, "\t")),
        ("x.txt", as_csv(OWN)),
    ],
)
def test_every_container_gives_the_same_pairs(tmp_path, name, data):
    want = list(read(jsonl(tmp_path / "want.jsonl", OWN)))
    got = list(read(written(tmp_path, data, name)))
    if "csv" in name or name in ("x.tsv", "x.txt"):  # a cell knows only strings
        got = [msgspec.structs.replace(p, meta={k: int(v) for k, v in p.meta.items() if v}) for p in got]
    assert got == want


def test_a_foreign_parquet_file_is_read_with_its_lists(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(RM_BENCH * 1), path)
    assert list(read(path)) == list(read(jsonl(tmp_path / "x.jsonl", RM_BENCH)))
    pq.write_table(pa.Table.from_pylist(PREFERENCE_TALK), path)
    assert list(read(path)) == list(read(jsonl(tmp_path / "x.jsonl", PREFERENCE_TALK)))


def test_csv_fields_may_hold_line_breaks_quotes_and_more_than_the_modules_own_limit(tmp_path):
    row = {"id": "a", "prompt": 'one,\r\n\n"two"', "response_a": "x" * 300_000, "response_b": "z", "gold": "B"}
    (pair,) = read(written(tmp_path, as_csv([row]), "x.csv"))
    assert (pair.prompt, len(pair.response_a or ""), pair.gold) == (row["prompt"], 300_000, "B")


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet"])
def test_what_is_written_is_read_back_without_loss(tmp_path, name):
    pairs = [
        *read(jsonl(tmp_path / "own.jsonl", OWN)),
        *read(jsonl(tmp_path / "rm.jsonl", RM_BENCH)),
        Pair(id="bare"),
        Pair(id="texts missing, right one not known", gold_index=None, gold="A", meta={"deep": {"a": [1, None, "é"]}}),
        Pair(id="unknown", prompt="p", responses=("a", "b"), gold_index=None),
        Pair(id="empty", prompt="", response_a="", response_b="", domain="d", source="s", rubric=""),
    ]
    assert own.write(tmp_path / name, pairs) == len(pairs)
    assert list(read(tmp_path / name, format="own")) == pairs


def test_pairs_are_written_whole_or_not_at_all(tmp_path):
    def failing():
        yield Pair(id="a")
        raise DataError("stop")

    for name in ("x.jsonl", "x.parquet"):
        with pytest.raises(DataError, match="stop"):
            own.write(tmp_path / name, failing())
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="written as"):
        own.write(tmp_path / "x.csv", [])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", ": is empty"),
        (b"\n \n", ": is empty"),
        (line(GOOD) + b'{"id": "b", "prompt": "p", "resp', ":2: is not valid JSON"),
        (line(GOOD) + b"\x00\x00\n", ":2: holds NUL bytes"),
        (line({**GOOD, "prompt": "a\0b"}), ":1: 'prompt' holds a NUL character"),
        (line(GOOD) + '{"id":"ä"}'.encode("latin-1"), ":2: is not UTF-8 at byte 7"),
        (json.dumps(GOOD).encode("utf-16"), ":1: "),
        (b"[" * 100_000, ":1: is nested over 100 deep"),
        (line({**GOOD, "x": json.loads("[" * 150 + "]" * 150)}), ":1: is nested over 100 deep"),
        (b'"just text"', ":1: is a string, not an object"),
        (b"%PDF-1.4 nothing\n", ":1: is not valid JSON"),
        (line({"foo": 1, "bar": 2}), ":1: is of no known format (its keys: bar, foo); known formats: records, own,"),
        (line({"id": "a", "prompt": "p", "response_a": "x"}), ":1: is of no known format; nearest is 'own', but this"),
        (line(GOOD) + line([1]), ":2: is a list, not an object"),
        (line(GOOD) + line({"id": "q2", "prompt": "p", "response_a": "x"}), ":2: has no 'response_b'; add it"),
        (line({k: v for k, v in GOOD.items() if k != "id"}), ":1: has no 'id'; give every row an id of its own"),
        (line({**GOOD, "id": ""}), ":1: has no 'id'"),
        (line({**GOOD, "id": [1]}), ":1: 'id' must be a string, not a list"),
        (line({**GOOD, "id": True}), ":1: 'id' must be a string, not true or false"),
        (line({**GOOD, "prompt": 7}), ":1: 'prompt' must be a string, not a number"),
        (line({**GOOD, "gold": "a"}), ":1: 'gold' must be 'A', 'B' or null, not 'a'; name the better"),
        (line({**GOOD, "gold": ["A"]}), ":1: 'gold' must be 'A', 'B' or null"),
        (line({**GOOD, "response_b": None}), ":1: 'response_b' is null and 'response_a' is not"),
        (line({**GOOD, "gold_index": 0}), ":1: has 'gold_index' and no 'responses'"),
        (line({**OWN[3], "responses": ["u"]}), ":1: 'responses' must hold two strings or more"),
        (line({**OWN[3], "responses": ["u", 2]}), ":1: 'responses[1]' must be a string, not a number"),
        (line({**OWN[3], "responses": "uv"}), ":1: 'responses' must be a list of strings, not a string"),
        (line({**OWN[3], "gold_index": 3}), ":1: 'gold_index' 3 names no response"),
        (line({**OWN[3], "gold_index": "1"}), ":1: 'gold_index' must be a whole number or null, not a string"),
        (line({**OWN[3], "response_a": "x"}), ":1: has both 'responses' and 'response_a'"),
        (line({**RM_BENCH[0], "chosen": ["a", "b"]}), ":1: 'chosen' must hold 3 strings, not 2"),
        (line({**LLMBAR[0], "label": 3}), ":1: 'label' must be 1 or 2, not 3"),
        (line({**PREFERENCE_TEXT[0], "chosen": 5}), ":1: 'chosen' must be a string, not a number"),
        (line({**PREFERENCE_TEXT[0], "prompt": 5}), ":1: 'prompt' must be a string or a list of messages"),
        (line({**PREFERENCE_TALK[0], "chosen": [{"role": "assistant"}]}), ":1: has no 'content'"),
    ],
)
def test_bad_json_lines_are_refused_with_line_and_remedy(tmp_path, data, says):
    assert refused(written(tmp_path, data)).startswith(says)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("x.txt", b"%PDF-1.4 nothing\n", ": is neither JSON Lines, a JSON array, CSV nor Parquet; save it"),
        ("x.json", b"[]", ": is empty"),
        ("x.json", b"[1]", ":1: element 1 is a number, not an object"),
        ("x.json", b"[" + line(GOOD) + b",\n" + line(GOOD), ":3: the JSON array does not end"),
        ("x.json", b"[" + line(GOOD) + b",]", ":2: the JSON array has an empty element"),
        ("x.json", b"[" + line(GOOD) + b"] [", ":2: has text after the end"),
        ("x.json", b"[" + line(GOOD) + b"]\n{}", ":3: has text after the end"),
        ("x.json", b'[\n{"id": }]', ":2: is not valid JSON"),
        ("x.json", b'[\n{"id": "}]', ":2: the JSON array does not end"),
        ("x.json", json.dumps([GOOD, GOOD]).encode(), ":1: element 2 the id 'q1' stands twice (first at element 1)"),
        ("x.csv", b"id,prompt\n", ": has a header and no rows"),
        ("x.csv", b"id,id,prompt\n1,2,3\n", ":1: the CSV header names a column twice"),
        ("x.csv", b"id,prompt,response_a,response_b\n1,p,a,b\n2,p,a,b,c\n", ":3: has 5 fields, the header 4"),
        ("x.csv", b'id,prompt,response_a,response_b\n1,"p\n,a,b\n', ":2: is not valid CSV"),
        ("x.csv", b'id,prompt,response_a,response_b\n1,p,"a\nb",b\n1,p,a,b\n', ":4: the id '1' stands twice (first at"),
        ("x.csv", b"id,prompt,responses,gold_index\n1,p,[oops,0\n", ":2: is not valid JSON"),
        ("x.jsonl.gz", line(GOOD), ": is named .gz and is not gzip"),
        ("x.jsonl.gz", gzip.compress(line(GOOD) * 50, mtime=0)[:60], ": cannot be read"),
        ("x.parquet", b"PAR1 and nothing more PAR1", ": cannot be read as Parquet"),
        ("x.parquet", b"plain", ": is named .parquet and is not Parquet"),
    ],
)
def test_bad_containers_are_refused_with_line_and_remedy(tmp_path, name, data, says):
    assert refused(written(tmp_path, data, name)).startswith(says)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "none.jsonl")
    assert "is a folder" in refused(tmp_path)


def test_an_empty_parquet_file_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), path)
    assert "is empty" in refused(path)


def test_a_repeated_id_names_both_lines(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [GOOD, OWN[1], {**GOOD, "prompt": "other"}])
    assert refused(path) == ":3: the id 'q1' stands twice (first at line 1); keep one of the two"


def test_two_ids_of_one_hash_are_no_repetition(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.hash", lambda value: 7)
    assert len(list(read(jsonl(tmp_path / "x.jsonl", OWN)))) == len(OWN)


@pytest.mark.parametrize("name", ["bomb.jsonl.gz", "bomb.csv.gz", "bomb.json.gz"])
def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(files, "GZIP_GRACE_BYTES", 1 << 16)
    start = b"id,prompt,response_a,response_b\n" if "csv" in name else b"[\n" if ".json." in name else b""
    path = written(tmp_path, gzip.compress(start + b"\n" * (1 << 18)), name)
    assert "200 times its size" in refused(path)


def test_a_parquet_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "GZIP_GRACE_BYTES", 1 << 10)
    path = tmp_path / "x.parquet"
    table = pa.table({"prompt": ["x" * (4 << 20)], "chosen": ["a"], "rejected": ["b"]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    assert "unpacks to over 200 times" in refused(path)


def test_a_response_of_50_mb_is_read(tmp_path):
    (pair,) = read(jsonl(tmp_path / "x.jsonl", [{**GOOD, "response_a": "y" * (50 << 20)}]))
    assert len(pair.response_a or "") == 50 << 20


def test_one_line_over_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1000)
    assert "line is over" in refused(jsonl(tmp_path / "x.jsonl", [{**GOOD, "prompt": "z" * 2000}]))
    spread = b'[{"id": "a", "prompt":\n' + b'"' + b"z" * 700 + b'",\n"response_a": "' + b"z" * 700 + b'"\n}]'
    assert "an element of the JSON array is over" in refused(written(tmp_path, spread, "x.json"))


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.parquet"])
def test_a_file_is_a_stream_whatever_holds_it(tmp_path, name):
    """16 MB of pairs pass through under 6 MB, in one row group, one array, one file of lines."""
    path = tmp_path / name
    table = [{**GOOD, "id": f"{i:05d}", "response_a": f"{i:05d}" * 1600} for i in range(2000)]
    if name == "x.parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    elif name == "x.csv":
        path.write_bytes(as_csv(table))
    else:
        jsonl(path, table) if name == "x.jsonl" else path.write_text(json.dumps(table, indent=0))
    del table
    tracemalloc.start()
    try:
        assert sum(1 for _ in read(path)) == 2000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6e6


def test_check_counts_what_the_file_holds(tmp_path):
    checked = check(jsonl(tmp_path / "x.jsonl", [*OWN, {**GOOD, "id": "n", "prompt": None}]))
    assert (checked.format, checked.count, checked.without_gold, checked.best_of_n) == ("own", 5, 1, 1)
    assert (checked.gold_a + checked.gold_b, checked.without_texts) == (4, 1)
    assert checked.domains == {"": 3, "math": 2}


def test_missing_gold_is_no_error(tmp_path):
    rows_ = [{k: v for k, v in row.items() if k != "gold"} for row in OWN[:3]]
    assert [p.gold for p in read(jsonl(tmp_path / "x.jsonl", rows_))] == [None] * 3


def test_the_hub_needs_its_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'adjudge\[hub\]'"):
        list(read("hub:org/name"))


@pytest.fixture
def hub(monkeypatch):
    """A hub client of two datasets, one with two splits."""
    module = types.ModuleType("datasets")
    module.exceptions = types.SimpleNamespace(DatasetsError=RuntimeError)
    known = {"org/one": {"train": PREFERENCE_TEXT}, "org/two": {"raw": OWN, "filtered": OWN[:2]}}

    def load_dataset(name, streaming):
        assert streaming
        if name not in known:
            raise FileNotFoundError(f"{name} is not there")
        return known[name]

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_a_hub_dataset_is_read_by_its_split(hub):
    assert len(list(read("hub:org/one"))) == len(PREFERENCE_TEXT)
    assert len(list(read("hub:org/two:filtered"))) == 2
    assert refused("hub:org/two").startswith(": has several splits; name one of raw, filtered as in hub:org/two:raw")
    assert refused("hub:org/two:test").startswith(": has no split 'test'; name one of raw, filtered")
    assert refused("hub:org/none").startswith(": cannot be read from the hub: org/none is not there")


def test_a_local_folder_is_read_through_the_hub_client(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    folder = tmp_path / "set"
    folder.mkdir()
    jsonl(folder / "train.jsonl", PREFERENCE_TEXT)
    want = list(read(folder / "train.jsonl"))
    assert list(read(f"{rows.HUB}{folder}")) == want
    assert list(read(f"{rows.HUB}{folder}:train")) == want
