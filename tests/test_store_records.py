"""Whole records into a store and out of it."""

import tracemalloc

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from adjudge import records
from adjudge.errors import DataError, StoreError
from adjudge.store.sources import is_store, open_records, without_texts
from adjudge.store.store import Claim, Store
from adjudge.types import Judgment, Outcome, Pair, Record

from . import records_drawn
from .recorded import DATA, FILES, recorded
from .stored import ARMS, bought, count, judgment, pair, wanted


@pytest.fixture
def store(store_url: str):
    with Store.open(store_url) as opened:
        yield opened


def record(number: int, evaluator: str = "ev", fields: dict | None = None, **arms: Outcome) -> Record:
    judgments = {arm: Judgment(arm=arm, ab=outcome, completion_ab="so") for arm, outcome in arms.items()}
    return Record(pair=pair(number, **(fields or {})), evaluator=evaluator, judgments=judgments)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_recorded_judgments_come_back_row_for_row(file, tmp_path):
    found = recorded(file.name)
    with Store.open(str(tmp_path / "s.db")) as store:
        assert store.import_records(found, file.name) == (len(found), 0)
        back = list(store.records())
        assert back == found
        assert [list(r.judgments) for r in back] == [list(r.judgments) for r in found]


def test_recorded_judgments_of_all_files_come_back_from_one_store(store_url):
    if not DATA.exists():
        pytest.skip("the recorded judgments are not beside this checkout")
    step = 1 if store_url.endswith(".db") else 5  # inserting is five times as slow on PostgreSQL
    files = [recorded(file.name)[::step] for file in FILES]
    everything = [r for found in files for r in found]
    with Store.open(store_url) as store:
        for found in files:
            assert store.import_records(found, "file") == (len(found), 0)
        assert store.import_records(files[0], "file") == (0, len(files[0]))
        assert list(store.records()) == everything
        bare = [without_texts(r) for r in everything]
        for evaluator in store.evaluators():
            assert list(store.records(evaluator, texts=False)) == [r for r in bare if r.evaluator == evaluator]


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_any_records_come_back(kind, request, tmp_path):
    if kind == "sqlite":
        urls = (str(tmp_path / f"{i}.db") for i in range(10**6))
    else:
        server = request.getfixturevalue("postgres_server")
        urls = _schemas(server)

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(many=records_drawn.records)
    def check(many):
        with Store.open(next(urls)) as store:
            try:
                store.import_records(many, "drawn")
            except StoreError as error:  # two evaluators were given other texts under one id
                assert "than before" in str(error)
                many = many[:0]
            back = list(store.records())
            assert back == many
            assert [list(r.judgments) for r in back] == [list(r.judgments) for r in many]

    check()


def _schemas(server: str):
    import psycopg

    for i in range(10**6):
        with psycopg.connect(server) as connection:
            connection.execute(f"CREATE SCHEMA drawn{i}")
        yield f"{server}&options=-csearch_path%3Ddrawn{i}"


def test_an_import_is_whole_or_not_at_all(store):
    store.import_records([record(0, x=Outcome.A)], "before")

    def breaks():
        yield from (record(i, x=Outcome.A) for i in range(1, 1200))
        raise DataError("is no record", path="r.jsonl", line=1200)

    with pytest.raises(DataError, match="1200"):
        store.import_records(breaks(), "r.jsonl")
    assert list(store.records()) == [record(0, x=Outcome.A)]
    tables = ("pairs", "records", "judgments", "entries", "runs")
    assert [count(store, table) for table in tables] == [1] * 5


def test_what_is_there_is_left_as_it_is(store):
    many = [record(i, x=Outcome.A, y=Outcome.TRUNCATED) for i in range(700)]
    assert store.import_records(many, "one") == (700, 0)
    assert store.import_records(many[:650], "two") == (0, 650)
    assert store.import_records([*many[650:], record(700)], "three") == (1, 50)
    assert count(store, "judgments") == 1400
    assert count(store, "runs") == 2  # an import that adds nothing leaves no trace


def test_files_of_one_evaluator_with_other_arms_make_one_record(store):
    store.import_records([record(1, b=Outcome.A, a=Outcome.B)], "one")
    assert store.import_records([record(1, c=Outcome.TIE, a=Outcome.B)], "two") == (1, 0)
    [back] = store.records()
    assert back == record(1, b=Outcome.A, a=Outcome.B, c=Outcome.TIE)
    assert list(back.judgments) == ["b", "a", "c"]


def test_a_record_that_comes_twice_in_one_stream_is_there_already(store):
    assert store.import_records([record(1, x=Outcome.A), record(2), record(1, x=Outcome.A)], "one") == (2, 1)


def test_one_pair_may_have_another_source_and_gold_index_for_each_evaluator(store):
    one = record(1, "e", {"source": "here", "gold_index": 2}, x=Outcome.A)
    two = record(1, "f", {"source": "there"}, x=Outcome.A)
    store.import_records([one], "one")
    store.import_records([two], "two")
    assert list(store.records()) == [one, two]
    assert count(store, "pairs") == 1


def test_texts_that_a_source_left_out_contradict_nothing(store):
    bare = record(1, "e", {"prompt": None, "response_a": None, "response_b": None}, x=Outcome.A)
    full = record(1, "f", x=Outcome.A)
    store.import_records([bare], "one")
    store.import_records([full], "two")
    assert list(store.records()) == [bare, full]


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (record(1, "f", {"prompt": "other"}), "id 'p1' comes with another prompt than before"),
        (record(1, "f", {"response_b": ""}), "id 'p1' comes with another response_b than before"),
        (
            record(1, "ev", {"rubric": "be kind"}),
            "id 'p1', evaluator 'ev': is there with other texts or another rubric",
        ),
        (record(1, "ev", {"gold": "B"}), "id 'p1', evaluator 'ev': is there with gold 'A', not 'B'"),
        (record(1, "ev", {"source": "t"}), "id 'p1', evaluator 'ev': is there with source 's', not 't'"),
        (record(1, "ev", x=Outcome.B), "id 'p1', evaluator 'ev': arm 'x' is there with another judgment"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_what_contradicts_the_store_is_refused_with_id_and_remedy(store, second, says, together):
    first = [record(0, x=Outcome.A), record(1, x=Outcome.A)]
    later = [record(2, x=Outcome.A), second]
    if not together:
        store.import_records(first, "one")
    with pytest.raises(StoreError) as caught:
        store.import_records([*first, *later] if together else later, "two")
    assert str(caught.value) == f"{says}; import into another store, or mend the file"
    assert list(store.records()) == ([] if together else first)


def test_what_was_judged_here_is_recognised_when_its_export_comes_back(store, tmp_path):
    run = store.begin_run("ev", ARMS).id
    store.put(run, [bought(pair(i, meta={"b": 1, "a": 2})) for i in range(3)])
    for form in ("r.jsonl.gz", "r.parquet"):
        records.write(tmp_path / form, store.records())
        assert store.import_records(records.read(tmp_path / form), form) == (0, 3)


def test_judging_goes_on_beside_imported_judgments(store):
    store.import_records([record(1, plain=Outcome.B, old=Outcome.A)], "one")
    run = store.begin_run("ev", ARMS).id
    assert store.claim(run, [wanted(pair(1))]) == [Claim.MINE]  # imported judgments say nothing of their arm
    store.put(run, [bought(pair(1)), bought(pair(1), arm_key="key-think")])
    [back] = store.records()
    assert list(back.judgments) == ["plain", "old", "think"]
    assert back.judgments["plain"] == msgspec.structs.replace(judgment(), calls=())
    assert store.spend().judgments == 2
    with pytest.raises(StoreError, match="arm 'plain' is there with another judgment"):
        store.import_records([record(1, plain=Outcome.B)], "again")


def test_streams_hold_a_batch_in_memory_and_not_the_whole(tmp_path):
    text = "x" * 8000
    many = 2500  # 40 MB of text

    def made():
        for i in range(many):
            yield Record(
                pair=Pair(id=str(i), prompt=text),
                evaluator="e",
                judgments={"x": Judgment(arm="x", ab=Outcome.A, completion_ab=text)},
            )

    with Store.open(str(tmp_path / "s.db")) as store:
        tracemalloc.start()
        try:
            store.import_records(made(), "made")
            assert sum(1 for _ in store.records()) == many
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 20e6


def test_a_reference_opens_a_file_or_a_store(store_url, tmp_path):
    many = [record(1, "e", x=Outcome.A), record(1, "f", x=Outcome.B)]
    file = tmp_path / "r.jsonl.gz"
    records.write(file, many)
    with Store.open(store_url) as opened:
        opened.import_records(many, "r")
    for ref in (str(file), store_url):
        assert list(open_records(ref)) == many
        assert list(open_records(ref, evaluator="f")) == many[1:]
        assert list(open_records(ref, texts=False)) == [without_texts(r) for r in many]
        with pytest.raises(DataError, match="has no records of evaluator 'g'; known: e, f"):
            list(open_records(ref, evaluator="g"))
    assert without_texts(many[0]).judgments["x"].completion_ab is None


def test_a_store_is_known_by_its_name_or_its_first_bytes(tmp_path):
    with Store.open(str(tmp_path / "judgments")) as opened:
        assert opened.evaluators() == []
    (tmp_path / "r.jsonl").write_text("SQLite is a database\n")
    assert is_store(str(tmp_path / "judgments"))
    assert not is_store(str(tmp_path / "r.jsonl"))
    assert not is_store(str(tmp_path / "nowhere"))
    assert is_store(str(tmp_path / "nowhere.db"))
    with pytest.raises(DataError, match=r"judgments: holds no records; fill it"):
        list(open_records(str(tmp_path / "judgments")))
    with pytest.raises(StoreError, match=r"nowhere.db: no such file"):
        list(open_records(str(tmp_path / "nowhere.db")))
