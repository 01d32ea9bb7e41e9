"""One judgment, whoever asks for it: known, under way, or bought; in time, within the caps, kept and booked.

    pair, arm -> key -> known? -> under way? -> store? -> turn -> put aside -> judge -> kept -> booked
                          `- free    `- shared   `- free              `- 402/429       `- another arm, or a Problem

A judgment that is under way belongs to nobody: when its caller goes away or runs out of time it goes on, is kept and
known. It ends after the service's own deadline at the latest; what a server may have billed until then is booked.
"""

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from adjudge.config import Arm, Settings
from adjudge.errors import AdjudgeError, BudgetError, CapReached, StoreError
from adjudge.gateway.asgi import Caller
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import WHOLE
from adjudge.gateway.problems import Problem
from adjudge.gateway.purse import Purse
from adjudge.gateway.room import FULL_RETRY_S, Room
from adjudge.gateway.shelf import Shelf
from adjudge.gateway.upstreams import Upstreams
from adjudge.judging.bounds import most
from adjudge.judging.driver import Driver
from adjudge.judging.limits import Shut
from adjudge.judging.rubrics import Rubrics
from adjudge.judging.run import guided, reachable
from adjudge.store.lookup import Found
from adjudge.store.store import Bought, Wanted
from adjudge.types import Judgment, Outcome, Pair, Usage, digest

if TYPE_CHECKING:
    from adjudge.gateway.routed import Routed  # routing takes seconds to import

PATIENCE = 0.6  # share of the time that is left which one arm gets while there are others to fall back to
DOWN_RETRY_S = 5.0
KNOWN = 8192
KEEP_S, KEEP_AGAIN_S = 20.0, 0.5
_PASSING = ("HTTP 408", "HTTP 409", "HTTP 425")
_TEXTS: dict[str, Any] = dict.fromkeys(("completion_ab", "completion_ba", "reasoning_ab", "reasoning_ba"))


class Tried(msgspec.Struct, frozen=True):
    """An arm that gave nothing, and why."""

    arm: str
    error: str


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """`arm`: whose judgment it is, after falling back from those `tried`. `cached`: nothing was bought for it. `units`:
    its cost in the router's unit. The judgment holds no texts where it is cached."""

    key: str
    arm: str
    judgment: Judgment
    cached: bool = False
    units: float = 0.0
    tried: tuple[Tried, ...] = ()


class Desk:
    """`deadline_s`: of any judgment. `routed`: who decides for the arm of its name."""

    def __init__(
        self,
        settings: Settings,
        upstreams: Upstreams,
        shelf: Shelf,
        ledger: Ledger,
        room: Room,
        deadline_s: float,
        routed: "Routed | None",
    ) -> None:
        self.settings, self.guided = settings, all_guided(settings)
        self.deadline_s = deadline_s
        self._upstreams, self._shelf, self.ledger, self.room = upstreams, shelf, ledger, room
        self._routed = routed
        judges = {} if routed is None else {routed.name: routed.begin}
        rubrics = Rubrics(shelf.books)
        self._drivers = {
            rubric: Driver(told, upstreams, rubrics, judges)
            for rubric, told in ((False, settings), (True, self.guided))
        }
        self._keys = arm_keys(settings, self.guided)
        self._known: OrderedDict[str, tuple[str, Judgment]] = OrderedDict()
        self.on_judged: Callable[[Pair, Judged, float], None] = lambda pair, judged, seconds: None  # noqa: ARG005
        self.on_unjudged: Callable[[Problem | AdjudgeError, Caller], None] = lambda error, caller: None  # noqa: ARG005

    def key_of(self, pair: Pair, arm: str) -> str:
        """The judgment's key: it changes with everything that may change the answer."""
        return digest(pair.content_key(), self._keys[bool(pair.rubric), arm])

    async def judge(self, pair: Pair, arm: str, caller: Caller, deadline_s: float, fallback: Sequence[str]) -> Judged:
        """The judgment of the arm, or of the first of those to fall back to that gives any.

        Raises Problem, CapReached, BudgetError and StoreError.
        """
        try:
            return await self._first(pair, arm, caller, deadline_s, fallback)
        except (Problem, AdjudgeError) as error:
            self.on_unjudged(error, caller)
            raise

    async def _first(self, pair: Pair, arm: str, caller: Caller, deadline_s: float, fallback: Sequence[str]) -> Judged:
        until = time.monotonic() + min(deadline_s, self.deadline_s)
        chain = list(dict.fromkeys((arm, *fallback)))
        tried: list[Tried] = []
        for place, name in enumerate(chain):
            last = place == len(chain) - 1
            left_s = max(until - time.monotonic(), 0.0)
            try:
                judged = await self._one(pair, name, caller, left_s if last else PATIENCE * left_s, arm)
            except Problem as problem:
                if last or problem.status not in (502, 503, 504) or self.room.closing:
                    raise
                tried.append(Tried(name, str(problem)))
                continue
            return msgspec.structs.replace(judged, tried=tuple(tried)) if tried else judged
        raise AssertionError("the last arm returns or raises")

    async def _one(self, pair: Pair, arm: str, caller: Caller, seconds: float, asked: str) -> Judged:
        key = self.key_of(pair, arm)
        if known := self._known.get(key):
            self._known.move_to_end(key)
            return Judged(key=key, arm=known[0], judgment=known[1], cached=True)
        task, mine = await self._flight(key, lambda: self._bought(key, pair, arm, caller, asked), caller, seconds)
        if not task.done():
            told = f"arm {arm} gave no judgment within {seconds:.3g} s; it goes on, ask again"
            raise Problem(504, "deadline", told, retry_after_s=DOWN_RETRY_S)
        if task.cancelled():
            raise Problem(503, "shutting_down", "this server is going down; ask again", retry_after_s=FULL_RETRY_S)
        judged: Judged = task.result()
        if judged.judgment.outcome is Outcome.FAILED:
            raise _failure(judged)
        return judged if mine or judged.cached else msgspec.structs.replace(judged, cached=True)

    async def _flight(
        self, key: str, work: Callable[[], Coroutine[Any, Any, Judged]], caller: Caller, seconds: float
    ) -> "tuple[asyncio.Task[Judged], bool]":
        """The task that buys this judgment, done or out of time, and whether it was begun for this caller. What another
        caller's cap refused is asked for anew, on this one's account."""
        until = time.monotonic() + seconds
        while True:
            task, mine = self.room.shared(key, work)
            await asyncio.wait({task}, timeout=max(until - time.monotonic(), 0.0))
            over = task.exception() if task.done() and not task.cancelled() else None
            if mine or not isinstance(over, CapReached) or over.account in (caller.account, WHOLE):
                return task, mine

    async def _bought(self, key: str, pair: Pair, arm: str, caller: Caller, asked: str) -> Judged:
        """From the store, or from the servers. Belongs to nobody: it runs to its end."""
        found = await self._shelf.find(key)
        if found is not None:
            return self._remember(Judged(key=key, arm=arm, judgment=_slim(found), cached=True))
        async with self.room.turn():
            began = time.monotonic()
            judged = await self._paid(key, pair, arm, caller, asked)
            self.on_judged(pair, judged, time.monotonic() - began)
        return self._remember(judged)

    async def _paid(self, key: str, pair: Pair, arm: str, caller: Caller, asked: str) -> Judged:
        budgeted = self._routed if self._routed is not None and asked == self._routed.name else None
        routed = budgeted if arm == asked else None  # else an arm that the router's judgment falls back to
        accounts = tuple(dict.fromkeys((caller.account, WHOLE)))
        purse = Purse(self.ledger, (*accounts, budgeted.routing.account) if budgeted else accounts)
        settings = self.guided if pair.rubric else self.settings
        await self._put_aside(purse, pair, settings, arm, routed)
        purse.use()
        judgment: Judgment | None = None
        units = 0.0
        try:
            judgment = await self._driven(pair, settings.arms[arm])
            if routed is not None:
                units = float(judgment.extra.get("route", {}).get("cost", 0.0))
            elif budgeted is not None:
                units = budgeted.charge(judgment)
            if judgment.calls:
                kept = _kept(pair)
                wanted = Wanted(key, kept.content_key(), self._keys[bool(pair.rubric), arm], arm)
                await self._keep(Bought(wanted, kept, judgment))
        finally:
            bought = purse.spent_usd > 0 or (judgment is not None and bool(judgment.calls))
            self.room.begun(purse.close(units, _usage(judgment), judgments=int(bought)))
        if purse.refused is not None and judgment.outcome is Outcome.FAILED:
            raise purse.refused
        return Judged(key=key, arm=arm, judgment=judgment, units=units)

    async def _keep(self, bought: Bought) -> None:
        """On disk, once. It is paid for, so a store that is away for a moment is waited for. Raises StoreError."""
        until = time.monotonic() + KEEP_S
        lost = False
        while True:
            try:
                if not lost or await self._shelf.find(bought.wanted.key) is None:  # else only the answer was lost
                    await self._shelf.keep(bought)
            except StoreError:
                if bought.judgment.outcome is Outcome.FAILED or time.monotonic() > until:
                    raise
                lost = True
                await asyncio.sleep(KEEP_AGAIN_S)
            else:
                return

    async def _put_aside(self, purse: Purse, pair: Pair, settings: Settings, arm: str, routed: "Routed | None") -> None:
        """Reserve the worst case of the judgment; a router's is that of all it may buy, or where the caps have no room
        for so much, of less. Raises CapReached."""
        if routed is None:
            await purse.put_aside(most(pair, settings.arms[arm], settings).usd)
            return
        by_arm = {name: most(pair, _once(settings.arms[name]), settings).usd for name in routed.arms}
        purse.purchases_usd = [by_arm[name] for name in routed.purchase_arms()]
        amounts = (sum(purse.purchases_usd), max(purse.purchases_usd), min(purse.purchases_usd))
        for amount, following in itertools.zip_longest(amounts, amounts[1:]):
            try:
                await purse.put_aside(amount)
                return
            except CapReached:
                if following is None:
                    raise

    async def _driven(self, pair: Pair, arm: Arm) -> Judgment:
        try:
            async with asyncio.timeout(self.deadline_s):
                return (await self._drivers[bool(pair.rubric)].judge(pair, arm)).judgment
        except Shut as shut:
            raise Problem(
                503, "upstream_down", f"arm {arm.name}: {_why_shut(shut)}", retry_after_s=DOWN_RETRY_S
            ) from None
        except TimeoutError:
            told = f"arm {arm.name} gave no judgment within {self.deadline_s:g} s"
            raise Problem(504, "deadline", told, retry_after_s=DOWN_RETRY_S) from None

    def _remember(self, judged: Judged) -> Judged:
        if judged.judgment.outcome is not Outcome.FAILED:
            slim = msgspec.structs.replace(judged.judgment, calls=(), **_TEXTS)
            self._known[judged.key] = (judged.arm, slim)
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)
        return judged


def all_guided(settings: Settings) -> Settings:
    """The settings where every arm without a rubric of its own reads the one that comes with a pair."""
    found = settings
    for arm in settings.arms.values():
        if arm.protocol not in ("rubric", "route"):
            found = guided(found, found.arms[arm.name])
    return found


def arm_keys(plain: Settings, guided_: Settings) -> Mapping[tuple[bool, str], str]:
    """(whether the pair brings a rubric, arm) -> arm_key, of all that judge."""
    told = ((False, plain), (True, guided_))
    return {(rubric, name): s.arm_key(name) for rubric, s in told for name, a in s.arms.items() if _judges(a)}


def definitions(settings: Settings) -> dict[str, tuple[str, str]]:
    """arm_key -> (name, definition), as the store keeps them, of all that may be bought."""
    found = {}
    for told in (settings, all_guided(settings)):
        for arm in reachable(told.arms.values(), told):
            found[told.arm_key(arm.name)] = (arm.name, msgspec.json.encode(arm).decode())
    return found


def _judges(arm: Arm) -> bool:
    return arm.protocol != "rubric"


def _once(arm: Arm) -> Arm:
    """An arm as a router buys it: in one order, or one draw of it."""
    return msgspec.structs.replace(arm, orders="ab", samples=1)


def _kept(pair: Pair) -> Pair:
    """The pair as the store holds it: sides of responses that are rated have no meaning, the judge wanted some."""
    return msgspec.structs.replace(pair, gold=None, gold_index=None) if pair.responses is not None else pair


def _slim(found: Found) -> Judgment:
    return msgspec.structs.replace(found.judgment, calls=(), **_TEXTS)


def _usage(judgment: Judgment | None) -> Usage:
    calls: Iterable[Any] = () if judgment is None else judgment.calls
    return sum((call.usage for call in calls if call.usage is not None), Usage())


def _why_shut(shut: Shut) -> str:
    text = str(shut)
    return text.replace("stopped while server", "server").replace(" was ", " is ")


def _failure(judged: Judged) -> Exception:
    """What a judgment that failed is to its caller."""
    judgment, arm = judged.judgment, judged.arm
    error = judgment.error or "no reply"
    if not judgment.bought:
        return BudgetError(error)
    if not judgment.calls:
        return Problem(400, "cannot_judge", error)
    if error.startswith("HTTP 429"):
        return Problem(503, "upstream_busy", f"arm {arm}: {error}", retry_after_s=DOWN_RETRY_S)
    if error.startswith("HTTP 4") and not error.startswith(_PASSING):
        return Problem(502, "upstream_refused", f"arm {arm}: {error}")
    return Problem(502, "upstream_error", f"arm {arm}: {error}", retry_after_s=DOWN_RETRY_S)
