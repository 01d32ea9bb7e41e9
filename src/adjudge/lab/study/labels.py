"""Stage `annotate`: items of the world with what gold says of them, in files that every later stage reads.

judge_train.jsonl, judge_test.jsonl   brief, response, gold's score, its trace at each effort, its rubric
briefs_train.jsonl, briefs_held.jsonl briefs for policies, none of which a judge was trained on
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from adjudge.errors import DataError
from adjudge.files import lines, replacing
from adjudge.lab.preset import World
from adjudge.lab.scoring import TOP, Asked, Score
from adjudge.lab.scoring import Judge as Scorer
from adjudge.lab.study.done import DONE
from adjudge.lab.study.gold import EFFORTS, told_why
from adjudge.lab.world.items import draw_brief, draw_items, parse_brief
from adjudge.lab.world.program_gold import ProgramGold
from adjudge.lab.world.wording import rubric

FILES = ("judge_train.jsonl", "judge_test.jsonl")
BRIEFS = ("briefs_train.jsonl", "briefs_held.jsonl")


class Label(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`score`: gold's, 0 to 9; `traces`: how it came to it, by effort; `rubric`: what it would look for."""

    id: str
    brief: str
    response: str
    score: int
    traces: dict[str, str] = {}
    rubric: str = ""


async def annotate(world: World, folder: Path, seed: int, golds: dict[str, Scorer] | None = None) -> dict[str, float]:
    """Draw the world's items, have gold label them, write the four files. Returns counts.

    `golds`: the gold judge at each effort, `high` the one whose score counts; its texts are the traces. Items that gold
    gives no verdict for are left out and counted; a lower effort's trace is kept where its score is the same
    (arXiv 2603.12246).
    Raises DataError where gold labels fewer than half.
    """
    asked_golds: dict[str, Scorer] = dict(golds) if golds else {effort: ProgramGold(effort) for effort in EFFORTS}
    counts: dict[str, float] = {}
    seen: set[str] = set()
    for name, count, part in ((FILES[0], world.train, 0), (FILES[1], world.test, 1)):
        drawn = list(draw_items(part_seed(seed, part), count))
        seen |= {brief.text() for brief, _ in drawn}
        asked = [Asked(id=f"{part}-{k}", prompt=brief.text(), response=text) for k, (brief, text) in enumerate(drawn)]
        scores = await asked_golds["high"].score(asked)
        labelled = [(one, score) for one, score in zip(asked, scores, strict=True) if score.value is not None]
        if len(labelled) < count / 2:
            raise DataError(
                f"gold labelled {len(labelled):,} of {count:,} items{told_why(scores)}",
                path=folder,
                remedy="see why before training on the rest",
            )
        labels = await _labels(labelled, {e: gold for e, gold in asked_golds.items() if e != "high"})
        write_labels(labels, folder / name)
        counts[name.removesuffix(".jsonl")] = len(labels)
    for name, count, part in ((BRIEFS[0], world.briefs, 2), (BRIEFS[1], world.held, 3)):
        briefs = _fresh_briefs(random.Random(part_seed(seed, part)), count, seen)
        with replacing(folder / name) as file:
            file.writelines(msgspec.json.encode({"brief": brief}) + b"\n" for brief in briefs)
        counts[name.removesuffix(".jsonl")] = count
    return counts


def part_seed(seed: int, part: int) -> int:
    """Parts of a study draw from streams of their own."""
    return 1_000_003 * seed + part


async def _labels(labelled: list[tuple[Asked, Score]], lower: dict[str, Scorer]) -> list[Label]:
    """The labels of what gold gave a verdict for, with the traces that golds of lower efforts add."""
    also = {effort: await gold.score([one for one, _ in labelled]) for effort, gold in lower.items()}
    labels = []
    for k, (one, high) in enumerate(labelled):
        assert high.value is not None, "only what gold gave a verdict for is labelled"
        said = {"high": high, **{effort: scores[k] for effort, scores in also.items()}}
        score = _whole(high.value)
        alike = {effort: s.text for effort, s in said.items() if s.value is not None and _whole(s.value) == score}
        traces: dict[str, str] = {effort: alike[effort] for effort in EFFORTS if alike.get(effort)}
        guide = rubric(parse_brief(one.prompt))
        labels.append(
            Label(id=one.id, brief=one.prompt, response=one.response, score=score, traces=traces, rubric=guide)
        )
    return labels


def _whole(value: float) -> int:
    return min(TOP, max(0, round(value)))


def _fresh_briefs(rng: random.Random, count: int, seen: set[str]) -> list[str]:
    """Briefs that were not drawn before; `seen` takes them in."""
    found: list[str] = []
    while len(found) < count:
        text = draw_brief(rng).text()
        if text not in seen:
            seen.add(text)
            found.append(text)
    return found


def write_labels(labels: Sequence[Label], path: Path) -> None:
    with replacing(path) as file:
        file.writelines(msgspec.json.encode(label) + b"\n" for label in labels)


def read_labels(path: Path) -> list[Label]:
    """Raises DataError, with file and line, for what is no label, or a score that is not 0 to 9."""
    return list(_read_labels(path))


def _read_labels(path: Path) -> Iterator[Label]:
    decoder = msgspec.json.Decoder(Label)
    for number, line in lines(path):
        remedy = (
            f"a line is {{id, brief, response, score, traces}}; to have gold label anew delete {path.parent / DONE}"
        )
        try:
            label = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise DataError(f"is no label: {error}", path=path, line=number, remedy=remedy) from None
        if not 0 <= label.score <= TOP:
            raise DataError(f"score {label.score} is not 0 to {TOP}", path=path, line=number, remedy=remedy)
        yield label


def read_briefs(path: Path) -> list[str]:
    decoder = msgspec.json.Decoder(dict[str, str])
    found = []
    for number, line in lines(path):
        try:
            found.append(decoder.decode(line)["brief"])
        except (msgspec.DecodeError, KeyError):
            raise DataError("is no brief", path=path, line=number, remedy='a line is {"brief": ".."}') from None
    return found
