"""What this process holds of the accounts, in memory: what of it is promised to calls, and what is at hand for more.

The database's `ledger_holds` is never less than `held` here. So a call that fits into what is at hand is let in without
asking the database, and no cap is passed. As much is kept at hand as is promised: when the process is killed, at most
twice what its open calls could have cost is presumed spent.
"""

from collections.abc import Iterable

from adjudge.gateway.ledger.batch import SHARE, At


class Hold:
    """Of one account, reserved in one hour. Nano-dollars."""

    __slots__ = ("held", "open", "used")

    def __init__(self) -> None:
        self.open = self.held = 0
        self.used = True  # since `idle` was last asked

    @property
    def at_hand(self) -> int:
        return self.held - self.open


class Hand:
    def __init__(self) -> None:
        self._holds: dict[At, Hold] = {}
        self._left: dict[str, int] = {}

    def let_in(self, names: Iterable[str], hour_s: int, worst: int) -> bool:
        """Promise `worst` of every account, or of none: False where something has to be asked for first."""
        holds = [self._holds.get((name, hour_s)) for name in names]
        if not all(hold is not None and hold.at_hand >= worst for hold in holds):
            return False
        for hold in holds:
            assert hold is not None
            hold.open += worst
            hold.used = True
        return True

    def promise(self, names: Iterable[str], hour_s: int, worst: int) -> None:
        """A call was let in by the database."""
        for name in names:
            hold = self._holds.setdefault((name, hour_s), Hold())
            hold.open += worst
            hold.held += worst
            hold.used = True

    def keep(self, kept: dict[str, int], hour_s: int) -> None:
        for name, amount in kept.items():
            self._holds.setdefault((name, hour_s), Hold()).held += amount

    def took_back(self, names: Iterable[str], hour_s: int, worst: int) -> None:
        """A call bought nothing: its promise is at hand again."""
        for name in names:
            self._holds[name, hour_s].open -= worst

    def settled(self, names: Iterable[str], hour_s: int, worst: int) -> None:
        """A call was booked, and the database holds nothing for it any more."""
        for name in names:
            hold = self._holds[name, hour_s]
            hold.open -= worst
            hold.held -= worst

    def saw_left(self, left: dict[str, int]) -> None:
        """What may still be reserved of these accounts."""
        self._left.update(left)

    def wish(self, name: str, hour_s: int) -> int:
        """How much more to keep at hand, up to what is promised; below 0 how much less, from twice of that on."""
        hold = self._holds.get((name, hour_s))
        if hold is None:
            return 0
        target = max(min(hold.open, self._left.get(name, 0) // SHARE), 0)
        if target <= hold.at_hand <= 2 * target:
            return 0
        return target - hold.at_hand

    def open(self, at: At) -> int:
        """What is promised."""
        hold = self._holds.get(at)
        return 0 if hold is None else hold.open

    def has(self, names: Iterable[str], hour_s: int) -> bool:
        """Whether anything is at hand."""
        holds = (self._holds.get((name, hour_s)) for name in names)
        return any(hold is not None and hold.at_hand > 0 for hold in holds)

    def give(self, at: At, amount: int | None = None) -> int:
        """Keep so much less at hand, by default nothing; how much that is."""
        hold = self._holds.get(at)
        if hold is None:
            return 0
        given = hold.at_hand if amount is None else amount
        hold.held -= given
        return given

    def idle(self) -> list[At]:
        """Where nothing was promised since this was last asked, something is at hand; forgets what is empty."""
        found = [at for at, hold in self._holds.items() if not hold.used and hold.at_hand]
        self._holds = {at: hold for at, hold in self._holds.items() if hold.used or hold.held}
        for hold in self._holds.values():
            hold.used = False
        return found
