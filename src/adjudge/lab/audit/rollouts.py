"""Rollouts: what a policy wrote in training, what it earned, and what gold says of those that were audited.

One JSON object a line; a run of a policy keeps one file, and `adjudge scan` reads any file of this form.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from adjudge.errors import DataError
from adjudge.files import lines, replacing

ROLLOUTS = "rollouts.jsonl"  # in a policy's folder


class Rollout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`proxy`: the training judge's reward, in its own unit, None where it gave no verdict; `gold`: 0 to 9 where
    gold judged it. `group`: equal for the rollouts of one prompt in one step. `start_nll`, `policy_nll`: negative
    log-likelihood of the response, in nats, under the policy at the start and now, where known."""

    step: int
    id: str
    prompt: str
    response: str
    group: str = ""
    proxy: float | None = None
    gold: float | None = None
    tokens: int | None = None
    start_nll: float | None = None
    policy_nll: float | None = None


def read_rollouts(path: str | Path) -> Iterator[Rollout]:
    """Rollouts of a file, in its order. Raises DataError, with file and line, for what is none."""
    decoder = msgspec.json.Decoder(Rollout)
    for number, line in lines(path):
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            remedy = "a line is {step, id, prompt, response, ..}"
            raise DataError(f"is no rollout: {error}", path=path, line=number, remedy=remedy) from None


def cut_half_line(path: Path) -> None:
    """Cut off the half line that a kill or a full disk has left at the end of a file, if there is one."""
    if path.exists():
        with open(path, "r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)


def write_rollouts(rollouts: Iterable[Rollout], path: str | Path) -> None:
    """Write them in the place of what the file holds; it is never seen half written. Raises DataError."""
    with replacing(path) as file:
        file.writelines(msgspec.json.encode(rollout) + b"\n" for rollout in rollouts)


def append_rollouts(rollouts: Iterable[Rollout], path: str | Path) -> None:
    """Write them after what the file holds."""
    with open(path, "ab") as file:
        file.writelines(msgspec.json.encode(rollout) + b"\n" for rollout in rollouts)
