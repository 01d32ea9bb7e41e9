"""What a caller is told where there is no answer: one shape, that of OpenAI's errors, with a type and a code.

A problem that passes says when in Retry-After. Anything that adjudge raises on purpose becomes one here.
"""

import math

import msgspec

from adjudge.errors import (
    AdjudgeError,
    BudgetError,
    CapReached,
    DataError,
    KeyRefused,
    RateReached,
    StoreError,
)

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    500: "internal_error",
    502: "upstream_error",
    503: "overloaded_error",
    504: "timeout_error",
}
STORE_RETRY_S = 5.0
BUDGET_RETRY_S = 1.0


class Told(msgspec.Struct, frozen=True):
    """An error as the caller reads it."""

    message: str
    type: str
    code: str
    param: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    error: Told


class Problem(Exception):
    """`status`: of the HTTP answer. `retry_after_s`: when the same request may go well, None where it will not."""

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after_s = status, code, param, retry_after_s

    @property
    def told(self) -> Told:
        return Told(str(self), TYPES[self.status], self.code, self.param)

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Retry-After in whole seconds, and how to identify oneself."""
        found: tuple[tuple[bytes, bytes], ...] = ()
        if self.retry_after_s is not None:
            found += ((b"retry-after", str(max(1, math.ceil(self.retry_after_s))).encode()),)
        if self.status == 401:
            found += ((b"www-authenticate", b"Bearer"),)
        return found


def problem_of(error: AdjudgeError) -> Problem:
    """What the caller is told of an error that was raised on purpose."""
    match error:
        case KeyRefused():
            return Problem(401, "invalid_api_key", str(error))
        case RateReached():
            return Problem(429, "rate_limit_exceeded", str(error), retry_after_s=error.retry_after_s)
        case CapReached(retry_after_s=None):
            return Problem(402, "cap_reached", str(error))
        case CapReached():
            return Problem(429, "cap_reached", str(error), retry_after_s=error.retry_after_s)
        case BudgetError():
            return Problem(429, "budget_reached", str(error), retry_after_s=BUDGET_RETRY_S)
        case StoreError():
            return Problem(503, "store_unavailable", "the store does not answer", retry_after_s=STORE_RETRY_S)
        case DataError():
            return Problem(400, "bad_data", str(error))
    return Problem(500, "internal_error", "something went wrong here; the log knows the request's id")
