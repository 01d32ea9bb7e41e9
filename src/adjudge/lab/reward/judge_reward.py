"""A judge as a reward: rollouts in, one number each out, None where there is no verdict.

    rollouts -> known? (cache, in flight) -> portions -> purse of the step -> judge -> scores, store, cache
                                             `- deadline: what has not come is None

What there is no verdict of is never a bad score. It is left out and counted by what became of it: unread, truncated,
refused, failed, over the step's budget, late. Identical (prompt, response, rubric) are judged once, in a group of
comparisons identical groups. Where nothing of a step can be learned from, training is ended by an error instead.

The deadline holds for the caller: what is being judged then goes on, is kept and remembered; what had to wait for its
turn until then is given up, so that a slow judge does not fall further and further behind.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from adjudge.errors import ConfigError, RewardError
from adjudge.judging.bounds import Spending
from adjudge.judging.driver import cancelled
from adjudge.lab.reward.figures import LATE, OVER_BUDGET, RewardSettings, StepFigures, count
from adjudge.lab.reward.journal import Journal
from adjudge.lab.reward.metered import Closing, Metered, Portioned, by_group, group_of, spent, unbilled
from adjudge.lab.reward.purse import Purse
from adjudge.lab.scoring import Asked, Judge, Score
from adjudge.store.store import Claim, Store
from adjudge.types import digest

STEPS_KEPT = 64  # of figures and purses
CLOSING_S = 60.0
ASK_AGAIN_S = 0.1  # for what another training is buying
T = TypeVar("T")
_FORGOTTEN = frozenset({"failed", OVER_BUDGET, LATE})  # what another try may change


class Scored(NamedTuple):
    """What came of one call: a score per rollout, in order, and what became of them in figures."""

    scores: list[Score]
    figures: StepFigures

    @property
    def rewards(self) -> list[float | None]:
        return [score.value for score in self.scores]


class _Portion:
    """What is handed to the judge at once. `until`: it is given up where its turn has not come by then."""

    def __init__(self, asked: Sequence[Asked], keys: Sequence[str], step: int, until: float) -> None:
        self.asked, self.keys, self.step, self.until = tuple(asked), tuple(keys), step, until
        self.task: asyncio.Task[dict[str, Score]]

    def all(self, why: str) -> dict[str, Score]:
        return dict.fromkeys(self.keys, Score(None, why))

    def by_key(self, scores: Sequence[Score]) -> dict[str, Score]:
        """Of several alike the first counts: it holds what was bought."""
        return dict(reversed(list(zip(self.keys, scores, strict=True))))


class JudgeReward:
    """A judge as the reward of a training. For one event loop, that of its first call; `Beside` gives it its own.

    `store`: every judgment that is bought is kept there, with its step and rollout, and what it holds of an arm is not
    bought again; until `close` the store is this object's alone. Raises ConfigError for a cap on what the judge cannot
    bound.
    """

    def __init__(self, judge: Judge, settings: RewardSettings | None = None, *, store: Store | None = None) -> None:
        self.judge = judge
        self.settings = settings or RewardSettings()
        _check_caps(judge, self.settings)
        self.unit = judge.unit if isinstance(judge, Portioned) else "all"
        self._journal = None if store is None else Journal(store, judge)
        self._places = asyncio.Semaphore(self.settings.concurrency)
        self._known: OrderedDict[str, Score] = OrderedDict()
        self._in_flight: dict[str, _Portion] = {}
        self._tasks: set[asyncio.Task[dict[str, Score]]] = set()
        self._purses: OrderedDict[int, Purse] = OrderedDict()
        self._figures: OrderedDict[int, StepFigures] = OrderedDict()
        self._silence = StepFigures()
        self._silent_calls = 0
        self._fault: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun: asyncio.Task[None] | None = None

    async def rewards(self, asked: Sequence[Asked], step: int = 0) -> list[float | None]:
        """The reward of each rollout, None where there is no verdict, at the latest after `deadline_s`.

        Calls of one step share its caps. Raises RewardError for a value that is no finite number, and where too many
        steps in a row gave no verdict at all; StoreError where judgments cannot be kept; what the judge raises.
        """
        return (await self.judged(asked, step)).rewards

    async def judged(self, asked: Sequence[Asked], step: int = 0) -> Scored:
        """Like `rewards`, with the scores and what became of them."""
        await self._ready()
        loop = asyncio.get_running_loop()
        began = loop.time()
        keys = self._keys(asked)
        own = self._begin(asked, keys, step, began + self.settings.deadline_s)
        waiting = {key: self._in_flight[key] for key in keys if key in self._in_flight}
        known = {key: self._known[key] for key in keys if key not in waiting}
        if waiting:
            left_s = began + self.settings.deadline_s - loop.time()
            await asyncio.wait({portion.task for portion in waiting.values()}, timeout=left_s)
        for key, portion in waiting.items():
            known[key] = portion.task.result()[key] if portion.task.done() else Score(None, LATE)
        scores = []
        for key in keys:  # the first of several alike is the one that was asked
            scores.append(known[key] if key in own or known[key].why in (LATE, OVER_BUDGET) else _again(known[key]))
            own.discard(key)
        figures = msgspec.structs.replace(count(scores), seconds=loop.time() - began)
        self._add(step, figures)
        self._stop_if_silent(figures, scores)
        return Scored(scores, figures + spent(scores))

    async def start(self, asked: Sequence[Asked], step: int = 0) -> None:
        """Begin to judge rollouts while others are still being generated; `judged` finds what came of them.

        A judge that compares has to be given whole groups.
        """
        await self._ready()
        until = asyncio.get_running_loop().time() + self.settings.deadline_s
        self._begin(asked, self._keys(asked), step, until)

    @property
    def interrupted(self) -> int:
        """Judgments that were in flight when earlier runs of the store died; known once something was judged."""
        return self._journal.interrupted if self._journal is not None else 0

    def figures(self, step: int) -> StepFigures:
        """Of all calls of one of the last steps, with the cost of what came late."""
        return self._figures.get(step, StepFigures())

    async def close(self) -> None:
        """Wait for what is being judged, at most CLOSING_S, write it, and close the judge. Raises StoreError."""
        for portion in self._in_flight.values():
            portion.until = -math.inf  # what had no turn yet gets none
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING_S)
            await cancelled(list(self._tasks))
        try:
            if self._journal is not None:
                await self._journal.close()
        finally:
            if isinstance(self.judge, Closing):
                await self.judge.close()

    async def _ready(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise ConfigError("a JudgeReward stays on the event loop that first used it; ask it through Beside instead")
        if self._fault is not None:
            raise self._fault
        if self._journal is not None:
            self._begun = self._begun or asyncio.create_task(self._journal.begin())
            await asyncio.shield(self._begun)
            self._journal.check()

    def _keys(self, asked: Sequence[Asked]) -> list[str]:
        """One key each, equal where the same would be judged: in comparisons the whole group counts."""
        if self.unit != "group":
            return [digest(one.prompt, one.response, one.rubric) for one in asked]
        groups = by_group(asked)
        said = {group: sorted(one.response for one in some) for group, some in groups.items()}
        return [digest(one.prompt, one.response, one.rubric, said[group_of(one)]) for one in asked]

    def _begin(self, asked: Sequence[Asked], keys: Sequence[str], step: int, until: float) -> set[str]:
        """Start what is neither known nor in flight; the keys of what was started."""
        own: set[str] = set()
        for together in self._together(asked, keys):
            new = [(one, key) for one, key in together if key not in self._known and key not in self._in_flight]
            if new and self.unit == "group":
                new = together  # some of it was forgotten, and it is only judged as a whole
            for part in self._split(new, step):
                own.update(key for _, key in part)
                self._buy(_Portion([one for one, _ in part], [key for _, key in part], step, until))
        for key in keys:
            if key in self._known:
                self._known.move_to_end(key)
            if key in self._in_flight:
                self._in_flight[key].until = max(self._in_flight[key].until, until)
        return own

    def _together(self, asked: Sequence[Asked], keys: Sequence[str]) -> list[list[tuple[Asked, str]]]:
        """What goes to the judge at once; what is judged alone is there once, however often it is asked for."""
        if self.unit == "group":
            groups: dict[tuple[str, str, str], list[tuple[Asked, str]]] = {}
            for one, key in zip(asked, keys, strict=True):
                groups.setdefault(group_of(one), []).append((one, key))
            return list(groups.values())
        first: dict[str, Asked] = {}
        for one, key in zip(asked, keys, strict=True):
            first.setdefault(key, one)
        each = [(one, key) for key, one in first.items()]
        return [[one] for one in each] if self.unit == "one" else [each]

    def _split(self, new: list[tuple[Asked, str]], step: int) -> list[list[tuple[Asked, str]]]:
        """A batch is cut where the cap on judgments is reached, instead of being left out as a whole."""
        cap = self.settings.cap_judgments
        room = len(new) if self.unit != "all" or cap is None else max(cap - self._purse(step).spent.judgments, 0)
        return [part for part in (new[:room], new[room:]) if part]

    def _buy(self, portion: _Portion) -> None:
        portion.task = asyncio.create_task(self._score(portion))
        portion.task.add_done_callback(lambda task: self._ended(portion, task))
        self._tasks.add(portion.task)
        self._in_flight |= dict.fromkeys(portion.keys, portion)

    async def _score(self, portion: _Portion) -> dict[str, Score]:
        """What a portion comes to, once its turn has come and the purse lets it be bought."""
        clock = asyncio.get_running_loop().time
        async with self._places:
            if clock() > portion.until:
                return portion.all(LATE)
            if not self.settings.capped:
                return portion.by_key(await self._ask(portion))
            purse, worst = self._purse(portion.step), self._worst(portion.asked)
            if not await purse.reserve(worst):
                return portion.all(OVER_BUDGET)
            took = worst
            try:
                if clock() > portion.until:
                    took = Spending()
                    return portion.all(LATE)
                scores = await self._ask(portion)
                if not unbilled(scores):
                    figures = spent(scores)
                    bought = worst.judgments if any(not s.cached and s.why != LATE for s in scores) else 0
                    took = Spending(bought, figures.output_tokens, figures.cost_usd)
                return portion.by_key(scores)
            finally:
                purse.settle(worst, took)

    async def _ask(self, portion: _Portion) -> list[Score]:
        """Have the judge score a portion, unless the store holds it, and enter it in books and cache."""
        bought = await self._is_to_buy(portion)
        if bought is None:
            return [Score(None, LATE)] * len(portion.asked)
        if bought or self._journal is None:
            scores = await self.judge.score(portion.asked)
        else:
            scores = [_again(score) for score in await self._journal.known(portion.step, portion.asked)]
        if len(scores) != len(portion.asked):
            raise RewardError(
                f"judge {self.judge.name} gave {len(scores):,} scores for {len(portion.asked):,} responses"
            )
        for one, score in zip(portion.asked, scores, strict=True):
            if score.value is not None and not math.isfinite(score.value):
                raise RewardError(
                    f"judge {self.judge.name} gave {score.value} for rollout {one.id!r} of step {portion.step}; "
                    "a score is a finite number, or None where there is no verdict"
                )
        self._add(portion.step, spent(scores))
        if bought and self._journal is not None:
            self._journal.add(portion.step, portion.asked, scores)
        for key, score in portion.by_key(scores).items():
            if score.value is not None or score.why not in _FORGOTTEN:
                self._known[key] = _again(score)
        while len(self._known) > self.settings.cache:
            self._known.popitem(last=False)
        return scores

    async def _is_to_buy(self, portion: _Portion) -> bool | None:
        """Whether nobody has bought a portion; None where another training was still at it when its time was over."""
        if self._journal is None:
            return True
        clock = asyncio.get_running_loop().time
        while (claim := await self._journal.claim(portion.step, portion.asked)) is Claim.BUSY:
            if clock() > portion.until:
                return None
            await asyncio.sleep(ASK_AGAIN_S)
        return claim is Claim.MINE

    def _ended(self, portion: _Portion, task: asyncio.Task[dict[str, Score]]) -> None:
        self._tasks.discard(task)
        for key in portion.keys:
            if self._in_flight.get(key) is portion:
                del self._in_flight[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = self._fault or error

    def _worst(self, asked: Sequence[Asked]) -> Spending:
        return self.judge.worst(asked) if isinstance(self.judge, Metered) else Spending(len(asked))

    def _purse(self, step: int) -> Purse:
        return _kept(self._purses, step, lambda: Purse(self.settings))

    def _add(self, step: int, figures: StepFigures) -> None:
        self._figures[step] = _kept(self._figures, step, StepFigures) + figures

    def _stop_if_silent(self, figures: StepFigures, scores: Sequence[Score]) -> None:
        """Raises RewardError where there was nothing to learn from for long enough."""
        if figures.verdicts:
            self._silence, self._silent_calls = StepFigures(), 0
        if figures.verdicts or not scores:
            return
        self._silence += figures
        self._silent_calls += 1
        settings = self.settings
        steps = self._silence.asked // settings.step_size if settings.step_size else self._silent_calls
        if settings.stop_after and steps >= settings.stop_after:
            error = next((score.text for score in scores if score.why == "failed" and score.text), "")
            raise RewardError(
                f"judge {self.judge.name} gave no verdict on any of the last {self._silence.asked:,} rollouts "
                f"({self._silence.silence()}){f'; the first failure says: {error}' if error else ''}"
            )


def _check_caps(judge: Judge, settings: RewardSettings) -> None:
    if isinstance(judge, Metered):
        if settings.cap_usd is not None and not judge.priced:
            raise ConfigError(f"cap_usd needs prices: give every arm that judge {judge.name} asks a price")
    elif (settings.cap_output_tokens, settings.cap_usd) != (None, None):
        raise ConfigError(f"judge {judge.name} cannot say what a judgment may cost; set cap_judgments alone")


def _again(score: Score) -> Score:
    """The same score where nothing had to be asked for it."""
    return Score(score.value, score.why, score.text, cached=True)


def _kept(table: OrderedDict[int, T], step: int, new: Callable[[], T]) -> T:
    """The entry of a step, made where there is none; only those of the last steps are kept."""
    if step not in table:
        table[step] = new()
        if len(table) > STEPS_KEPT:
            table.popitem(last=False)
    return table[step]
