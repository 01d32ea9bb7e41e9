"""A router at work: it buys live what it would have bought of records, no more, and everything it buys is counted."""

import asyncio
import itertools
import json
import subprocess
import sys
import tomllib
from contextlib import suppress

import msgspec
import numpy as np
import pytest

from adjudge import records
from adjudge.commands.judge_routes import open_routes
from adjudge.config import from_dict
from adjudge.errors import BudgetError, ConfigError
from adjudge.judging.backends.replay import connect
from adjudge.routing import registry
from adjudge.routing.deciding import uniform
from adjudge.routing.evaluate import reference_cost
from adjudge.routing.features import with_text
from adjudge.routing.live import Live, arm_of, check_draws
from adjudge.routing.registry import Options
from adjudge.routing.router import play
from adjudge.routing.saved import load, save
from adjudge.routing.steering import Drawn, Paced, Turn
from adjudge.routing.table import tabulate
from adjudge.store.store import Store
from adjudge.types import Judgment, Outcome, Pair, Record, Reply, Usage
from tests import scripted
from tests.recorded import DATA

ARMS = """
evaluator = "m"
[servers.cheap]
url = "{cheap}"
[servers.dear]
url = "{dear}"
[arms.cheap]
server = "cheap"
model = "small"
repair = false
price = {{ input = 1.0, output = 1.0 }}
[arms.dear]
like = "cheap"
server = "dear"
model = "large"
price = {{ input = 10.0, output = 10.0 }}
"""
AT = {"cheap": "http://127.0.0.1:1/v1", "dear": "http://127.0.0.1:1/v1"}


def pair(i: int) -> Pair:
    return Pair(
        id=f"p{i}", prompt=f"Add {i} and {i}.", response_a=f"It is {2 * i}.", response_b=f"{2 * i + 1}", gold="A"
    )


def drawn(count: int = 300, seed: int = 0) -> list[Record]:
    """The cheap arm is right or silent, the dear one always right, at ten times the cost."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        one = pair(i) if rng.random() < 0.5 else pair(i).swapped()
        says = Outcome(one.gold)
        bill = {"prompt_tokens": 100}
        cheap = Judgment(arm="cheap", ab=says if rng.random() < 0.6 else Outcome.UNREAD, output_tokens=20, **bill)
        dear = Judgment(arm="dear", ab=says, output_tokens=int(rng.integers(180, 220)), **bill)
        found.append(Record(pair=one, evaluator="m", judgments={"cheap": cheap, "dear": dear}))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = drawn()
    table = with_text(tabulate(rows, ("cheap", "dear")), rows)
    router = registry.fit("racer", table, Options(), 0)
    path = tmp_path_factory.mktemp("fitted") / "router"
    save(path, "racer", router, table, budget=8.0, reference_cost=reference_cost(table))
    return path


def settings(**servers: str):
    return from_dict(tomllib.loads(ARMS.format(**{**AT, **servers})))


class Fixed:
    """One rung for all, whatever it costs."""

    def __init__(self, rung: int):
        self.rung = rung

    def begin(self, pair_id):
        return Turn(self.rung)

    def affords(self, u):
        return True

    def hold(self, u):
        return 0.0

    def pay(self, u, held, cost):
        return cost

    def end(self, turn, cost):
        pass


def drive(live: Live, one: Pair, model) -> Judgment:
    talk = live.judge(one)
    try:
        asks = next(talk)
        while True:
            asks = talk.send(tuple(model(ask) for ask in asks))
    except StopIteration as done:
        return done.value


def live_of(folder, steering=None, name: str = "route:router") -> Live:
    given, saved = settings(), load(folder)
    steering = steering or Fixed(len(saved.router.rungs) - 1)
    return Live(arm_of(name, saved.card, given, 8.0), saved, given, steering)


def says(cheap: str, dear: str = "[[A]]", tokens: tuple[int, int] = (20, 200)):
    """A model of both arms; in the order ba the letter of the second response is its own."""

    def model(ask) -> Reply:
        text = {"cheap": cheap, "dear": dear}[ask.arm]
        if ask.order == "ba":
            text = text.translate(str.maketrans("AB", "BA"))
        return Reply(text=text, usage=Usage(100, tokens[ask.arm == "dear"]), finish_reason="stop")

    return model


def test_the_second_arm_is_bought_only_where_the_first_is_silent(folder):
    live = live_of(folder)
    spoke = drive(live, pair(1), says("[[B]]"))
    assert (spoke.ab, spoke.ba, spoke.output_tokens, len(spoke.calls)) == (Outcome.B, None, 20, 1)
    silent = drive(live, pair(1), says("Who knows."))
    assert (silent.outcome, silent.output_tokens, silent.prompt_tokens) == (Outcome.A, 220, 200)
    assert silent.cost_usd == pytest.approx((120 * 1 + 300 * 10) / 1e6)
    assert [call.arm for call in silent.calls] == ["cheap", "dear"]
    assert [(b["arm"], b["outcome"], b["cost"]) for b in silent.extra["route"]["bought"]] == [
        ("cheap", "unread", 20),
        ("dear", "A", 200),
    ]
    assert (live.judgments, live.spent, live.arms_bought) == (2, 240, {"cheap": 2, "dear": 1})


def test_a_verdict_belongs_to_its_response_whichever_order_is_drawn(folder):
    seen = set()
    for i in range(12):
        judged = drive(live_of(folder), pair(i), says("[[B]]"))
        seen.add(judged.calls[0].order)
        assert judged.outcome is Outcome.B
    assert seen == {"ab", "ba"}


def test_where_nothing_speaks_there_is_no_verdict_and_the_bill_stands(folder):
    judged = drive(live_of(folder), pair(1), says("Who knows.", "Nor I."))
    assert (judged.outcome, judged.output_tokens, judged.p_a) == (Outcome.UNREAD, 220, None)


def test_what_a_cap_kept_from_being_asked_makes_the_judgment_fail_so_that_it_is_bought_again(folder):
    answered = says("Who knows.")

    def capped(ask) -> Reply:
        return answered(ask) if ask.arm == "cheap" else Reply(error="not bought: cap of $1 reached", attempts=0)

    live = live_of(folder)
    judged = drive(live, pair(1), capped)
    assert (judged.outcome, judged.bought, judged.output_tokens) == (Outcome.FAILED, False, 20)
    assert (live.judgments, live.spent) == (0, 0)


def test_a_cost_that_nobody_knows_counts_as_the_highest(folder):
    card, router, _ = load(folder)
    pacing = Paced(router, card, 8 * card.reference_cost, horizon=10)
    judged = drive(live_of(folder, pacing), pair(1), lambda ask: Reply(text="[[A]]"))
    assert judged.output_tokens is None
    assert judged.extra["route"]["cost"] == pacing.pace.spent == card.highest_costs[0]


@pytest.mark.parametrize("budget", [2.0, 4.0, 6.0])
def test_paced_the_mean_cost_holds_although_all_judgments_are_dearer_than_fitted(folder, budget):
    card, router, _ = load(folder)
    limit = budget * card.reference_cost
    count, dearer = 300, says("Who knows.", tokens=(30, 400))
    live = live_of(folder, Paced(router, card, limit, count))
    judged = [drive(live, pair(i), dearer) for i in range(count)]
    assert live.spent == sum(j.output_tokens for j in judged)
    assert live.spent <= limit * count * 1.01
    assert 0 < live.arms_bought["dear"] < count / 2
    unpaced = live_of(folder, Drawn(router.rungs, limit, card.highest_costs))
    for i in range(count):
        drive(unpaced, pair(i), dearer)
    assert unpaced.spent > limit * count * 1.1


def test_judgments_under_way_at_once_do_not_pass_the_budget_together(folder):
    card, router, _ = load(folder)
    limit, count, model = 3 * card.reference_cost, 200, says("Who knows.", tokens=(20, 219))
    live = live_of(folder, Paced(router, card, limit, count))
    talks = [live.judge(pair(i)) for i in range(count)]
    asks = [next(talk) for talk in talks]
    while talks:
        left = []
        for talk, batch in zip(talks, asks, strict=True):
            with suppress(StopIteration):
                left.append((talk, talk.send(tuple(map(model, batch)))))
        talks, asks = [talk for talk, _ in left], [batch for _, batch in left]
    assert live.judgments == count and live.spent <= limit * count * 1.01


def test_a_judgment_that_is_given_up_holds_nothing_back(folder):
    card, router, _ = load(folder)
    pacing = Paced(router, card, 8 * card.reference_cost, horizon=10)
    talk = live_of(folder, pacing).judge(pair(1))
    next(talk)
    assert pacing.pace.held > 0 and pacing.pace.under_way == 1
    talk.close()
    assert (pacing.pace.held, pacing.pace.under_way, pacing.pace.spent) == (0, 0, 0)


def test_a_pair_whose_cheapest_verdict_cannot_be_paid_is_not_bought(folder):
    card, router, _ = load(folder)
    live = live_of(folder, Paced(router, card, card.reference_cost, horizon=3))
    judged = [drive(live, pair(i), says("[[A]]", tokens=(50, 500))) for i in range(3)]
    assert [j.outcome for j in judged] == [Outcome.A, Outcome.FAILED, Outcome.FAILED]
    assert [j.bought for j in judged] == [True, False, False] and live.refused == 2
    with pytest.raises(BudgetError, match="raise --budget"):
        Drawn(router.rungs, card.reference_cost / 2, card.highest_costs)


def test_unpaced_a_pair_gets_the_same_rung_in_every_run(folder):
    card, router, _ = load(folder)
    two = [Drawn(router.rungs, 3 * card.reference_cost, card.highest_costs) for _ in range(2)]
    rungs = [[steering.begin(f"p{i}").rung for i in range(100)] for steering in two]
    assert rungs[0] == rungs[1] and len(set(rungs[0])) == 2


def test_the_key_follows_the_router_the_budget_and_what_it_buys_and_not_the_folders_name(folder, tmp_path):
    card, given = load(folder).card, settings()

    def key(name="route:a", card=card, budget=2.0, given=given):
        arm = arm_of(name, card, given, budget)
        return msgspec.structs.replace(given, arms={**given.arms, name: arm}).arm_key(name)

    change = msgspec.structs.replace
    other = change(given, arms={**given.arms, "dear": change(given.arms["dear"], max_tokens=9)})
    assert key() == key(name="route:b")
    assert len({key(), key(budget=3.0), key(card=change(card, weights="0")), key(given=other)}) == 4


def test_an_arm_that_compares_is_refused_where_ratings_were_fitted(folder):
    card = load(folder).card
    rated = msgspec.structs.replace(card, purchases=(("cheap", 0, 0), ("cheap", 0, 1)), responses=4)
    with pytest.raises(ConfigError, match='give it protocol = "pointwise"'):
        check_draws(rated, settings(), "x")


RECORDED = {
    "records_llmbar": ("ChatGPT", ("Vanilla", "Metrics_Reference")),
    "records_judgebench_claude": (None, ("mercury", "mercury-coder")),
    "records_rewardbench2_gpt54": (None, ()),
    "records_rewardbench2_qwen": (None, ()),
}


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded judgments are not beside this checkout")
@pytest.mark.parametrize("name", RECORDED)
def test_replayed_step_by_step_it_buys_and_says_what_it_would_have_of_the_records(name, tmp_path):
    evaluator, arms = RECORDED[name]
    every = (r for r in records.read(DATA / f"{name}.jsonl.gz") if evaluator in (None, r.evaluator))
    rows = list(itertools.islice(every, 0, 600, 10))
    records.write(tmp_path / "recorded.jsonl", rows)
    table = with_text(tabulate(rows, arms), rows)
    router = registry.fit("racer-observed", table, Options(), 0)
    save(tmp_path / "r", "racer-observed", router, table, budget=1.0, reference_cost=1.0)
    tape = {"kind": "replay", "path": str(tmp_path / "recorded.jsonl")}
    arms_told = {arm: {"server": "s"} for arm in table.arms}
    given = from_dict({"evaluator": rows[0].evaluator, "servers": {"s": tape}, "arms": arms_told})
    backend, pairs = connect("s", given, {}), {r.pair.id: r.pair for r in rows}

    def replayed(ask) -> Reply:
        return asyncio.run(backend.send(ask))

    lead_N = np.arange(len(table)) - np.searchsorted(table.instance_N, table.instance_N)
    saved = load(tmp_path / "r")
    for rung in {0, len(router.rungs) // 2, len(router.rungs) - 1}:
        played = play(router, table, rung, np.zeros(len(table)))
        live = Live(arm_of("route:r", saved.card, given, 1.0), saved, given, Fixed(rung))
        for row in range(len(table)):
            one = pairs[table.ids[table.instance_N[row]]]
            if lead_N.any() and lead_N[row] != (uniform("order", one.id) >= 0.5):
                continue
            judged = drive(live, one, replayed)
            bought = [b["arm"] for b in judged.extra["route"]["bought"]]
            assert sorted(bought) == sorted(table.purchases[u].arm for u in np.flatnonzero(played.bought_NU[row]))
            if name != "records_rewardbench2_qwen":  # which records no prompt tokens, so that its replay tells no usage
                # a replay's tokens are whole: half a token is lost or won on each purchase
                assert judged.output_tokens == pytest.approx(played.cost_N[row], abs=0.51 * len(bought))
            reward = played.reward_N[row]
            if judged.outcome.is_verdict:
                assert (judged.outcome == one.gold, judged.outcome is Outcome.TIE) == (reward == 1, 0 < reward < 1)
            else:
                assert reward == 0


def judge(place, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adjudge", "judge", "pairs.jsonl", "--arms", "arms.toml", *args]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=100, check=False)


def test_judge_buys_by_a_router_counts_all_of_it_and_buys_nothing_twice(folder, tmp_path):
    rows = [pair(i) for i in range(40)]
    lines = [{"id": p.id, "prompt": p.prompt, "response_a": p.response_a, "response_b": p.response_b} for p in rows]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    half = scripted.Script(says=("[[A]]", "Who knows."), output_tokens=(10, 30))
    full = scripted.Script(says=("[[B]]",), output_tokens=(180, 220))
    with scripted.process(half) as cheap, scripted.process(full) as dear:
        (tmp_path / "arms.toml").write_text(ARMS.format(cheap=cheap.url, dear=dear.url))
        route = ("--arm", f"route:{folder}", "--unpaced", "--budget", "20")
        done = judge(tmp_path, *route, "--limit", "25")
        assert done.returncode == 0, done.stderr
        assert "route:router: mean cost" in done.stdout and "budget 20; bought cheap for 100%, dear for" in done.stdout
        rest = judge(tmp_path, *route, "--json")
        said = json.loads(rest.stdout)
        assert (said["bought"], said["skipped"], said["routes"][0]["judgments"]) == (15, 25, 15)
        counts = cheap.count(), dear.count()
        assert counts[0].calls == 40 and 0 < counts[1].calls < 40
        again = json.loads(judge(tmp_path, *route, "--json").stdout)
        assert (again["bought"], again["skipped"]) == (0, 40)
        assert (cheap.count().calls, dear.count().calls) == (40, counts[1].calls)
    with Store.open(str(tmp_path / "judgments.db")) as store:
        judged = [record.judgments["route:router"] for record in store.records(calls=True)]
        [route] = open_routes([f"route:{folder}"], settings(), "20", None, None, "")
        known = route.start(settings(), store, lambda: rows[:30], 30, paced=True).live.steering.pace
    assert (known.judgments, known.spent) == (30, sum(j.output_tokens for j in judged[:30]))
    assert sum(j.output_tokens for j in judged) == sum(c.output_tokens for c in counts)
    assert sum(j.prompt_tokens for j in judged) == sum(c.prompt_tokens for c in counts)
    for one in judged:
        first, *others = one.calls
        assert first.arm == "cheap" and [c.arm for c in others] == ["dear"] * (not first.outcome.is_verdict)
        assert one.outcome is others[-1].outcome if others else first.outcome


def test_a_router_that_does_not_fit_ends_with_one_line_and_exit_code_2(folder, tmp_path):
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"id": "1", "prompt": "?", "response_a": "x", "response_b": "y"}))
    (tmp_path / "arms.toml").write_text(ARMS.format(**AT).replace("arms.dear", "arms.other"))
    for words, why in (
        (["--arm", "route:nowhere"], "no such folder"),
        (["--arm", f"route:{folder}"], "the router buys dear, not among the arms there are"),
        (["--arm", "cheap", "--budget", "2"], "name one: --arm route:DIR"),
    ):
        done = judge(tmp_path, *words)
        assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "judgments.db").exists()
