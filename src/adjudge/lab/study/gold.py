"""Gold of a study: the world's program, or the arm that its preset names, whose judgments are bought once.

What an arm says is kept as it comes, a judgment a line, in `gold.jsonl` of the stage that asked: a stage that goes on
after a kill asks for the rest alone, and what gold cost a stage is a sum over that file. What stages of the same kind
have bought counts too: policies start from the same responses to held-out briefs.

An arm rates as a judge of rewards does (reward/arm_judge.py). What it gives no verdict on is counted and left out;
after SILENT of those in a row nothing more is bought. Nor is anything that might pass the cap of a stage.
"""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from adjudge import config
from adjudge.config import Settings
from adjudge.errors import ConfigError, DataError, RewardError
from adjudge.lab.audit.rollouts import cut_half_line
from adjudge.lab.preset import Preset
from adjudge.lab.reward.arm_judge import ArmJudge
from adjudge.lab.reward.beside import Beside
from adjudge.lab.reward.figures import RewardSettings, count
from adjudge.lab.reward.judge_reward import JudgeReward
from adjudge.lab.reward.metered import Detailed, Unit
from adjudge.lab.scoring import Asked, Judge, Score
from adjudge.lab.study.done import Figures
from adjudge.lab.world.program_gold import Effort, ProgramGold
from adjudge.types import Call, Usage, digest

GOLD = "gold.jsonl"
SILENT = 100
TINY_USD = 1e-12  # what rounding leaves
DEADLINE_S = 30 * 86400.0  # gold is waited for: nothing can go on without it
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
Bought = Callable[[int], None]  # told how many judgments one arm has come to


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """One judgment. `key`: of the arm and what it read. `value`: 0 to 9, None where there is no verdict; `why` is then
    what became of it. `text`: the whole reply, `trace` its reasoning. `usage`: of those of its `requests` that said
    what they billed, `unmetered` did not. `cost_usd`: None where the arm has no price."""

    key: str
    value: float | None = None
    why: str = ""
    text: str = ""
    trace: str = ""
    requests: int = 0
    unmetered: int = 0
    usage: Usage = Usage()
    cost_usd: float | None = None

    @property
    def final(self) -> bool:
        """Whether asking again would be no use: a failure is no answer."""
        return self.value is not None or self.why in ("unread", "truncated", "refused")

    def score(self, *, again: bool) -> Score:
        """As stages read it: the text is the trace, or what was said where there is no verdict."""
        text = self.text if self.value is None else self.trace
        if again:
            return Score(self.value, self.why, text, cached=True)
        return Score(self.value, self.why, text, self.usage, self.cost_usd or 0.0)


class ArmGold:
    """An arm of arms.toml as gold. `path`: where its judgments are kept, in a stage's folder; `cap_usd`: of their cost.
    For any thread and event loop; connections are opened by the first question. Raises ConfigError for an arm that does
    not rate, and for a cap on one without a price."""

    def __init__(
        self,
        settings: Settings,
        arm: str,
        path: Path,
        told: Bought = lambda _count: None,
        cap_usd: float | None = None,
    ) -> None:
        judge = ArmJudge(settings, arm)
        if judge.unit != "one":
            raise ConfigError(f'arms.{arm} compares responses, and gold rates them; name an arm with "pointwise"')
        if cap_usd is not None and not judge.priced:
            raise ConfigError(f"gold.cap_usd: arms.{arm} has no price; give it one")
        self.name, self._key = arm, settings.arm_key(arm)
        self._book = _Book(judge, self._key, path, told, cap_usd)
        at_once = settings.servers[settings.arms[arm].server].concurrency
        rules = RewardSettings(deadline_s=DEADLINE_S, concurrency=at_once, cache=0, stop_after=0)
        self._beside = Beside(JudgeReward(self._book, rules))

    async def score(self, asked: Sequence[Asked]) -> list[Score]:
        """One score each. Raises RewardError where SILENT of them in a row had no verdict, or one is no number, and
        where the cap leaves no room for one."""
        known = self._book.known()
        keys = [_key(self._key, one) for one in asked]
        fresh = {key: one for key, one in zip(keys, asked, strict=True) if key not in known}
        bought: dict[str, Score] = {}
        if fresh:
            scored = await self._beside.judged_async(list(fresh.values()))
            bought = dict(zip(fresh, scored.scores, strict=True))
        return [bought[key] if key in bought else known[key].score(again=True) for key in keys]

    def close(self) -> None:
        self._beside.close()


class _Book:
    """The judge that ArmGold asks: the arm, each of whose judgments is written down before anybody sees it."""

    unit: Unit = "one"

    def __init__(self, judge: ArmJudge, key: str, path: Path, told: Bought, cap_usd: float | None) -> None:
        self.name, self._judge, self._key, self._path, self._told = judge.name, judge, key, path, told
        self._cap_usd = math.inf if cap_usd is None else cap_usd
        self._spent_usd: float | None = None  # of the stage; golds of several efforts come one after the other
        self._held_usd = 0.0  # the most that questions under way may cost
        self._freed = asyncio.Event()
        self._known: dict[str, Said] | None = None
        self._silence: list[Score] = []

    def known(self) -> dict[str, Said]:
        """By key; what failed is left out, to be asked again."""
        if self._known is None:
            cut_half_line(self._path)
            paths = sorted(self._path.parent.parent.glob(f"*/{GOLD}"))
            self._known = {said.key: said for path in paths for said in read_gold(path) if said.final}
        return self._known

    async def score(self, asked: Sequence[Asked]) -> list[Score]:
        self._check()
        worst_usd = await self._put_aside(asked)
        try:
            answers = await self._judge.score(asked)
        finally:
            self._held_usd -= worst_usd
            self._freed.set()
        scores = []
        for one, score in zip(asked, answers, strict=True):
            said = _said(_key(self._key, one), score, priced=self._judge.priced)
            self._keep(said)
            self._silence = [] if said.value is not None else [*self._silence, score]
            scores.append(said.score(again=False))
        self._told(len(self._known or ()))
        return scores

    def _keep(self, said: Said) -> None:
        with open(self._path, "ab") as file:
            file.write(msgspec.json.encode(said) + b"\n")
        self.known()[said.key] = said
        if self._spent_usd is not None:
            self._spent_usd += said.cost_usd or 0.0

    async def close(self) -> None:
        await self._judge.close()

    async def _put_aside(self, asked: Sequence[Asked]) -> float:
        """The most that these can cost, held until they are over. Where the cap has no room, it waits for what others
        leave of theirs; raises RewardError where there are none."""
        if math.isinf(self._cap_usd):
            return 0.0
        if self._spent_usd is None:
            self._spent_usd = sum(said.cost_usd or 0.0 for said in read_gold(self._path))
        worst_usd = self._judge.worst(asked).usd
        while self._spent_usd + self._held_usd + worst_usd > self._cap_usd:
            if self._held_usd > TINY_USD:
                self._freed.clear()
                await self._freed.wait()
                continue
            raise RewardError(
                f"{self._path.parent}: gold, the arm {self.name}, has cost ${self._spent_usd:.4g}, and the next "
                f"judgments may pass gold.cap_usd, ${self._cap_usd:.4g} a stage; raise it to go on from here"
            )
        self._held_usd += worst_usd
        return worst_usd

    def _check(self) -> None:
        if len(self._silence) >= SILENT:
            raise RewardError(
                f"gold, the arm {self.name}, gave no verdict on any of the last {len(self._silence):,} responses "
                f"({count(self._silence).silence()}){first_failure(self._silence)}"
            )


def gold_of(preset: Preset, folder: Path, told: Bought = lambda _count: None, effort: Effort = "high") -> Judge:
    """Gold of a stage, at an effort, not asked yet; the arm's judgments are kept in `folder`. Raises ConfigError."""
    if preset.gold is None:
        return ProgramGold(effort)
    arm, cap_usd = preset.gold.by_effort[effort], preset.gold.cap_usd
    return ArmGold(config.load(preset.gold.arms), arm, folder / GOLD, told, cap_usd)


@contextmanager
def opened(preset: Preset, folder: Path) -> Iterator[Judge]:
    """Gold of a stage, closed at its end."""
    with golds(preset, folder, efforts=("high",)) as found:
        yield found["high"]


@contextmanager
def golds(
    preset: Preset, folder: Path, told: Bought = lambda _count: None, efforts: Sequence[Effort] = EFFORTS
) -> Iterator[dict[str, Judge]]:
    """Gold at those of the efforts that there are, closed at the end."""
    there = [e for e in efforts if preset.gold is None or e in preset.gold.by_effort]
    found: dict[str, Judge] = {effort: gold_of(preset, folder, told, effort) for effort in there}
    with ExitStack() as stack:
        for gold in found.values():
            if isinstance(gold, ArmGold):
                stack.callback(gold.close)
        yield found


def bill(preset: Preset, folder: Path) -> Figures:
    """What gold cost a stage, all of its attempts together; nothing where gold is the program.

    `gold_bought`: judgments, `gold_no_verdict` of them without a verdict; requests and tokens; `gold_unmetered`:
    requests whose tokens nobody reported; `gold_usd` where every arm has a price.
    """
    if preset.gold is None:
        return {}
    said = list(read_gold(folder / GOLD))
    usage = sum((one.usage for one in said), Usage())
    costs = [one.cost_usd for one in said]
    figures: Figures = {
        "gold_bought": len(said),
        "gold_no_verdict": sum(one.value is None for one in said),
        "gold_requests": sum(one.requests for one in said),
        "gold_unmetered": sum(one.unmetered for one in said),
        "gold_prompt_tokens": usage.prompt_tokens,
        "gold_output_tokens": usage.output_tokens,
    }
    return figures if None in costs else figures | {"gold_usd": sum(cost for cost in costs if cost)}


def read_gold(path: Path) -> Iterator[Said]:
    """What is kept of gold's judgments, the line aside that is being written. Raises DataError for what is none."""
    content = path.read_bytes() if path.exists() else b""
    decoder = msgspec.json.Decoder(Said)
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            raise DataError(
                f"is no judgment of gold: {error}", path=path, line=number, remedy="delete the line"
            ) from None


def told_why(scores: Sequence[Score]) -> str:
    """What became of responses without a verdict, for a message: "(3 refused, 2 failed)", and the first failure."""
    kinds = Counter(score.why or "failed" for score in scores if score.value is None)
    counts = ", ".join(f"{n:,} {why}" for why, n in kinds.most_common())
    return f" ({counts}){first_failure(scores)}" if counts else ""


def first_failure(scores: Sequence[Score]) -> str:
    said = next((score.text for score in scores if score.value is None and score.text), "")
    return f"; the first says: {json.dumps(said[:200])}" if said else ""


def _key(arm_key: str, one: Asked) -> str:
    return digest(arm_key, one.prompt, one.response, one.rubric)


def _said(key: str, score: Score, *, priced: bool) -> Said:
    calls = [c for p in score.bought for c in p.judgment.calls] if isinstance(score, Detailed) else []
    return Said(
        key=key,
        value=score.value,
        why=score.why,
        text=score.text,
        trace=_trace(calls) if score.value is not None else "",
        requests=sum(call.attempts for call in calls),
        unmetered=sum(call.unmetered_calls + (call.usage is None and not call.unmetered_calls) for call in calls),
        usage=score.usage,
        cost_usd=score.cost_usd if priced else None,
    )


def _trace(calls: Sequence[Call]) -> str:
    """The reasoning before a rating, on one line, as traces are: a line of its own is where a score stands."""
    found = next((call.reasoning for call in calls if call.kind == "score" and call.reasoning), "")
    return " ".join(found.split())
