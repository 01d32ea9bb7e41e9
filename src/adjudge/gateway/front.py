"""The gateway's front desk: who may come in, and what is written down of every request."""

import ipaddress
import traceback
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from adjudge.errors import KeyRefused
from adjudge.gateway.asgi import Call, Caller
from adjudge.gateway.keys.key import Scope
from adjudge.gateway.keys.ring import KeyRing
from adjudge.gateway.problems import Problem
from adjudge.gateway.telemetry import Log, Metrics

if TYPE_CHECKING:
    from adjudge.gateway.tracing import Tracing  # an extra


class Front:
    """`ring`: the keys, None where there were none at the start: then whoever reaches the address may do anything, and
    an address that is not this machine's own name is refused (a page in a browser can be pointed here by DNS)."""

    def __init__(self, ring: KeyRing | None, metrics: Metrics, log: Log, tracing: "Tracing | None" = None) -> None:
        self._ring, self._metrics, self._log, self._tracing = ring, metrics, log, tracing

    async def admit(self, call: Call, scope: str | None) -> Caller:
        """`scope`: what the key must have, or "this|that". Raises KeyRefused, RateReached, StoreError, Problem 403."""
        if self._ring is None:
            host = call.headers.get(b"host", b"").decode("latin-1").lower()
            if not is_loopback(host[1:].partition("]")[0] if host[:1] == "[" else host.partition(":")[0]):
                raise Problem(403, "foreign_host", "without keys only this machine may ask, by the name of localhost")
            return Caller()
        if scope is None:
            return Caller()
        if call.token is None:
            raise KeyRefused
        key = await self._ring.check(call.token)
        wanted = scope.split("|")
        if not key.scopes.intersection(map(Scope, wanted)):
            raise Problem(403, "scope_missing", f"this key may not do that: it lacks the scope {' or '.join(wanted)}")
        self._ring.take(key)
        return Caller(key.id, key.name)

    def began(self, call: Call, method: str, route: str) -> None:
        self._metrics.open.inc()
        if self._tracing is not None:
            self._tracing.began(call, method, route)

    def ended(self, call: Call, route: str, status: int, seconds: float, fault: BaseException | None) -> None:
        self._metrics.open.dec()
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        fields: dict[str, Any] = {"id": call.id, "route": route, "status": status, "ms": round(seconds * 1e3, 3)}
        if call.caller.account:
            fields["key"] = call.caller.account
        if isinstance(fault, Exception):
            self._metrics.faults.labels("request").inc()
            fields["fault"] = where(fault)
        self._log.line(**fields, **call.notes)
        if self._tracing is not None:
            self._tracing.ended(call, status)

    def noted(self, fault: BaseException) -> None:
        """Something went wrong beside any request."""
        self._metrics.faults.labels("beside").inc()
        self._log.line(event="fault", fault=where(fault))


@lru_cache
def is_loopback(host: str) -> bool:
    """Whether it is this machine alone, by number or as localhost; no other name is believed.

    >>> is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("127.evil.example")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def where(fault: BaseException) -> str:
    """An error by its kind and place; its message may hold texts and is left out."""
    frames = traceback.extract_tb(fault.__traceback__)[-3:]
    places = " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(fault).__name__} at {places}"
