"""Joins sources into one set with shares by domain, and says which domains it has too little of.

Two passes: the first keeps 8 bytes per pair, the second writes the chosen ones. Which pairs are chosen and in what
order they stand is drawn by seeded hashes of their ids: the order of the rows in a file changes nothing.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from adjudge.errors import ConfigError, DataError
from adjudge.pairs import domains, own, quotas
from adjudge.pairs.read import Pairs, read
from adjudge.pairs.shuffle import in_order
from adjudge.types import Pair

Watch = Callable[[str, Pairs], Iterable[Pair]]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file or hub dataset to mix in. `share` of the whole or a `count` of pairs; neither: as it comes."""

    path: str | Path
    share: float | None = None
    count: int | None = None
    format: str | None = None


class DomainCount(msgspec.Struct, frozen=True):
    available: int
    chosen: int
    with_gold: int


class Mixed(msgspec.Struct, frozen=True, kw_only=True):
    """What was written.

    `short` maps what could not be met (a domain's share, a source's, the total) to (wanted, taken). `topics` counts the
    pairs with gold of math and of code. `thin` names domains and topics with fewer than `domains.THIN_PAIRS` of them.
    """

    count: int
    sources: dict[str, int]
    domains: dict[str, DomainCount]
    short: dict[str, tuple[int, int]]
    topics: dict[str, int]
    thin: tuple[str, ...]
    left_out: dict[str, int]


class _Plan(NamedTuple):
    sources: Sequence[Source]
    names: list[str]
    shares: dict[str, float]
    seed: int
    watch: Watch


class _Drawn(NamedTuple):
    """A pair with the numbers of its source and its group of domains, and two of 64 bits that its id draws.

    `chance` says whether it is taken, `place` where it then stands.
    """

    source: int
    group: int
    chance: int
    place: int
    pair: Pair


def mix(
    sources: Sequence[Source],
    out: str | Path,
    *,
    total: int | None = None,
    seed: int = 0,
    shares_by_domain: Mapping[str, float] | None = None,
    watch: Watch = lambda name, pairs: pairs,  # noqa: ARG005
) -> Mixed:
    """Write a mixed set to `out` (.jsonl, .jsonl.gz or .parquet) and say what it holds.

    total: pairs to write; None: as many as the shares allow. shares_by_domain: from a domain, a part of its path,
    "math" or "code" to its share of the whole; what is left of the whole is for all other domains. A share that cannot
    be met is left short and reported, never made up with other domains. Ids get the source's name before them. `watch`
    sees every pair go by, for a progress bar. Raises DataError as `read` does, ConfigError on shares that cannot be.
    """
    plan = _Plan(sources, _names(sources), dict(shares_by_domain or {}), seed, watch)
    _check(plan, total)
    chances, available, left_out = _survey(plan)
    available_SK = np.array([[len(cell) for cell in row] for row in chances], dtype=np.int64)
    _refuse_absent(plan, available_SK, available)
    whole, targets_S, targets_K = _targets(plan, total, available_SK)
    taken_SK = quotas.allot(available_SK, whole, targets_S, targets_K)
    limits = [
        [_limit(c, int(n)) for c, n in zip(cs, ns, strict=True)] for cs, ns in zip(chances, taken_SK, strict=True)
    ]
    chosen: Counter[str] = Counter()
    with_gold: Counter[str] = Counter()

    def taken() -> Iterator[tuple[int, Pair]]:
        for drawn in _drawn(plan, Counter()):
            if drawn.chance < limits[drawn.source][drawn.group]:
                chosen[drawn.pair.domain] += 1
                with_gold[drawn.pair.domain] += drawn.pair.gold is not None
                yield drawn.place, drawn.pair

    count = own.write(out, in_order(taken(), int(taken_SK.sum()), Path(out).parent))
    topics = domains.of_topics(with_gold)
    return Mixed(
        count=count,
        sources={name: int(n) for name, n in zip(plan.names, taken_SK.sum(axis=1), strict=True)},
        domains={d: DomainCount(n, chosen[d], with_gold[d]) for d, n in sorted(available.items())},
        short=_short(plan, taken_SK, targets_S, targets_K, total),
        topics=topics,
        thin=domains.thin({d: with_gold[d] for d in chosen} | topics),
        left_out=dict(sorted(left_out.items())),
    )


def _check(plan: _Plan, total: int | None) -> None:
    if not plan.sources:
        raise ConfigError("no source to mix; name at least one file")
    if total is not None and total < 1:
        raise ConfigError(f"total must be at least 1, not {total}")
    given = {name: s.share for name, s in zip(plan.names, plan.sources, strict=True) if s.share is not None}
    for what, shares in (("domains", plan.shares), ("sources", given)):
        for key, share in shares.items():
            if not 0 <= share <= 1:
                raise ConfigError(f"the share of {key!r} must be from 0 to 1, not {share:g}")
        if sum(shares.values()) > 1 + 1e-9:
            raise ConfigError(f"the shares of the {what} add up to {sum(shares.values()):g}; make it 1 or less")
    for name, source in zip(plan.names, plan.sources, strict=True):
        if source.count is not None and (source.count < 0 or source.share is not None):
            raise ConfigError(f"source {name!r}: give a share or a count of 0 or more, not both")


def _names(sources: Sequence[Source]) -> list[str]:
    """What stands before the ids: the file's name without its suffixes, numbered where two are alike."""
    bare = [Path(str(source.path)).name.split(".")[0] or "source" for source in sources]
    return [name if bare.count(name) == 1 else f"{name}~{bare[: i + 1].count(name)}" for i, name in enumerate(bare)]


def _drawn(plan: _Plan, left_out: Counter[str]) -> Iterator[_Drawn]:
    groups: dict[str, int] = {}
    for s, (source, name) in enumerate(zip(plan.sources, plan.names, strict=True)):
        pairs = read(source.path, format=source.format, seed=plan.seed)
        for pair in plan.watch(name, pairs):
            if pair.domain not in groups:
                groups[pair.domain] = domains.match_first(plan.shares, pair.domain)
            pair_id = f"{name}/{pair.id}"
            draw = blake2b(f"{plan.seed}:{pair_id}".encode(), digest_size=16).digest()
            chance, place = int.from_bytes(draw[:8]), int.from_bytes(draw[8:])
            named = msgspec.structs.replace(pair, id=pair_id, source=pair.source or name)
            yield _Drawn(s, groups[pair.domain], chance, place, named)
        left_out.update(pairs.left_out)


def _survey(plan: _Plan) -> tuple[list[list["array[int]"]], Counter[str], Counter[str]]:
    """(the chances drawn in each source and group, pairs per domain, rows left out by reason) of a first pass."""
    left_out: Counter[str] = Counter()
    available: Counter[str] = Counter()
    chances = [[array("Q") for _ in range(len(plan.shares) + 1)] for _ in plan.sources]
    for drawn in _drawn(plan, left_out):
        chances[drawn.source][drawn.group].append(drawn.chance)
        available[drawn.pair.domain] += 1
    return chances, available, left_out


def _refuse_absent(plan: _Plan, available_SK: NDArray[np.int64], available: Counter[str]) -> None:
    for key, found in zip(plan.shares, available_SK.sum(axis=0), strict=False):
        if plan.shares[key] and not found:
            known = ", ".join(sorted(available))
            raise DataError(
                f"no pair is of the domain {key!r}, which is to have a share of {plan.shares[key]:g}",
                remedy=f"add a source that has it; domains found: {known:.300}",
            )


def _targets(
    plan: _Plan, total: int | None, available_SK: NDArray[np.int64]
) -> tuple[int, list[float | None], list[float | None]]:
    """(pairs in all, target per source, target per group of domains; the last group, all others, has none)."""
    shares_S, shares_K = [s.share for s in plan.sources], [*plan.shares.values(), None]
    counts = [s.count for s in plan.sources]
    have_S = available_SK.sum(axis=1)
    part_S = [1.0 if c is None else min(1.0, c / max(1, n)) for c, n in zip(counts, have_S, strict=True)]
    capped_SK = np.floor(available_SK * np.array(part_S)[:, None] + 0.5).astype(np.int64)
    whole = total if total is not None else quotas.largest_total(capped_SK, shares_S, shares_K)
    targets_S = [
        float(count) if count is not None else None if share is None else share * whole
        for count, share in zip(counts, shares_S, strict=True)
    ]
    if None not in targets_S:
        whole = min(whole, round(sum(t for t in targets_S if t is not None)))
    return whole, targets_S, [None if share is None else share * whole for share in shares_K]


def _limit(chances: "array[int]", count: int) -> int:
    """The bound below which `count` of the chances lie."""
    if count >= len(chances):
        return 1 << 64
    return int(np.partition(np.frombuffer(chances, dtype=np.uint64), count)[count])


def _short(
    plan: _Plan, taken_SK: NDArray[np.int64], targets_S: list[Any], targets_K: list[Any], total: int | None
) -> dict[str, tuple[int, int]]:
    """What was wanted and not reached; a source may miss its target by one pair per group, which is rounding."""
    slack = taken_SK.shape[1]
    wanted = [(k, t, n, 0) for k, t, n in zip([*plan.shares, ""], targets_K, taken_SK.sum(axis=0), strict=True)]
    wanted += [(k, t, n, slack) for k, t, n in zip(plan.names, targets_S, taken_SK.sum(axis=1), strict=True)]
    wanted.append(("total", total, taken_SK.sum(), 0))
    return {
        key: (round(target), int(found))
        for key, target, found, allowed in wanted
        if target is not None and found < round(target) - allowed
    }
