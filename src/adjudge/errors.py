"""Everything adjudge raises on purpose.

    AdjudgeError
    ├── DataError       a file of pairs or records: what, where, the remedy
    ├── ConfigError     arms.toml or a command's settings
    ├── StoreError      the store cannot be opened, read or written
    ├── BudgetError     a budget that nothing can meet
    │   └── CapReached      a hard cap of the gateway's ledger leaves no room for a call
    ├── KeyRefused      a key of the gateway that is unknown, wrong, revoked or expired: never said which
    ├── RateReached     a key asked more often than it may
    ├── MissingExtra    an optional part is not installed; names the install command
    ├── RewardError     rewards that nothing can be learned from; training stops
    └── BackendError    one call to a model server
        ├── RateLimited     429, or the server asked for time; may be tried again
        ├── Unavailable     5xx, timeout, connection cut or refused; may be tried again
        ├── BadReply        the server answered with what is no chat completion; may be tried again
        └── Rejected        4xx: this request will never work

The command line prints any AdjudgeError as one line and exits with 2. A pair whose judgment fails is not an error: it
is a record with outcome `failed`.
"""


class AdjudgeError(Exception):
    """Base of all. The message says what is wrong, where, and what to do."""


class DataError(AdjudgeError):
    """A file that cannot be used as it is.

    >>> str(DataError("not valid JSON", path="pairs.jsonl", line=7, remedy="mend or delete the line"))
    'pairs.jsonl:7: not valid JSON; mend or delete the line'
    """

    def __init__(self, what: str, *, path: object = None, line: int | None = None, remedy: str = "") -> None:
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(where + what + (f"; {remedy}" if remedy else ""))
        self.path, self.line = path, line


class ConfigError(AdjudgeError):
    pass


class StoreError(AdjudgeError):
    pass


class BudgetError(AdjudgeError):
    pass


class CapReached(BudgetError):
    """`account` is the key's, or "" for the whole service; `window` is "hour", "day" or "all". `retry_after_s` is when
    the call may fit, None where waiting does not help."""

    def __init__(self, account: str, window: str, retry_after_s: float | None) -> None:
        whose = f"the cap of {account}" if account else "the cap of the service"
        when = {"hour": "for this hour", "day": "for this day", "all": "in all"}[window]
        remedy = "raise the cap" if retry_after_s is None else f"try again in {retry_after_s:.0f} s, or raise the cap"
        super().__init__(f"{whose} {when} leaves no room for this call; {remedy}")
        self.account, self.window, self.retry_after_s = account, window, retry_after_s


class KeyRefused(AdjudgeError):
    def __init__(self) -> None:
        super().__init__("the key is not valid; ask for one made by `adjudge keys add`")


class RateReached(AdjudgeError):
    def __init__(self, per_minute: float, retry_after_s: float) -> None:
        super().__init__(f"over {per_minute:g} requests a minute; try again in {retry_after_s:.1f} s")
        self.per_minute, self.retry_after_s = per_minute, retry_after_s


class MissingExtra(AdjudgeError):
    def __init__(self, what: str, install: str) -> None:
        super().__init__(f"{what} is not installed; run: {install}")


class RewardError(AdjudgeError):
    pass


class BackendError(AdjudgeError):
    """One attempt at one call failed.

    `maybe_billed`: the server may have worked on the request, so it may have billed tokens that nobody reported.
    """

    retryable = True

    def __init__(self, what: str, *, maybe_billed: bool = False) -> None:
        super().__init__(what)
        self.maybe_billed = maybe_billed


class RateLimited(BackendError):
    """`retry_after_s` is what the server asked for, None if it did not say."""

    def __init__(self, what: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s


class Unavailable(BackendError):
    """Like RateLimited, a 503 may carry Retry-After."""

    def __init__(self, what: str, *, retry_after_s: float | None = None, maybe_billed: bool = False) -> None:
        super().__init__(what, maybe_billed=maybe_billed)
        self.retry_after_s = retry_after_s


class BadReply(BackendError):
    pass


class Rejected(BackendError):
    """`always`: so will every other request to this server as it is set up (wrong key, no credit, no such model)."""

    retryable = False

    def __init__(self, what: str, *, always: bool = False, maybe_billed: bool = False) -> None:
        super().__init__(what, maybe_billed=maybe_billed)
        self.always = always
