"""A judge of the lab made of an arm of arms.toml, or of a saved router over several.

An arm that rates (`pointwise`) scores each response alone: the expected score where it has log-probabilities, else its
rating, on the lab's scale of 0 to TOP. An arm that compares scores a group: each response against every other of its
prompt (and `group`), in the orders of the arm; the score is the share of the others that it beats. A router does what
it was fitted to: it rates the responses of a group together, or compares them two by two.

A rubric that comes with a response is used by an arm whose `rubric` is empty as by one with rubric = "item".
"""

import asyncio
import functools
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from adjudge.config import Arm, Settings
from adjudge.errors import ConfigError
from adjudge.judging import driver, settle
from adjudge.judging.asking import Asker
from adjudge.judging.backends.base import Backend, open_backend
from adjudge.judging.bounds import Spending, most
from adjudge.judging.budget import Budget
from adjudge.judging.driver import Driver
from adjudge.judging.limits import Gate, Shut
from adjudge.judging.rubrics import Rubrics
from adjudge.judging.run import guided, reachable
from adjudge.judging.win_rates import win_rates
from adjudge.lab.reward.metered import Detailed, Purchase, Unit, Wish, group_of
from adjudge.lab.scoring import TOP, Asked, Score
from adjudge.types import Call, Judgment, Outcome, Pair, Usage

RUBRICS_KEPT = 4096
ALONE = "there is no other response to its prompt to compare it with"


class ArmJudge:
    """An arm as a judge, for one event loop: connections are opened by the first `score` and closed by `close`.

    `judges`: how the arm judges where it is not asked itself (a router). `rates`: whether it gives ratings; left out,
    as its protocol says. `parts`: what one judgment of it buys at most, by arms. Raises ConfigError for an arm that
    cannot judge rollouts.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        *,
        judges: Mapping[str, driver.Judge] | None = None,
        rates: bool | None = None,
        parts: Sequence[str] = (),
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        (self._arm,) = settings.choose([name])
        self.settings = settings
        self.name, self.evaluator = name, settings.evaluator
        self._judges, self._parts, self._environ = judges or {}, tuple(parts), environ
        self._routed = name in self._judges
        self._rates, self._scale = _kind(self._arm, settings, rates)
        self._guided = guided(settings, self._arm)
        self._keys = {False: settings.arm_key(name), True: self._guided.arm_key(name)}
        self._backends: dict[str, Backend] = {}
        self._drivers: dict[bool, Driver] = {}  # whether the pair brings a rubric

    @property
    def unit(self) -> Unit:
        return "one" if self._rates and not self._routed else "group"

    @property
    def priced(self) -> bool:
        """Whether all that it may ask has a price."""
        return all(arm.price is not None for arm in reachable([self._arm], self.settings))

    @functools.cached_property
    def definitions(self) -> dict[str, tuple[str, str]]:
        """arm key -> (name, definition), with those of the arms that it asks in turn."""
        found = {}
        for settings in (self.settings, self._guided):
            for arm in reachable([settings.arms[self.name]], settings):
                found[settings.arm_key(arm.name)] = (arm.name, msgspec.json.encode(arm).decode())
        return found

    def worst(self, asked: Sequence[Asked]) -> Spending:
        """The most that judging these can take, attempts aside that a server may have billed and lost."""
        total = Spending()
        for pair, _, _ in self.wishes(asked):
            settings = self._settings_for(pair)
            bought = [most(pair, _once(settings.arms[name]), settings) for name in self._parts]
            for part in bought or [most(pair, settings.arms[self.name], settings)]:
                total = total.plus(part._replace(judgments=0))
            total = total.plus(Spending(1))
        return total

    def wishes(self, asked: Sequence[Asked]) -> list[Wish]:
        """The judgments that scoring these takes."""
        pairs = [pair for group in self._groups(asked) for pair in self._asks([asked[i] for i in group]).values()]
        return [Wish(pair, self._key(pair), self.name) for pair in pairs]

    def settled(self, asked: Sequence[Asked], judgments: Sequence[Judgment]) -> list[Score]:
        """One score each, in the order asked, by the judgments of the wishes, which stand in the first of them."""
        left = iter(judgments)
        found: dict[int, Score] = {}
        for group in self._groups(asked):
            some = [asked[i] for i in group]
            said = {at: next(left) for at in self._asks(some)}
            found |= zip(group, self._rated(some, said) if self._rates else self._compared(some, said), strict=True)
        return [found[i] for i in range(len(asked))]

    async def score(self, asked: Sequence[Asked]) -> list[Score]:
        """One score each, in the order asked, with the judgments that were bought for it."""
        self._drivers = self._drivers or self._open()
        return self.settled(asked, await asyncio.gather(*(self._judge(wish.pair) for wish in self.wishes(asked))))

    async def close(self) -> None:
        """Give back the connections."""
        backends, self._backends, self._drivers = self._backends, {}, {}
        for backend in backends.values():
            await backend.close()

    def _groups(self, asked: Sequence[Asked]) -> list[list[int]]:
        """The places of what is judged together."""
        if self.unit == "one":
            return [[i] for i in range(len(asked))]
        found: dict[tuple[str, str, str], list[int]] = {}
        for i, one in enumerate(asked):
            found.setdefault(group_of(one), []).append(i)
        return list(found.values())

    def _asks(self, some: Sequence[Asked]) -> dict[tuple[int, int], Pair]:
        """What is asked about responses that are judged together: their ratings, or each comparison by its places."""
        return {(0, 0): _instance(some)} if self._rates else _pairs(some)

    def _rated(self, some: Sequence[Asked], said: Mapping[tuple[int, int], Judgment]) -> list[Detailed]:
        """Ratings of responses to one prompt, asked for in one judgment; copies are rated once."""
        pair = _instance(some)
        (judgment,) = said.values()
        scores: list[Detailed] = []
        low, high = self._scale
        for one in some:
            place = pair.texts.index(one.response)
            ratings = judgment.scores[place] if judgment.scores else ()
            value = None
            if ratings:
                value = (math.fsum(ratings) / len(ratings) - low) * TOP / (high - low)
            calls = [c for c in judgment.calls if c.response_index in (place, None)]
            why = "" if ratings else _why([judgment.outcome, *(c.outcome for c in calls if c.outcome)])
            scores.append(Detailed(value, why, _said(calls) or judgment.error or ""))
        kept = msgspec.structs.replace(pair, gold=None, gold_index=None)
        bought = Purchase(kept, msgspec.structs.replace(judgment, p_a=None), self._key(pair))
        return [_billed(scores[0], [bought]), *scores[1:]]

    def _compared(self, some: Sequence[Asked], judgments: Mapping[tuple[int, int], Judgment]) -> list[Detailed]:
        """Win rates within a group; each comparison is billed to the response that it shows as the original a."""
        texts = list(dict.fromkeys(one.response for one in some))
        pairs = _pairs(some)
        copies = [sum(one.response == text for one in some) for text in texts]
        values = win_rates({at: judgment.outcome for at, judgment in judgments.items()}, copies)
        scores: list[Detailed] = []
        billed: set[int] = set()
        for one in some:
            place = texts.index(one.response)
            own = {at: judgment for at, judgment in judgments.items() if place in at}
            why = "" if values[place] is not None else _why([judgment.outcome for judgment in own.values()])
            said = "\n\n".join(_said(judgment.calls) or judgment.error or "" for judgment in own.values())
            score = Detailed(values[place], why, said if own else ALONE)
            if place not in billed:
                billed.add(place)
                bought = [
                    Purchase(pairs[at], judgment, self._key(pairs[at]))
                    for at, judgment in own.items()
                    if at[0] == place
                ]
                score = _billed(score, bought)
            scores.append(score)
        return scores

    async def _judge(self, pair: Pair) -> Judgment:
        arm = self._settings_for(pair).arms[self.name]
        try:
            return (await self._drivers[bool(pair.rubric)].judge(pair, arm)).judgment
        except Shut as over:
            return settle.unjudged(arm.name, settle.orders_of(arm), Outcome.FAILED, str(over))

    def _key(self, pair: Pair) -> str:
        return self._keys[bool(pair.rubric)]

    def _settings_for(self, pair: Pair) -> Settings:
        return self._guided if pair.rubric else self.settings

    def _open(self) -> dict[bool, Driver]:
        used = reachable([self._arm], self.settings)
        servers = {arm.server: self.settings.servers[arm.server] for arm in used}
        for name in servers:
            self._backends[name] = open_backend(name, self.settings, self._environ)
        unlimited = Budget(None)  # the purse of the step bounds what is bought
        askers = {n: Asker(self._backends[n], Gate(n, s), unlimited, s.retries) for n, s in servers.items()}
        rubrics = Rubrics(_Shelf())
        told = {False: self.settings, True: self._guided}
        return {rubric: Driver(settings, askers, rubrics, self._judges) for rubric, settings in told.items()}


class _Shelf:
    """Rubrics in memory, the last RUBRICS_KEPT of them."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    async def rubric(self, key: str) -> str | None:
        return self._kept.get(key)

    async def keep_rubric(self, key: str, text: str) -> str:
        if len(self._kept) >= RUBRICS_KEPT:
            del self._kept[next(iter(self._kept))]
        return self._kept.setdefault(key, text)


def _kind(arm: Arm, settings: Settings, rates: bool | None) -> tuple[bool, tuple[int, int]]:
    """Whether an arm rates, and on which scale. Raises ConfigError where it cannot judge rollouts."""
    asked = [one for one in reachable([arm], settings) if one.protocol not in ("rubric", "self-routing", "route")]
    if arm.protocol == "rubric" or not asked:
        raise ConfigError(f"arms.{arm.name} writes rubrics and judges nothing; name another arm")
    replayed = [one.name for one in asked if settings.servers[one.server].kind == "replay"]
    if replayed:
        raise ConfigError(f"arms.{replayed[0]} replays recorded judgments, which know nothing of new responses")
    rating = {one.protocol == "pointwise" for one in asked}
    if rates is None and len(rating) > 1:
        raise ConfigError(f"arms.{arm.name} asks arms that rate and arms that compare; let all its choices do the same")
    rates = rating == {True} if rates is None else rates
    scales = {one.scale for one in asked}
    if rates and len(scales) > 1:
        raise ConfigError(f"arms.{arm.name} asks arms of several scales {sorted(scales)}; give them one")
    return rates, scales.pop() if rates else (0, TOP)


def _instance(some: Sequence[Asked]) -> Pair:
    """Responses to be rated together. The sides have no meaning here; the judge only wants them to be known."""
    texts = tuple(dict.fromkeys(one.response for one in some))
    return Pair(gold="A", gold_index=0, responses=texts, **_shared(some))


def _pairs(some: Sequence[Asked]) -> dict[tuple[int, int], Pair]:
    """The comparisons of a group's distinct responses, by their places."""
    first: dict[str, Asked] = {}
    for one in some:
        first.setdefault(one.response, one)
    return {
        (i, j): Pair(response_a=a.response, response_b=b.response, **_shared((a, b)))
        for (i, a), (j, b) in itertools.combinations(enumerate(first.values()), 2)
    }


def _shared(some: Sequence[Asked]) -> dict[str, Any]:
    one, ids = some[0], [one.id for one in some]
    meta = {"rollouts": ids} | ({"group": one.group} if one.group else {})
    return {"id": "|".join(ids), "prompt": one.prompt, "rubric": one.rubric or None, "meta": meta}


def _billed(score: Detailed, bought: Sequence[Purchase]) -> Detailed:
    calls = [call for purchase in bought for call in purchase.judgment.calls]
    usage = sum((call.usage for call in calls if call.usage is not None), Usage())
    costs = [cost for purchase in bought if (cost := purchase.judgment.cost_usd) is not None]
    return msgspec.structs.replace(score, usage=usage, cost_usd=math.fsum(costs), bought=tuple(bought))


def _why(outcomes: Sequence[Outcome]) -> str:
    """The most serious of what became of it; alone in its group nothing did."""
    return next((worst.value for worst in settle.WORST_FIRST if worst in outcomes), "failed")


def _said(calls: Sequence[Call]) -> str:
    """What the judge wrote, reasoning included, a call after the other."""
    told = [f"<think>{call.reasoning}</think>\n{call.text}" if call.reasoning else call.text for call in calls]
    return "\n\n---\n\n".join(text for text in told if text)


def _once(arm: Arm) -> Arm:
    """An arm as a router buys it: in one order, or one draw of it."""
    return msgspec.structs.replace(arm, orders="ab", samples=1)
