"""What a domain's name says: whether it is math or code, and whether a set holds enough of it."""

import math
import re
from collections.abc import Iterable, Mapping

# Where reasoning is known to pay (RACER, arXiv 2605.10805: +10 points or more), so a router must have seen them.
TOPICS = {
    "math": re.compile(r"(?<![a-z])math|arithmetic|gsm8k", re.IGNORECASE),
    "code": re.compile(r"(?<![a-z])cod(e|ing)|programming|humaneval", re.IGNORECASE),
}
# The least number of pairs on which a gain of 10 points can be seen: two-sided 5 % and power 80 % are 1.96 + 0.84
# standard errors, and that of a paired gain is sqrt(0.3 / n) when two arms differ in correctness on 30 % of the pairs.
THIN_PAIRS = math.ceil((1.96 + 0.84) ** 2 * 0.3 / 0.1**2)


def topic(domain: str) -> str:
    """ "math", "code", or "" when the name says neither.

    >>> topic("JudgeBench/coding"), topic("RewardBench/Reasoning/math"), topic("RM-Bench/chat")
    ('code', 'math', '')
    """
    return next((name for name, pattern in TOPICS.items() if pattern.search(domain)), "")


def matches(key: str, domain: str) -> bool:
    """Whether a domain is meant by `key`: its name, one part of its path, or a topic.

    >>> matches("code", "JudgeBench/coding"), matches("Safety", "RewardBench/Safety"), matches("chat", "RM-Bench/code")
    (True, True, False)
    """
    key, parts = key.lower(), domain.lower().split("/")
    return key in (domain.lower(), topic(domain)) or key in parts


def of_topics(counts: Mapping[str, int]) -> dict[str, int]:
    """How many pairs are math and how many code, by the counts per domain; both are always there."""
    return {name: sum(n for domain, n in counts.items() if topic(domain) == name) for name in TOPICS}


def thin(counts: Mapping[str, int]) -> tuple[str, ...]:
    """The names that have fewer pairs than `THIN_PAIRS`, in order."""
    return tuple(sorted(name for name, count in counts.items() if count < THIN_PAIRS))


def match_first(keys: Iterable[str], domain: str) -> int:
    """The place of the first key that means the domain, the number of keys when none does."""
    keys = list(keys)
    return next((i for i, key in enumerate(keys) if matches(key, domain)), len(keys))
