"""What a store promises, on SQLite and PostgreSQL alike."""

import msgspec
import pytest
import sqlalchemy as sa

from adjudge.errors import StoreError
from adjudge.store import claims, schema, writing
from adjudge.store.store import Bought, Claim, Spend, Store, Wanted
from adjudge.types import Call, Judgment, Outcome, Pair, Record, Usage

from .stored import ARMS, bought, call, count, judgment, pair, wanted


@pytest.fixture
def store(store_url: str):
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> int:
    return store.begin_run("ev", ARMS).id


def get(store: Store, evaluator: str | None = "ev", **how) -> dict[str, dict[str, Judgment]]:
    return {record.pair.id: record.judgments for record in store.records(evaluator, **how)}


FULL = Judgment(
    arm="plain",
    ab=Outcome.TIE,
    ba=Outcome.TRUNCATED,
    p_a=1 / 3,
    prompt_tokens=12.5,
    output_tokens=7,
    cached_tokens=0,
    reasoning_tokens=2**53,
    cost_usd=1e-7,
    completion_ab="NUL \0, DLE \x10, \x100, emoji 🦝, line\u2028end",
    completion_ba="",
    reasoning_ab="thinking",
    scores=((1.0, 2.5), ()),
    error="a word\nof warning",
    extra={"b": 1, "a": [2, {"c": None}], "big": 10**30},
    calls=(
        Call(kind="verdict", arm="plain", order="ab", text="NUL \0, DLE \x10, \x100, emoji 🦝, line\u2028end"),
        Call(kind="score", arm="plain", response_index=3, sample=2, value=7.0, p_a=0.1, usage=Usage(1, 2, 3, 4)),
        Call(kind="verdict", arm="plain", order="ba", reasoning="cut", finish_reason="length", attempts=3),
        Call(kind="repair", arm="plain", order="ba", cost_usd=0.1, latency_s=1.5, unmetered_calls=2, error="timeout"),
    ),
)


def test_a_judgment_comes_back_as_it_was_put(store, run):
    of = pair(1, rubric="r", meta={"z": 1, "a": [None, 2.0]}, source="\0", gold=None)
    store.put(run, [bought(of, FULL)])
    [record] = store.records(calls=True)
    assert record == Record(pair=of, evaluator="ev", judgments={"plain": FULL})
    assert list(record.pair.meta) == ["z", "a"]
    assert list(record.judgments["plain"].extra) == ["b", "a", "big"]
    back = record.judgments["plain"]
    assert [type(n) for n in (back.prompt_tokens, back.output_tokens, back.reasoning_tokens)] == [float, int, int]


def test_numbers_keep_their_kind_and_every_digit(store, run):
    numbers = [0, 1, 2**53, 10**15, 0.0, 2.0, 0.1, 1 / 3, 5e-324, 4.92756472102477e22, 1.7976931348623157e308]
    for i, number in enumerate(numbers):
        store.put(run, [bought(pair(i), judgment(output_tokens=number, cost_usd=float(number)))])
    back = [record.judgments["plain"] for record in store.records()]
    assert [(type(j.output_tokens), j.output_tokens) for j in back] == [(type(n), n) for n in numbers]
    assert [(type(j.cost_usd), j.cost_usd) for j in back] == [(float, n) for n in numbers]


@pytest.mark.parametrize(
    "of",
    [
        pair(1, prompt=None, response_a=None, response_b=None),
        pair(1, response_a=None, response_b=None, responses=("x", "", "y"), gold_index=2),
        pair(1, responses=(), gold_index=None),
        pair(1, prompt="", rubric=""),
    ],
)
def test_a_pair_comes_back_as_it_was_put(store, run, of):
    store.put(run, [bought(of)])
    [record] = store.records()
    assert record.pair == of


def test_calls_stay_in_the_store_unless_asked_for(store, run):
    store.put(run, [bought(pair(1))])
    assert get(store)["p1"]["plain"] == msgspec.structs.replace(judgment(), calls=())


def test_without_texts_everything_else_is_there(store, run):
    of = pair(1)
    store.put(run, [bought(of, FULL)])
    [record] = store.records(texts=False)
    assert record.pair == msgspec.structs.replace(of, prompt=None, response_a=None, response_b=None)
    bare = dict.fromkeys(("completion_ab", "completion_ba", "reasoning_ab", "reasoning_ba"))
    assert record.judgments["plain"] == msgspec.structs.replace(FULL, calls=(), **bare)


def test_what_was_bought_is_done_and_what_was_not_is_claimed(store, run):
    first, second = pair(1), pair(2)
    assert store.claim(run, [wanted(first), wanted(second)]) == [Claim.MINE, Claim.MINE]
    store.put(run, [bought(first)])
    other = store.begin_run("ev", ARMS).id
    assert store.claim(other, [wanted(first), wanted(second), wanted(pair(3))]) == [Claim.DONE, Claim.BUSY, Claim.MINE]


def test_a_key_wanted_twice_is_bought_once(store, run):
    want = wanted(pair(1))
    assert store.claim(run, [want, want]) == [Claim.MINE, Claim.BUSY]
    assert store.claim(run, [want]) == [Claim.BUSY]


def test_a_claim_given_back_is_free(store, run):
    wants = [wanted(pair(i)) for i in range(3)]
    other = store.begin_run("ev", ARMS).id
    store.claim(run, wants)
    store.release(run, [wants[0].key])
    assert store.claim(other, wants) == [Claim.MINE, Claim.BUSY, Claim.BUSY]
    store.end_run(run)
    assert store.claim(other, wants) == [Claim.BUSY, Claim.MINE, Claim.MINE]
    assert store.begin_run("ev", ARMS).interrupted == 0


def test_a_run_gives_back_no_claim_but_its_own(store, run):
    want = wanted(pair(1))
    store.claim(run, [want])
    other = store.begin_run("ev", ARMS).id
    store.release(other, [want.key])
    store.put(other, [bought(pair(1), judgment(Outcome.FAILED))])
    assert store.claim(other, [want]) == [Claim.BUSY]


def test_a_failed_judgment_is_shown_and_bought_again(store, run):
    of = pair(1)
    store.claim(run, [wanted(of)])
    store.put(run, [bought(of, judgment(Outcome.FAILED, error="server is down"))])
    assert get(store)["p1"]["plain"].ab is Outcome.FAILED
    assert store.claim(run, [wanted(of)]) == [Claim.MINE]
    store.put(run, [bought(of, judgment(Outcome.B))])
    assert get(store)["p1"]["plain"].ab is Outcome.B
    assert store.claim(run, [wanted(of)]) == [Claim.DONE]
    assert store.spend(run).judgments == 2


@pytest.mark.parametrize("outcome", [Outcome.UNREAD, Outcome.TRUNCATED, Outcome.REFUSED, Outcome.TIE])
def test_what_is_no_verdict_but_no_failure_is_not_bought_again(store, run, outcome):
    store.put(run, [bought(pair(1), judgment(outcome))])
    assert store.claim(run, [wanted(pair(1))]) == [Claim.DONE]


@pytest.mark.parametrize("second", [Outcome.B, Outcome.FAILED])
def test_the_first_finished_judgment_counts_and_every_one_is_paid(store, run, second):
    of = pair(1)
    store.put(run, [bought(of, judgment(Outcome.A))])
    store.put(run, [bought(of, judgment(second))])
    store.put(run, [bought(of, judgment(second)), bought(of, judgment(second))])
    assert get(store)["p1"]["plain"].ab is Outcome.A
    assert store.spend() == Spend(4, 4, 400, 40, 1.0, 0, 0)
    assert (count(store, "judgments"), count(store, "calls")) == (4, 4)


def test_spend_is_the_sum_over_runs_and_never_counts_the_unknown_as_free(store, run):
    asked = (
        call(cost_usd=0.5, usage=Usage(7, 3)),
        call(cost_usd=None, usage=Usage(1, 1)),  # no price is known
        call(cost_usd=None, usage=None),  # the server did not say
        call(cost_usd=None, usage=None, error="cut off", unmetered_calls=2),  # may have been billed
        call(cost_usd=None, usage=None, error="429 at every attempt"),  # surely was not
        call(cost_usd=None, usage=Usage(), attempts=0),  # was not asked: a rubric that was kept
    )
    store.put(run, [bought(pair(1), judgment(calls=asked))])
    assert store.spend(run) == Spend(1, 5, 8, 4, 0.5, 3, 2)
    other = store.begin_run("ev", ARMS).id
    store.put(other, [bought(pair(2)), bought(pair(3))])
    assert store.spend(other) == Spend(2, 2, 200, 20, 0.5, 0, 0)
    assert store.spend() == Spend(3, 7, 208, 24, 1.0, 3, 2)
    assert store.spend(999) == Spend(0, 0, 0, 0, 0.0, 0, 0)


def test_the_ledger_of_runs_agrees_with_the_rows_of_calls(store, run):
    for i in range(5):
        store.put(run, [bought(pair(i), judgment(calls=(call(), call(usage=Usage(i, 2 * i), cost_usd=i / 7))))])
    calls = schema.calls.c
    with store._database.read() as connection:
        sums = sa.select(sa.func.count(), *(sa.func.sum(c) for c in (calls.prompt_tokens, calls.output_tokens)))
        rows, prompt, output = connection.execute(sums).one()
        usd = sum(float(x) for x in connection.execute(sa.select(calls.cost_usd)).scalars())
    spent = store.spend()
    assert (spent.calls, spent.prompt_tokens, spent.output_tokens) == (rows, prompt, output)
    assert spent.cost_usd == pytest.approx(usd, rel=1e-12)


def test_records_come_in_the_order_in_which_pairs_were_claimed(store, run):
    pairs = [pair(i) for i in (5, 3, 9, 1, 7)]
    store.claim(run, [wanted(p) for p in pairs[:3]])
    store.claim(run, [wanted(p) for p in pairs[3:]])
    for of in sorted(pairs, key=lambda p: p.id):
        store.put(run, [bought(of)])
    assert list(get(store)) == [p.id for p in pairs]


def test_arms_stand_in_the_order_in_which_they_were_first_run(store, run):
    of = pair(1)
    store.put(run, [bought(of, arm_key="key-think")])
    store.put(run, [bought(of, arm_key="key-plain")])
    later = store.begin_run("ev", {"key-new": ("another", "{}"), **ARMS}).id
    store.put(later, [Bought(wanted(of, "key-new", "another"), of, judgment(arm="another"))])
    assert list(get(store)["p1"]) == ["plain", "think", "another"]


def test_the_definition_of_an_arm_that_was_wanted_last_counts(store, run):
    of = pair(1)
    store.put(run, [bought(of, judgment(Outcome.A))])
    other = store.begin_run("ev", {"key-2": ("plain", "{}")}).id
    store.put(other, [Bought(wanted(of, "key-2", "plain"), of, judgment(Outcome.B))])
    assert get(store)["p1"]["plain"].ab is Outcome.B
    assert store.claim(store.begin_run("ev", ARMS).id, [wanted(of)]) == [Claim.DONE]
    assert get(store)["p1"]["plain"].ab is Outcome.A


def test_a_judgment_counts_under_every_name_it_was_wanted_by(store, run):
    of = pair(1)
    store.put(run, [bought(of)])
    renamed = store.begin_run("new name", {"key-plain": ("cheap", "{}")}).id
    assert store.claim(renamed, [wanted(of, "key-plain", "cheap")]) == [Claim.DONE]
    [record] = store.records("new name")
    assert (record.pair, list(record.judgments)) == (of, ["cheap"])
    assert record.judgments["cheap"] == msgspec.structs.replace(judgment(arm="cheap"), calls=())
    assert list(get(store)["p1"]) == ["plain"]
    assert store.evaluators() == ["ev", "new name"]
    assert store.spend(renamed).judgments == 0


def test_adopted_judgments_stand_in_the_order_in_which_they_were_wanted(store, run):
    pairs = [pair(i) for i in range(20)]
    store.put(run, [bought(p, arm_key=key) for p in pairs for key in ARMS])
    order = [pairs[i] for i in (7, 3, 19, 0, 11, 2)]
    renamed = store.begin_run("new name", ARMS).id
    assert set(store.claim(renamed, [wanted(p, key) for p in order for key in ARMS])) == {Claim.DONE}
    assert [r.pair for r in store.records("new name")] == order
    assert all(list(r.judgments) == ["plain", "think"] for r in store.records("new name"))


def test_two_texts_under_one_id_in_one_batch_end_with_the_one_that_came_last(store, run):
    old, new = pair(1), pair(1, prompt="mended")
    store.claim(run, [wanted(old), wanted(new)])
    store.put(run, [bought(new), bought(old)])
    assert [r.pair for r in store.records()] == [new]


@pytest.mark.postgres
def test_what_another_run_finished_between_two_looks_is_not_bought_again(postgres, monkeypatch):
    really, looks = claims.finished, []

    def finished(connection, keys):
        looks.append(keys)
        if len(looks) == 1:  # after this look, and before the claims are written, the other run is done
            other.put(first, [bought(pair(1))])
            return {}
        return really(connection, keys)

    with Store.open(postgres) as store, Store.open(postgres) as other:
        first, second = other.begin_run("ev", ARMS).id, store.begin_run("ev", ARMS).id
        monkeypatch.setattr(claims, "finished", finished)
        assert store.claim(second, [wanted(pair(1)), wanted(pair(2))]) == [Claim.DONE, Claim.MINE]
        assert len(looks) == 2
        assert count(store, "claims") == 1


@pytest.mark.postgres
def test_of_two_writers_that_finish_one_key_at_one_moment_the_first_counts_and_both_are_paid(postgres, monkeypatch):
    really, looks = writing.finished, []

    def finished(connection, keys):
        looks.append(keys)
        if len(looks) == 1:  # after this look, and before the judgment is written, the other writer is done
            with monkeypatch.context() as undone:
                undone.setattr(writing, "finished", really)
                other.put(first, [bought(pair(1), judgment(Outcome.A))])
            return {}
        return really(connection, keys)

    with Store.open(postgres) as store, Store.open(postgres) as other:
        first, second = other.begin_run("ev", ARMS).id, store.begin_run("ev", ARMS).id
        store.put(second, [bought(pair(1), arm_key="key-think")])
        monkeypatch.setattr(writing, "finished", finished)
        store.put(second, [bought(pair(1), judgment(Outcome.B)), bought(pair(2))])
        assert len(looks) == 2  # the first try was undone
        assert [r.judgments["plain"].ab for r in store.records()] == [Outcome.A, Outcome.A]
        assert (store.spend(first).judgments, store.spend(second).judgments) == (1, 3)


@pytest.mark.parametrize("name", ["p1", "\0 \x10", "\x100"])
def test_of_two_texts_under_one_id_the_one_wanted_last_counts(store, run, name):
    old, new = pair(1, id=name), pair(1, id=name, prompt="mended")
    store.put(run, [bought(old, judgment(Outcome.A))])
    store.put(run, [bought(new, judgment(Outcome.B))])
    [record] = store.records()
    assert (record.pair, record.judgments["plain"].ab) == (new, Outcome.B)
    assert store.claim(run, [wanted(old)]) == [Claim.DONE]
    [record] = store.records()
    assert (record.pair, record.judgments["plain"].ab) == (old, Outcome.A)


def test_a_corrected_label_reaches_what_was_bought_before(store, run):
    old, new = pair(1), pair(1, gold="B", domain="e", meta={"by": "hand"})
    store.put(run, [bought(old), bought(pair(2))])
    assert store.relabel(run, [new, pair(2), pair(3)]) == 1
    assert [r.pair for r in store.records()] == [new, pair(2)]
    store.put(run, [bought(old, arm_key="key-think")])
    assert [r.pair for r in store.records()] == [old, pair(2)]


def test_the_first_rubric_under_a_key_wins(store, run):
    assert store.rubric("k") is None
    assert store.keep_rubric(run, "k", "first \0") == "first \0"
    assert store.keep_rubric(run, "k", "second") == "first \0"
    assert store.rubric("k") == "first \0"


def test_a_stream_shows_one_state_while_others_write(store, run):
    store.put(run, [bought(pair(i)) for i in range(600)])
    stream = store.records()
    first = next(stream)
    store.put(run, [bought(pair(i)) for i in range(600, 1200)])
    store.put(run, [bought(pair(0), arm_key="key-think")])
    rest = list(stream)
    assert first.pair == pair(0)
    assert len(rest) == 599
    assert len(get(store)) == 1200


def test_a_store_is_the_same_from_every_thread(store, run):
    from concurrent.futures import ThreadPoolExecutor

    for i in range(5):
        with ThreadPoolExecutor(1) as pool:
            want = [wanted(pair(i))]
            assert pool.submit(store.claim, run, want).result() == [Claim.MINE]
            pool.submit(store.put, run, [bought(pair(i))]).result()
    assert len(get(store)) == 5


def test_empty_batches_cost_nothing(store, run):
    assert store.claim(run, []) == []
    store.put(run, [])
    store.release(run, [])
    assert store.relabel(run, []) == 0
    assert store.import_records([], "nothing") == (0, 0)
    assert list(store.records()) == []


def test_a_run_that_is_over_buys_nothing_more(store, run):
    store.end_run(run)
    with pytest.raises(StoreError, match=rf"run {run} was not begun here, or is over; begin another"):
        store.put(run, [bought(pair(1))])
    with pytest.raises(StoreError, match=r"run 999 was not begun here"):
        store.claim(999, [wanted(pair(1))])


def test_batches_of_any_size_are_taken(store, run):
    many = [pair(i) for i in range(1700)]
    assert set(store.claim(run, [wanted(p) for p in many])) == {Claim.MINE}
    store.put(run, [bought(p) for p in many[:1300]])
    store.release(run, [wanted(p).key for p in many])
    assert store.claim(run, [wanted(p) for p in many]) == [Claim.DONE] * 1300 + [Claim.MINE] * 400
    assert len(list(store.records(calls=True))) == 1300


def test_a_put_that_cannot_be_written_leaves_nothing(store, run):
    good, bad = pair(1), pair(2)
    store.claim(run, [wanted(good), wanted(bad)])
    with pytest.raises(StoreError, match="surrogate"):
        store.put(run, [bought(good), bought(bad, judgment(completion_ab="half \ud83e"))])
    assert [count(store, t) for t in ("pairs", "records", "judgments", "calls", "entries")] == [0] * 5
    assert store.spend().judgments == 0
    assert count(store, "claims") == 2


def test_ids_and_names_of_any_kind_are_kept_apart(store, run):
    ids = ["x", "X", "x ", "é", "e\u0301", "\0", "\x10", "\x100", "'; drop table pairs", "%s", "?", ":a", ""]
    store.put(run, [bought(pair(1, id=i, prompt=i)) for i in ids])
    assert list(get(store)) == ids
    assert store.claim(run, [wanted(pair(1, id=i, prompt=i)) for i in ids]) == [Claim.DONE] * len(ids)
    assert store.claim(run, [Wanted("other", "k", "key-plain", "plain")]) == [Claim.MINE]


def test_a_pair_of_plain_defaults_is_kept(store, run):
    store.put(run, [bought(Pair(id="bare"))])
    assert [r.pair for r in store.records()] == [Pair(id="bare")]
