"""verl's reward when a judge itself is trained by GRPO (arXiv 2603.12246): nearness to gold's score, or gold's verdict.

verl finds the function by this file and the name `compute_score`. `ground_truth` is gold's label as a text: "0" to "9",
or "A" or "B" of two responses as they were shown. What cannot be read, or was cut off while reasoning, earns -1.
"""

from collections.abc import Mapping
from typing import Any

from adjudge.judging.reading import read_score, read_verdict
from adjudge.lab.scoring import TOP, judge_rewards
from adjudge.types import Reply

INVALID = -1.0


def compute_score(
    data_source: str,  # noqa: ARG001 -- verl's signature
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    **_: Any,
) -> dict[str, float]:
    """{"score", "read"} of one judgment; `extra_info["mode"]` is the judge's, "reasoning" without.

    >>> compute_score("", "<think>Two of three.</think>\\n[[5]]", "9")
    {'score': 0.8024691358024691, 'read': 1.0}
    >>> compute_score("", "<think>Two of", "9")
    {'score': -1.0, 'read': 0.0}
    >>> compute_score("", "B names the year.\\n[[B]]", "B")["score"]
    1.0
    """
    reply = Reply(text=solution_str)
    if ground_truth in ("A", "B"):
        outcome = read_verdict(reply).outcome
        if outcome is None or not outcome.is_verdict:
            return {"score": INVALID, "read": 0.0}
        return {"score": float(outcome.value == ground_truth), "read": 1.0}
    mode = (extra_info or {}).get("mode", "reasoning")
    value = read_score(reply, scale=(0, TOP), mode=mode).value
    score = judge_rewards([None if value is None else round(value)], [int(ground_truth)])[0]
    return {"score": score, "read": float(value is not None)}
