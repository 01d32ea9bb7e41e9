"""What a backend is: something that one question can be sent to, once.

Retries, rate limits and spend are the runner's; a backend knows nothing of them. Each kind lives in the module of its
name (`http`, `embedded`, `replay`), which offers

    def connect(name: str, settings: Settings, environ: Mapping[str, str]) -> Backend

and is imported only when a server of its kind is used.
"""

import importlib
import os
from collections.abc import Mapping
from typing import Protocol

from adjudge.config import Settings
from adjudge.types import Ask, Reply


class Backend(Protocol):
    """One model server. Any number of `send`s may be under way at once, all on one event loop."""

    async def send(self, ask: Ask) -> Reply:
        """One attempt at one question; `attempts` of the reply is 1 and `latency_s` its own time.

        Raises RateLimited, Unavailable, BadReply (may be tried again) or Rejected (may not), with `maybe_billed` set
        where the server may have worked on the request without saying what it billed. Nothing else is raised for what
        a server does. Cancelling it leaves the backend usable.
        """
        ...

    async def close(self) -> None:
        """Give back connections, threads and memory; no `send` may follow. May be called twice."""
        ...


_MODULES = {"openai": "http", "embedded": "embedded", "replay": "replay"}


def open_backend(name: str, settings: Settings, environ: Mapping[str, str] = os.environ) -> Backend:
    """The backend of the server of this name. To be called on the event loop that will use it.

    Raises ConfigError when the server's key variable is not set, MissingExtra when its kind needs a part that is not
    installed, DataError when the records to replay cannot be read.
    """
    module = importlib.import_module(f"adjudge.judging.backends.{_MODULES[settings.servers[name].kind]}")
    backend: Backend = module.connect(name, settings, environ)
    return backend
