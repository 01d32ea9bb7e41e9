"""The model servers behind the gateway: one connection pool, one gate and one asker each.

A service does not wait for a server that is down, as a run of judging does: its gates are hurried from the start, so
that a call fails at once and another arm is asked. Probes go on: the first call after each look is one. A gate that
shut for good (a wrong key, minutes of nothing but 429) is made anew after REOPEN_S.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from adjudge.config import Arm, Settings
from adjudge.gateway.purse import Purses
from adjudge.judging.asking import Asker
from adjudge.judging.backends.base import Backend, open_backend
from adjudge.judging.limits import Gate
from adjudge.judging.run import reachable

if TYPE_CHECKING:
    from adjudge.gateway.tracing import Tracing  # an extra

REOPEN_S = 30.0
RETRIES = 2


class Upstreams(Mapping[str, Asker]):
    """Server name -> Asker, for every server of these arms. To be made on the event loop that uses it."""

    def __init__(self, settings: Settings, arms: Iterable[Arm], tracing: "Tracing | None" = None) -> None:
        self._tracing = tracing
        self._servers = {arm.server: settings.servers[arm.server] for arm in reachable(arms, settings)}
        self.backends: dict[str, Backend] = {}
        self._purses = Purses()
        self._shut_at: dict[str, float] = {}
        self._clock = asyncio.get_running_loop().time
        for name in self._servers:
            self.backends[name] = open_backend(name, settings)
        self._askers = {name: self._asker(name) for name in self._servers}

    def __getitem__(self, name: str) -> Asker:
        asker = self._askers[name]
        if asker.gate.shut_why:
            shut_at = self._shut_at.setdefault(name, self._clock())
            if self._clock() - shut_at >= REOPEN_S:
                del self._shut_at[name]
                asker = self._askers[name] = self._asker(name)
        return asker

    def __iter__(self) -> Iterator[str]:
        return iter(self._servers)

    def __len__(self) -> int:
        return len(self._servers)

    def traced(self, backend: Backend, server: str) -> Backend:
        """The backend as it is asked: with a span around each question, where somebody collects them."""
        return backend if self._tracing is None else self._tracing.traced(backend, self._servers[server])

    def down(self) -> dict[str, str]:
        """The servers that are not asked now, and why."""
        found = {}
        for name, asker in self._askers.items():
            if asker.gate.shut_why or asker.gate.down:
                found[name] = asker.gate.shut_why or "does not answer"
        return found

    async def close(self) -> None:
        for backend in self.backends.values():
            await backend.close()

    def _asker(self, name: str) -> Asker:
        server = self._servers[name]
        gate = Gate(name, server)
        gate.hurry()
        return Asker(self.traced(self.backends[name], name), gate, self._purses, min(server.retries, RETRIES))
