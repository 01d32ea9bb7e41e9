"""Templates: responses to different prompts that are mostly the same words.

A shingle is WORDS words in a row (a shorter text is one shingle). Within a window of rollouts it is *spread* when it
stands in responses to at least `least(prompts)` different prompts; a response is flagged when at least SHARE of its
shingles are spread. Counting is exact and per window, so memory is bounded by the window and time is linear; responses
to one prompt count once, since they are alike for good reasons.

What it cannot know: where the prompts themselves ask for the same words, honest responses share them too. The rise of
the share since the start of a training is the sign.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from adjudge.redteam.flags import QUOTE, Flag, Written, flag

WORDS = 5
SHARE = 0.6
LEAST = 4  # prompts
LEAST_SHARE = 0.02  # of the window's prompts
LONGEST = 4_000  # words of a response that are looked at


def least(prompts: int) -> int:
    """Different prompts from which on a shingle is spread."""
    return max(LEAST, round(LEAST_SHARE * prompts))


def template_flags(window: Sequence[Written]) -> list[Flag | None]:
    """A flag, or none, for each response of the window, in order."""
    shingles = [_shingles(_words(r.response)) for r in window]
    by_prompt: defaultdict[str, set[int]] = defaultdict(set)
    for rollout, own in zip(window, shingles, strict=True):
        by_prompt[rollout.prompt] |= own
    counts = Counter[int]()
    for together in by_prompt.values():
        counts.update(together)
    enough = least(len(by_prompt))
    spread = {shingle for shingle, count in counts.items() if count >= enough}
    return [
        _flag(r.response, spread) if own and len(own & spread) >= SHARE * len(own) else None
        for r, own in zip(window, shingles, strict=True)
    ]


def _words(text: str) -> list[str]:
    return text.lower().split(None, LONGEST)[:LONGEST]


def _shingles(words: list[str]) -> set[int]:
    """Hashes of the shingles. They differ from process to process; what is equal does not."""
    if len(words) < WORDS:
        return {hash(tuple(words))} if words else set()
    return set(map(hash, zip(*(words[i:] for i in range(WORDS)), strict=False)))


def _flag(response: str, spread: set[int]) -> Flag:
    """The longest stretch of the response that others share, as evidence."""
    words = response.split(None, LONGEST)[:LONGEST]
    lowered = [w.lower() for w in words]
    if len(words) < WORDS:
        first, last = 0, len(words) - 1
    else:
        first, last = _longest_run([hash(s) in spread for s in zip(*(lowered[i:] for i in range(WORDS)), strict=False)])
        last += WORDS - 1
    start = _place(response, words, first)
    end = _place(response, words, last) + len(words[last])
    return flag("template", response, start, end, f"these words answer other prompts too (first {QUOTE} characters)")


def _longest_run(marks: list[bool]) -> tuple[int, int]:
    """First and last place of the longest run of True."""
    best, begun = (0, 0), None
    for i, mark in enumerate([*marks, False]):
        if mark and begun is None:
            begun = i
        elif not mark and begun is not None:
            if i - begun > best[1] - best[0]:
                best = (begun, i)
            begun = None
    return best[0], max(best[1] - 1, best[0])


def _place(text: str, words: list[str], index: int) -> int:
    """Where the word of that index begins."""
    at = 0
    for word in words[:index]:
        at = text.index(word, at) + len(word)
    return text.index(words[index], at)
