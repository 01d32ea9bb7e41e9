"""What a recipe's data.py does: data sets from gold's judgments, agreement, and the audit of what verl wrote.

gold.db -> judges()    data/judge-NAME.jsonl (SFT), data/judge-NAME.parquet and -held.parquet (GRPO), data/test.jsonl
source  -> policies()  data/policy.parquet, data/policy-held.parquet: prompts that gold did not label
prompts -> rubrics()   data/rubrics.jsonl, by the digest of the prompt
judges.db -> agreement(), out/rollouts/NAME/STEP.jsonl -> audit()
"""

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adjudge import config, metrics
from adjudge.errors import ConfigError, DataError
from adjudge.files import lines, replacing
from adjudge.judging import fencing, protocol
from adjudge.judging.asking import Asker
from adjudge.judging.backends.base import open_backend
from adjudge.judging.budget import Budget
from adjudge.judging.limits import Gate
from adjudge.judging.reading import read_rubric
from adjudge.lab.audit.auditor import Audited, Auditor
from adjudge.lab.audit.rollouts import Rollout, append_rollouts
from adjudge.lab.audit.step import Plan
from adjudge.lab.recipes import gold_data
from adjudge.lab.recipes.gold_data import HIGH, grpo_row, labels, parted, policy_row, sft_row
from adjudge.lab.reward.arm_judge import ArmJudge
from adjudge.pairs import own, read
from adjudge.store.store import Store
from adjudge.types import Outcome, Pair, Record, digest

GOLD, JUDGES = "gold.db", "judges.db"  # where the commands of README.md keep judgments
WRITER = "gold-rubric"
AT_ONCE = 1024


class Recipe(NamedTuple):
    """`gold`: the arm of gold.toml that teaches each judge; `practising`: judges of GRPO; `guided`: that read a rubric;
    `held_pairs`, `held_prompts`: kept out of training; `every`, `sample`: of the audit; `steps`: of a policy."""

    source: str
    pairs: int
    held_pairs: int
    prompts: int
    held_prompts: int
    gold: Mapping[str, str]
    practising: Sequence[str]
    guided: Sequence[str]
    every: int
    sample: int
    steps: int


def main(recipe: Recipe, here: Path, argv: Sequence[str]) -> list[str]:
    """Run one of the commands; what it has to say, a line each. Raises ConfigError for what is no command."""
    match argv:
        case ["judges"]:
            return judges(recipe, here)
        case ["policies"]:
            return policies(recipe, here)
        case ["rubrics"]:
            return [f"{asyncio.run(rubrics(recipe, here)):,} rubrics written"]
        case ["agreement", name]:
            with Store.open(GOLD, create=False) as gold, Store.open(JUDGES, create=False) as judged:
                found = agreement(gold, judged, name)
            return [f"{name}: {', '.join(f'{key} {value:.4g}' for key, value in found.items())}"]
        case ["audit", name]:
            audited = asyncio.run(audit(recipe, here, Path("out/rollouts") / name))
            raised = audited[-1].verdict.raised_at if audited else None
            return [f"{len(audited)} audits; " + ("no alarm" if raised is None else f"alarm at step {raised}")]
    raise ConfigError("data.py judges | policies | rubrics | agreement NAME | audit NAME")


def judges(recipe: Recipe, here: Path, gold: str = GOLD) -> list[str]:
    """Write every judge's data sets; a line of counts for each. Judges whose labels the store lacks are left out."""
    data, settings = here / "data", config.load(here / "judges.toml")
    data.mkdir(exist_ok=True)
    known = _rubrics(data)
    with Store.open(gold, create=False) as store:
        rest, held = parted([record.pair.id for record in store.records(texts=False)], recipe.held_pairs)
        tested = (_guided(record.pair, known) for record in store.records() if record.pair.id in held)
        said = [f"test: {own.write(data / 'test.jsonl', tested):,} pairs"]
        for name, arm in recipe.gold.items():

            def made(ids: set[str], name: str = name, arm: str = arm) -> Iterator[gold_data.Label]:
                some = (r for r in store.records(calls=True) if r.pair.id in ids)
                return labels(_with_rubrics(some, known), settings, name, arm)

            count = _write_lines((sft_row(label) for label in made(rest)), data / f"judge-{name}.jsonl")
            said.append(f"{name}: {count:,} labels of {arm}")
            if name in recipe.practising and count:
                _write_table((grpo_row(label) for label in made(rest)), data / f"judge-{name}.parquet")
                _write_table((grpo_row(label) for label in made(held)), data / f"judge-{name}-held.parquet")
    return said


def policies(recipe: Recipe, here: Path) -> list[str]:
    """Write the policies' prompts: of the source, after those that gold labels, each once."""
    data = here / "data"
    data.mkdir(exist_ok=True)
    wanted = recipe.prompts + recipe.held_prompts
    pairs = [_guided(pair, _rubrics(data)) for pair in islice(_unlabelled(recipe), wanted)]
    if len(pairs) < wanted:
        raise DataError(f"{recipe.source} has {len(pairs):,} further prompts, not {wanted:,}", remedy="ask for fewer")
    rest, held = parted([pair.id for pair in pairs], recipe.held_prompts)
    said = []
    for name, ids in (("policy", rest), ("policy-held", held)):
        count = _write_table((policy_row(pair) for pair in pairs if pair.id in ids), data / f"{name}.parquet")
        said.append(f"{name}: {count:,} prompts")
    return said


def _unlabelled(recipe: Recipe) -> Iterator[Pair]:
    seen: set[str] = set()
    for place, pair in enumerate(read.read(recipe.source)):
        new = pair.prompt is not None and pair.prompt not in seen
        seen.add(pair.prompt or "")
        if place >= recipe.pairs and new:
            yield pair


async def rubrics(recipe: Recipe, here: Path) -> int:
    """Have gold write a rubric for every prompt of judges and policies; the number of new ones. What is written already
    is not bought again."""
    data, settings = here / "data", config.load(here / "gold.toml")
    data.mkdir(exist_ok=True)
    known, arm = _rubrics(data), settings.arms[WRITER]
    server = settings.servers[arm.server]
    backend = open_backend(arm.server, settings, os.environ)
    asker = Asker(backend, Gate(arm.server, server), Budget(None), server.retries)

    async def one(pair: Pair) -> dict[str, str] | None:
        reply = await asker.ask(protocol.rubric_ask(pair, arm, settings, fencing.nonce), arm)
        lacking, text = read_rubric(reply)
        return None if lacking is not None else {"prompt": digest(pair.prompt), "rubric": text}

    new = 0
    try:
        for some in _chunks(_unwritten(recipe, known), AT_ONCE):
            written = [row for row in await asyncio.gather(*map(one, some)) if row]
            with open(data / "rubrics.jsonl", "ab") as file:  # noqa: ASYNC230 -- a chunk a time; nothing else waits
                file.writelines(msgspec.json.encode(row) + b"\n" for row in written)
            new += len(written)
    finally:
        await backend.close()
    return new


def _unwritten(recipe: Recipe, known: Mapping[str, str]) -> Iterator[Pair]:
    """Pairs of the source whose prompt has no rubric, one for each prompt."""
    seen = set(known)
    for pair in islice(read.read(recipe.source), recipe.pairs + 2 * (recipe.prompts + recipe.held_prompts)):
        key = digest(pair.prompt)
        if pair.prompt is not None and key not in seen:
            seen.add(key)
            yield pair


def agreement(gold: Store, judged: Store, name: str) -> dict[str, float]:
    """How the arm `name` agrees with gold on the responses that both judged: Krippendorff's alpha (interval scale) of
    scores, the share of equal verdicts of a judge that compares. Raises DataError where there is nothing to compare."""
    by_id = {record.pair.id: record.judgments for record in gold.records(texts=False)}
    scores: list[tuple[float, float]] = []
    verdicts: list[bool] = []
    for record in judged.records(texts=False):
        mine, theirs = record.judgments.get(name), by_id.get(record.pair.id, {})
        if mine is None:
            continue
        if mine.scores is not None and HIGH in theirs and theirs[HIGH].scores is not None:
            both = zip(mine.scores, theirs[HIGH].scores or (), strict=True)
            scores += [(float(np.mean(m)), float(np.mean(g))) for m, g in both if m and g]
        elif "gold-pairs" in theirs:
            label = theirs["gold-pairs"].outcome
            verdicts += [mine.outcome == label] if label in (Outcome.A, Outcome.B) else []
    if verdicts:
        return {"pairs": float(len(verdicts)), "accuracy": float(np.mean(verdicts))}
    if len(scores) < 2:
        raise DataError(f"gold and {name} judged no two responses in common", remedy="judge data/test.jsonl with both")
    mine_N, gold_N = np.array(scores).T
    alpha = metrics.interval_alpha(mine_N, gold_N)
    if alpha is None:
        raise DataError(f"gold and {name} gave all responses one score", remedy="judge more than these")
    return {"responses": float(len(scores)), "alpha": alpha}


async def audit(recipe: Recipe, here: Path, folder: Path) -> list[Audited]:
    """Gold judges a sample of every nth step that verl wrote to `folder`; rollouts with gold's scores go to the file
    NAME.jsonl beside it, for `adjudge scan`. What is audited already is not bought again."""
    steps = _steps(folder)
    judge = ArmJudge(config.load(here / "gold.toml"), HIGH)
    plan = Plan(every=recipe.every, sample=recipe.sample)
    auditor = Auditor(folder / "audit", judge, plan, plan.watch(recipe.steps))
    out = folder.with_suffix(".jsonl")
    out.unlink(missing_ok=True)
    found = []
    try:
        for step, path in steps:
            rollouts = verl_rollouts(path)
            append_rollouts(rollouts, out)
            if auditor.due(step) and rollouts:
                found.append(await auditor.step(rollouts))
    finally:
        await judge.close()
    return found


def _steps(folder: Path) -> list[tuple[int, Path]]:
    return sorted((int(path.stem), path) for path in folder.glob("*.jsonl") if path.stem.isdigit())


def verl_rollouts(path: Path) -> list[Rollout]:
    """The rollouts of a step that verl wrote (`trainer.rollout_data_dir`); policy_row puts the prompt into `gts`."""
    found = []
    for number, line in lines(path):
        try:
            row = msgspec.json.decode(line)
            found.append(
                Rollout(
                    step=row["step"],
                    id=f"{row['step']}-{number}",
                    prompt=row["gts"],
                    response=row["output"],
                    group=f"{row['step']}-{digest(row['gts'])[:12]}",
                    proxy=row["score"],
                )
            )
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise DataError(f"is no rollout of verl: {error!r}", path=path, line=number) from None
    return found


def _guided(pair: Pair, known: Mapping[str, str]) -> Pair:
    return msgspec.structs.replace(pair, rubric=known[digest(pair.prompt)]) if digest(pair.prompt) in known else pair


def _with_rubrics(records: Iterable[Record], known: Mapping[str, str]) -> Iterator[Record]:
    return (msgspec.structs.replace(record, pair=_guided(record.pair, known)) for record in records)


def _rubrics(data: Path) -> dict[str, str]:
    path = data / "rubrics.jsonl"
    rows = (msgspec.json.decode(line) for _, line in lines(path)) if path.exists() else ()
    return {row["prompt"]: row["rubric"] for row in rows}


def _write_lines(rows: Iterable[dict[str, Any]], path: Path) -> int:
    count = 0
    with replacing(path) as file:
        for row in rows:
            file.write(msgspec.json.encode(row) + b"\n")
            count += 1
    return count


def _write_table(rows: Iterable[dict[str, Any]], path: Path) -> int:
    table = pa.Table.from_pylist(list(rows))
    with replacing(path) as file:
        pq.write_table(table, file)
    return int(table.num_rows)


def _chunks(pairs: Iterator[Pair], size: int) -> Iterator[list[Pair]]:
    while some := list(islice(pairs, size)):
        yield some
