"""What tests of whole runs share: pairs, settings, and one way to run them against the scripted server."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from adjudge.config import Settings, from_dict
from adjudge.judging.backends.base import open_backend
from adjudge.judging.progress import Summary
from adjudge.judging.run import reachable, run
from adjudge.store.store import Store
from adjudge.types import Judgment, Pair

PRICE = {"input": 1.0, "output": 10.0}


def pairs(count: int, first: int = 0) -> Iterator[Pair]:
    for i in range(first, first + count):
        yield Pair(
            id=f"pair-{i}",
            prompt=f"What is {i} + {i}?",
            response_a=f"It is {2 * i}.",
            response_b=f"I think {2 * i + 1}, or so.",
            gold="A",
            domain="sums" if i % 2 else "more sums",
            source="made",
        )


def settings(
    url: str,
    *,
    server: dict[str, Any] | None = None,
    arms: dict[str, Any] | None = None,
    others: dict[str, str] | None = None,
) -> Settings:
    """A server `s` (and others, by their urls), and unless others are given one arm that asks once per pair."""
    told = {
        name: {"url": at, "deadline_s": 20.0, **(server or {})} for name, at in {"s": url, **(others or {})}.items()
    }
    return from_dict({"evaluator": "scripted", "servers": told, "arms": arms or {"plain": one_call()}})


def one_call(**fields: Any) -> dict[str, Any]:
    """An arm whose judgment is one call, whatever the answer."""
    return {"server": "s", "model": "m", "orders": "ab", "max_tokens": 64, "price": PRICE, "repair": False, **fields}


async def judged(
    told: Settings, path: Path, given: Iterable[Pair], *, names: Sequence[str] = ("all",), **options: Any
) -> Summary:
    """One whole run against the servers of these settings, with the store at `path` opened and closed around it."""
    arms = told.choose(names)
    backends = {name: open_backend(name, told, {}) for name in {a.server for a in reachable(arms, told)}}
    store = await asyncio.to_thread(Store.open, str(path))
    try:
        return await run(given, arms, told, store, backends=backends, **{"concurrency": 16, **options})
    finally:
        store.close()
        for backend in backends.values():
            await backend.close()


def kept(path: Path) -> dict[tuple[str, str], Judgment]:
    """What the store holds: (pair id, arm) -> judgment with its calls."""
    with Store.open(str(path), create=False) as store:
        return {(r.pair.id, name): j for r in store.records(calls=True) for name, j in r.judgments.items()}


def spent(path: Path) -> tuple[int, int, int]:
    """Prompt tokens, output tokens and unmetered calls of all runs of a store."""
    with Store.open(str(path), create=False) as store:
        spend = store.spend()
        return spend.prompt_tokens, spend.output_tokens, spend.unmetered_calls
