"""adjudge import and export, as they are typed."""

import json

import pytest
from click.testing import CliRunner

from adjudge import records
from adjudge.__main__ import main, program
from adjudge.errors import AdjudgeError
from adjudge.store.store import Store
from adjudge.types import Judgment, Outcome, Pair, Record


def some(first: int, last: int, evaluator: str = "e") -> list[Record]:
    judgment = Judgment(arm="x", ab=Outcome.A, ba=Outcome.TRUNCATED, completion_ab="[[A]]", completion_ba="")
    return [
        Record(pair=Pair(id=str(i), prompt="p", gold="A"), evaluator=evaluator, judgments={"x": judgment})
        for i in range(first, last)
    ]


def adjudge(*args: object) -> str:
    """What the command prints. Raises what it raises."""
    shown = CliRunner().invoke(program, list(map(str, args)), catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    return shown.stdout


@pytest.mark.parametrize("form", ["r.jsonl", "r.jsonl.gz", "r.parquet"])
def test_what_is_imported_is_exported(store_url, form, tmp_path):
    records.write(tmp_path / "one.jsonl", some(0, 3))
    records.write(tmp_path / "two.parquet", some(1, 2, "f"))
    shown = adjudge("import", tmp_path / "one.jsonl", tmp_path / "two.parquet", "--store", store_url)
    assert shown == (
        f"{tmp_path / 'one.jsonl'}: 3 records added, 0 were there already\n"
        f"{tmp_path / 'two.parquet'}: 1 records added, 0 were there already\n"
    )
    assert adjudge("export", tmp_path / form, "--store", store_url) == f"4 records written to {tmp_path / form}\n"
    assert list(records.read(tmp_path / form)) == [*some(0, 3), *some(1, 2, "f")]
    adjudge("export", tmp_path / form, "--store", store_url, "--evaluator", "f")
    assert list(records.read(tmp_path / form)) == some(1, 2, "f")


def test_json_is_one_object(tmp_path):
    records.write(tmp_path / "r.jsonl", some(0, 3))
    store = str(tmp_path / "s.db")
    for added, there in ((3, 0), (0, 3)):
        shown = json.loads(adjudge("import", tmp_path / "r.jsonl", "--store", store, "--json"))
        files = [{"file": str(tmp_path / "r.jsonl"), "added": added, "already_there": there}]
        assert shown == {"store": store, "files": files}
    shown = json.loads(adjudge("export", tmp_path / "o.jsonl", "--store", store, "--json"))
    assert shown == {"store": store, "out": str(tmp_path / "o.jsonl"), "records": 3}


def test_a_bad_row_is_named_and_no_store_is_made(tmp_path):
    records.write(tmp_path / "good.jsonl", some(0, 3))
    (tmp_path / "bad.jsonl").write_bytes((tmp_path / "good.jsonl").read_bytes() + b'{"id": "half')
    with pytest.raises(AdjudgeError, match=r"bad.jsonl:4: is not valid JSON"):
        adjudge("import", tmp_path / "good.jsonl", tmp_path / "bad.jsonl", "--store", tmp_path / "s.db")
    assert not (tmp_path / "s.db").exists()


def test_a_file_that_contradicts_the_store_leaves_it_as_it_was(tmp_path):
    store = str(tmp_path / "s.db")
    records.write(tmp_path / "one.jsonl", some(0, 3))
    adjudge("import", tmp_path / "one.jsonl", "--store", store)
    other = Record(pair=Pair(id="2", prompt="another"), evaluator="g", judgments={})
    records.write(tmp_path / "two.jsonl", [*some(3, 6), other])
    with pytest.raises(AdjudgeError, match="id '2' comes with another prompt"):
        adjudge("import", tmp_path / "two.jsonl", "--store", store)
    with Store.open(store, create=False) as opened:
        assert list(opened.records()) == some(0, 3)


@pytest.mark.parametrize("name", ["out.csv", "s.db", "out"])
def test_an_export_that_is_named_like_something_else_is_refused(tmp_path, name):
    records.write(tmp_path / "r.jsonl", some(0, 3))
    adjudge("import", tmp_path / "r.jsonl", "--store", tmp_path / "s.db")
    before = (tmp_path / "s.db").read_bytes()
    shown = CliRunner().invoke(program, ["export", str(tmp_path / name), "--store", str(tmp_path / "s.db")])
    assert shown.exit_code == 2
    assert f"{name}: records are written as .jsonl, " in shown.stderr
    assert (tmp_path / "s.db").read_bytes() == before


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:hunter2@127.0.0.1:1/x",
        "postgresql://ann@127.0.0.1:1/x?password=hunter2",
        "postgresql://ann:hunter2@[::1/x",
        "postgresql://ann:hunter2@host:port/x",
        "mysql://ann:hunter2@host/x",
    ],
)
def test_a_password_is_shown_nowhere(tmp_path, capsys, address):
    records.write(tmp_path / "r.jsonl", some(0, 1))
    for args in (["import", str(tmp_path / "r.jsonl")], ["export", str(tmp_path / "o.jsonl")]):
        with pytest.raises(SystemExit) as ended:
            main([*args, "--store", address])
        shown = capsys.readouterr()
        assert ended.value.code == 2
        assert shown.err.count("\n") == 1
        assert "hunter2" not in shown.out + shown.err
    assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]
