"""POST /v1/rewards: responses in, one number each out: what a training asks of a judge.

An arm that rates scores each response alone, 0 to TOP. An arm that compares sets the responses to one prompt against
each other, two by two; the score is the share of the others that a response beats. Every judgment is cached, shared,
capped and kept like any other, so that a rollout that comes twice is judged once.
"""

import asyncio
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

import msgspec

from adjudge.config import Arm, Settings
from adjudge.errors import AdjudgeError, DataError
from adjudge.gateway.api.judge import AUTO, JudgeApi, bill
from adjudge.gateway.asgi import Answer, Call, plain
from adjudge.gateway.desk import Judged
from adjudge.gateway.problems import Problem, problem_of
from adjudge.gateway.shapes import RewardItem, RewardsRequest, RewardsTold, TrainerRequest, TrainerRewards
from adjudge.judging.queries import response_of
from adjudge.judging.run import reachable
from adjudge.judging.stand_in import StandIn
from adjudge.judging.win_rates import win_rates
from adjudge.types import Outcome, Pair, digest

if TYPE_CHECKING:
    from adjudge.gateway.routed import Routed  # routing takes seconds to import

TOP = 9  # scores are 0 to TOP, as in arXiv 2603.12246
ALONE = "alone"
_items = msgspec.json.Decoder(RewardsRequest)
_trainers = msgspec.json.Decoder(TrainerRequest)


class _Score(NamedTuple):
    """`value` None: no verdict, for the reason `why`."""

    value: float | None
    why: str = ""


class _Sums:
    """What a request bought."""

    def __init__(self) -> None:
        self.judged = self.failed = self.cached = self.unpriced = 0
        self.cost_usd = 0.0

    def add(self, judged: Judged) -> None:
        _, cost = bill(judged)
        self.judged += 1
        self.cached += judged.cached
        self.unpriced += cost is None
        self.cost_usd += cost or 0.0


class RewardsApi:
    """`arm`: what scores where a request names none."""

    def __init__(self, judging: JudgeApi, routed: "Routed | None", arm: str | None) -> None:
        self._judging, self._routed, self._arm = judging, routed, arm
        self._stand_ins: dict[str, StandIn] = {}

    async def post(self, call: Call) -> Answer:
        try:
            fields = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
            if "query" in fields:
                return await self._trainer(call, _trainers.decode(call.body))
            return await self._asked(call, _items.decode(call.body))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(400, "invalid_request", str(error)) from None
        except RecursionError:
            raise Problem(400, "invalid_request", "JSON is nested too deeply") from None

    async def _asked(self, call: Call, request: RewardsRequest) -> Answer:
        apart = [
            RewardItem(prompt=group.prompt, response=response, rubric=group.rubric, group=f"\0{place}")
            for place, group in enumerate(request.groups)
            for response in group.responses
        ]
        sums = _Sums()
        arm, found = await self._scored(call, request.arm, (*request.items, *apart), request.deadline_s, sums)
        scores = iter(found)
        own = list(itertools.islice(scores, len(request.items)))
        groups = [list(itertools.islice(scores, len(group.responses))) for group in request.groups]
        return plain(
            RewardsTold(
                request_id=call.id,
                arm=arm,
                scores=tuple(score.value for score in own),
                why=tuple(score.why for score in own),
                groups=tuple(tuple(score.value for score in group) for group in groups),
                group_whys=tuple(tuple(score.why for score in group) for group in groups),
                judged=sums.judged,
                failed=sums.failed,
                cached=sums.cached,
                cost_usd=sums.cost_usd,
                unpriced=sums.unpriced,
            )
        )

    async def _trainer(self, call: Call, request: TrainerRequest) -> Answer:
        if len(request.query) != len(request.prompts):
            raise Problem(400, "invalid_request", "query and prompts are of different lengths", param="prompts")
        try:
            responses = [response_of(q, p) for q, p in zip(request.query, request.prompts, strict=True)]
        except DataError as error:
            raise Problem(400, "invalid_request", str(error), param="query") from None
        items = [RewardItem(prompt=p or " ", response=r) for p, r in zip(request.prompts, responses, strict=True)]
        arm, found = await self._scored(call, None, items, None, _Sums())
        if len(items) == 1 and found[0].why == ALONE:
            told = f"arm {arm} compares the responses to a prompt, and one alone was posted; name an arm that rates"
            raise Problem(400, "nothing_to_compare", told, param="query")
        middle = TOP / 2 if self._rates(arm) else 0.5
        stand_in = self._stand_ins.setdefault(arm, StandIn(middle))
        values = tuple(stand_in.fill(request.prompts, [score.value for score in found]))
        judged = tuple(float(score.value is not None) for score in found)
        return plain(TrainerRewards(rewards=values, scores=values, extra_logs={"judged": judged}))

    async def _scored(
        self, call: Call, arm: str | None, items: Sequence[RewardItem], deadline_s: float | None, sums: _Sums
    ) -> tuple[str, list[_Score]]:
        """The arm's name, and a score for each."""
        named = parse_qs(call.query.decode("latin-1")).get("arm", [None])[0]
        name = arm or named or self._arm or (AUTO if self._routed is not None else None)
        if name is None:
            raise Problem(400, "no_arm", "say which arm scores: `arm`, or ?arm=NAME in the address", param="arm")
        name, fallback = self._judging.chain(name, ())
        if name != (self._routed.name if self._routed else None):
            fallback = ()
        call.notes |= {"arm": name, "items": len(items)}
        groups: dict[tuple[object, ...], list[int]] = {}
        for place, item in enumerate(items):
            groups.setdefault((item.prompt, item.rubric, item.group), []).append(place)
        buying = _Buying(self._judging, call, name, fallback, deadline_s or self._judging.desk.deadline_s, sums)
        score = buying.rate if self._rates(name) else buying.compare
        if not self._rates(name):
            self._judging.desk.room.check(sum(math.comb(len(places), 2) for places in groups.values()))
        else:
            self._judging.desk.room.check(len(items))
        scored = await asyncio.gather(*(score([items[i] for i in places]) for places in groups.values()))
        found = {
            i: one
            for places, some in zip(groups.values(), scored, strict=True)
            for i, one in zip(places, some, strict=True)
        }
        call.notes["cost_usd"] = sums.cost_usd
        return name, [found[i] for i in range(len(items))]

    def _rates(self, name: str) -> bool:
        if self._routed is not None and name == self._routed.name:
            return bool(self._routed.card.responses)
        return rates(self._judging.desk.settings.arms[name], self._judging.desk.settings)


class _Buying:
    """The judgments of one request. Raises Problem where nothing can be scored for a reason that passes."""

    def __init__(
        self, judging: JudgeApi, call: Call, arm: str, fallback: Sequence[str], deadline_s: float, sums: _Sums
    ) -> None:
        self._judging, self._call, self._arm, self._fallback = judging, call, arm, tuple(fallback)
        self._deadline_s, self._sums = deadline_s, sums

    async def rate(self, items: Sequence[RewardItem]) -> list[_Score]:
        """Responses to one prompt, each rated alone."""
        texts = list(dict.fromkeys(item.response for item in items))
        found = await asyncio.gather(*(self._rated(items[0], text) for text in texts))
        by_text = dict(zip(texts, found, strict=True))
        return [by_text[item.response] for item in items]

    async def compare(self, items: Sequence[RewardItem]) -> list[_Score]:
        """Responses to one prompt, set against each other."""
        texts = list(dict.fromkeys(item.response for item in items))
        at = list(itertools.combinations(range(len(texts)), 2))
        pairs = [self._pair(items[0], response_a=texts[i], response_b=texts[j]) for i, j in at]
        judged = await asyncio.gather(*map(self._judged, pairs))
        outcomes = {place: found.outcome for place, found in zip(at, judged, strict=True)}
        copies = [sum(item.response == text for item in items) for text in texts]
        values = win_rates(outcomes, copies)
        scores = []
        for item in items:
            place = texts.index(item.response)
            whys = [outcome.value for where, outcome in outcomes.items() if place in where]
            value = values[place]
            scores.append(_Score(value, "" if value is not None else (whys[0] if whys else ALONE)))
        return scores

    async def _rated(self, item: RewardItem, text: str) -> _Score:
        found = await self._judged(self._pair(item, responses=(text,), gold="A", gold_index=0))
        if found.judged is None or not found.judged.judgment.scores or not found.judged.judgment.scores[0]:
            return _Score(None, found.outcome.value)
        arms = self._judging.desk.settings.arms
        asked = arms[found.judged.arm]
        low, high = (arms[(asked.choices or (asked.name,))[0]] if asked.choices else asked).scale
        ratings = found.judged.judgment.scores[0]
        return _Score((math.fsum(ratings) / len(ratings) - low) * TOP / (high - low))

    async def _judged(self, pair: Pair) -> "_Found":
        try:
            judged = await self._judging.judged(pair, self._arm, self._call, self._deadline_s, self._fallback)
        except AdjudgeError as error:
            raise problem_of(error) from None
        except Problem as problem:
            if problem.status not in (502, 504) and problem.code != "upstream_busy":
                raise  # what is true of all of them
            self._sums.failed += 1
            return _Found(None, Outcome.FAILED)
        self._sums.add(judged)
        return _Found(judged, judged.judgment.outcome)

    def _pair(self, item: RewardItem, **texts: object) -> Pair:
        said = digest(item.prompt, texts.get("responses") or (texts["response_a"], texts["response_b"]), item.rubric)
        pair: Pair = msgspec.structs.replace(Pair(id="r-" + said[:20], prompt=item.prompt, rubric=item.rubric), **texts)
        return pair


class _Found(NamedTuple):
    judged: Judged | None
    outcome: Outcome


def rates(arm: Arm, settings: Settings) -> bool:
    """Whether an arm, or all that it chooses from, gives ratings."""
    asked = [one for one in reachable([arm], settings) if one.protocol not in ("rubric", "self-routing", "route")]
    return all(one.protocol == "pointwise" for one in asked)
