"""What a run says of itself while it goes and when it is over."""

import re
import time
from collections import Counter, deque

import msgspec

from adjudge.store.values import Spend
from adjudge.types import Judgment, Outcome

RATE_OVER_S = 10.0
MOST_ERRORS = 1000
COMPARED_CHARS = 60
_VARIES = re.compile(
    r"(?<!HTTP )(?<!\d)\d[\d.,]*"
)  # token counts, times and the like make no other error; a status does


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of a run; counts are judgments.

    `done` = `bought` + `skipped` (in the store before, or put there meanwhile by another run); `total` is None when
    nobody knows how many pairs there are. `waiting` are being bought by another run. `spend_usd` is what is known of
    this run's spend; `unpriced` judgments cost something that is not known. `interrupted` as in Summary.
    """

    done: int
    total: int | None
    bought: int
    skipped: int
    waiting: int
    failed: int
    unread_share: float
    rate_per_s: float
    left_s: float | None
    spend_usd: float
    unpriced: int
    interrupted: int


class Failure(msgspec.Struct, frozen=True):
    """`count` judgments of these arms failed with this error, or with one that begins alike but for its numbers."""

    error: str
    count: int
    arms: tuple[str, ...]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended; counts are judgments.

    `failed` includes `not_bought` (the cap was reached). `left` had no outcome when the run ended, None when it is not
    known how many. `interrupted` were in flight when earlier runs of the store died: they were bought again, and what
    their first purchase cost is not known. `failures` are the errors of what failed, the most common first, without
    `not_bought`. `stopped` says why the run ended early, "" when it did not; `given_up` says it by server, for those
    that were given up.
    """

    run_id: int
    bought: int
    skipped: int
    failed: int
    not_bought: int
    left: int | None
    interrupted: int
    outcomes: dict[Outcome, int]
    spend: Spend
    seconds: float
    failures: tuple[Failure, ...] = ()
    stopped: str = ""
    given_up: dict[str, str] = {}

    @property
    def complete(self) -> bool:
        return not self.stopped and not self.failed

    @property
    def how_to_go_on(self) -> str:
        """Why it stopped, and what to do about what is missing; "" when nothing is."""
        return "; ".join(part for part in (self.stopped, self.what_is_left) if part)

    @property
    def what_is_left(self) -> str:
        """What is missing and how it is bought, "" when nothing is."""
        again = "run the same command again: what is in the store is not bought twice"
        if self.stopped:
            left = "the rest is left" if self.left is None else f"{self.left:,} judgments are left"
            failed = f" and {self.failed:,} failed" if self.failed else ""
            return f"{left}{failed}; {again}"
        if self.not_bought:
            return f"{self.not_bought:,} judgments were not bought: the cap is reached; raise --cap-usd and {again}"
        if self.failed:
            return f"{self.failed:,} judgments failed (their errors are in the store); to try them again {again}"
        return ""


class Tally:
    """The counts behind both."""

    def __init__(self, total: int | None, interrupted: int = 0) -> None:
        self.total = total
        self.interrupted = interrupted
        self.bought = self.skipped = self.waiting = self.failed = self.not_bought = self.unpriced = 0
        self.outcomes: Counter[Outcome] = Counter()
        self.spend_usd = 0.0
        self.began = time.perf_counter()
        self._errors: Counter[str] = Counter()
        self._examples: dict[str, tuple[str, set[str]]] = {}  # an error of the kind, and its arms
        self._marks: deque[tuple[float, int]] = deque([(self.began, 0)])

    def add(self, judgment: Judgment, *, not_bought: bool) -> None:
        outcome = judgment.outcome
        self.bought += 1
        self.outcomes[outcome] += 1
        self.failed += outcome is Outcome.FAILED
        self.not_bought += not_bought
        if outcome is Outcome.FAILED and not not_bought:
            self._add_error(judgment.arm, judgment.error or "")
        if judgment.cost_usd is None:
            self.unpriced += 1
        else:
            self.spend_usd += judgment.cost_usd

    def _add_error(self, arm: str, error: str) -> None:
        kind = _VARIES.sub("0", error)[:COMPARED_CHARS]
        if kind not in self._errors and len(self._errors) >= MOST_ERRORS:
            kind = error = "other errors"
        self._errors[kind] += 1
        self._examples.setdefault(kind, (error, set()))[1].add(arm)

    @property
    def failures(self) -> tuple[Failure, ...]:
        examples = self._examples
        return tuple(Failure(examples[k][0], n, tuple(sorted(examples[k][1]))) for k, n in self._errors.most_common())

    @property
    def left(self) -> int | None:
        return None if self.total is None else max(self.total - self.bought - self.skipped, 0)

    def progress(self) -> Progress:
        now = time.perf_counter()
        if now - self._marks[-1][0] >= 0.5:
            self._marks.append((now, self.bought))
        while len(self._marks) > 2 and now - self._marks[1][0] >= RATE_OVER_S:
            self._marks.popleft()
        since, before = self._marks[0]
        rate = (self.bought - before) / (now - since) if now > since else 0.0
        unread = self.outcomes[Outcome.UNREAD] + self.outcomes[Outcome.TRUNCATED]
        return Progress(
            done=self.bought + self.skipped,
            total=self.total,
            bought=self.bought,
            skipped=self.skipped,
            waiting=self.waiting,
            failed=self.failed,
            unread_share=unread / self.bought if self.bought else 0.0,
            rate_per_s=rate,
            left_s=None if self.left is None or not rate else self.left / rate,
            spend_usd=self.spend_usd,
            unpriced=self.unpriced,
            interrupted=self.interrupted,
        )
