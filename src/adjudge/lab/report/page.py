"""A study as one page that opens offline: findings, agreement, trainings under gold, what was written, what it cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from adjudge.lab.report import figures, training_figures
from adjudge.lab.report.estimates import LEVEL
from adjudge.lab.report.examples import moments
from adjudge.lab.report.findings import LEAST_VERDICTS, Finding, findings
from adjudge.lab.report.readings import Readings, Training
from adjudge.report import text as t
from adjudge.report.figure import Figure
from adjudge.report.page import NOT_SAID, Group, Kind, Made, Sample, Section, Shelf, write_sections

_LONGEST = 4_000  # characters of a response that are shown
_KIND = Kind(
    "study",
    "Gold is the judge that is right by definition; the proxy is the judge that a policy is trained against, and earns "
    "its reward from. Audited rollouts are those that gold judged too. alpha: Krippendorff's, interval scale, x 100.",
)
_WORLD = (
    "Gold is a program here, and cannot be fooled. A judge that can be, as every model can, would make gold's curves "
    "better than the truth: what this study shows of gaming is a lower bound.",
    "Intervals are 95 %. Over two seeds or more they are Student's on the seeds; over one seed they are over its "
    "items, briefs or prompts, and say nothing of other trainings.",
)


def write_lab_page(study: Readings, path: str | Path, made: Made = NOT_SAID) -> None:
    """Raises DataError where the file cannot be written."""
    found = findings(study)
    sections = [_findings(study, found), *_agreement(study), *_trainings(study), *_texts(study), *_cost(study)]
    notes = [f"Not done yet, and not on this page: {told}."] if (told := missing(study)) else []
    title = f"{study.preset.name}: {study.preset.about}"
    write_sections(sections, path, title=title, made=made, notes=notes, kind=_KIND)


def summary(study: Readings) -> dict[str, Any]:
    """What the page says, for a program: findings with their claims, and the figures of the stages they come from."""
    return {
        "preset": study.preset.name,
        "seeds": list(study.seeds),
        "findings": [msgspec.to_builtins(finding, str_keys=True) for finding in findings(study)],
        "agreement": _by_name(study.agreement),
        "held": _by_name(study.held),
        "audits": _by_name({name: {s: tr.taken for s, tr in of.items()} for name, of in study.trainings.items()}),
        "missing": {stage: list(seeds) for stage, seeds in study.missing.items()},
    }


def missing(study: Readings) -> str:
    """The stages that are not done, in words; empty where all are.

    Stages of one kind that lack the same seeds stand together.
    """
    together: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for stage, seeds in study.missing.items():
        kind, _, name = stage.partition(" ")
        together.setdefault((kind, seeds), []).append(name)
    return "; ".join(
        f"{kind} of {', '.join(names)} (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))})"
        for (kind, seeds), names in together.items()
    )


def told(found: Sequence[Finding]) -> str:
    """How many came out, in one sentence."""
    counts = [
        (sum(f.status == status for f in found), words)
        for status, words in (
            ("reproduced", "reproduced"),
            ("not reproduced", "not reproduced"),
            ("cannot be shown", "cannot be shown at this size"),
            ("not run", "not run yet"),
        )
    ]
    return f"Of {len(found)} findings of arXiv 2603.12246: " + ", ".join(f"{n} {w}" for n, w in counts if n) + "."


def _by_name(found: Mapping[str, Mapping[int, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {str(seed): row for seed, row in of.items()} for name, of in found.items()}


def _facts(study: Readings) -> list[tuple[str, str]]:
    return [
        ("preset", study.preset.name),
        ("seeds", ", ".join(map(str, study.seeds))),
        ("items for judges", f"{study.preset.world.train:,}"),
        ("judges", f"{len(study.agreement)} of {len(study.preset.judges)}"),
        ("policies", f"{len(study.trainings)} of {len(study.preset.policies)}"),
        ("intervals", t.percent(LEVEL, 0)),
    ]


def _section(
    number: int,
    name: str,
    heading: str,
    sentence: str,
    shown: Sequence[Figure],
    folded: Sequence[Group] = (),
    shelves: Sequence[Shelf] = (),
) -> Section:
    return Section(f"part-{number}", name, heading, [sentence], (), (), shown, folded, (), shelves)


def _findings(study: Readings, found: Sequence[Finding]) -> Section:
    shown = [figures.finding(study, one) for one in found]
    section = _section(0, "Findings", "the paper's, put to this study", told(found), [*shown, figures.rules()])
    return section._replace(facts=_facts(study), notes=_WORLD)


def _agreement(study: Readings) -> list[Section]:
    if not any("alpha" in row for rows in study.agreement.values() for row in rows.values()):
        return []
    heard = [name for name in study.agreement if figures.mean(study, name, "verdicts") >= LEAST_VERDICTS]
    sentence = "No judge gives a verdict for half of the items."
    if heard:
        best = max(heard, key=lambda name: figures.mean(study, name, "alpha"))
        alpha = figures.minus(f"{100 * figures.mean(study, best, 'alpha'):.1f}")
        tokens = figures.mean(study, best, "tokens")
        sentence = f"{best} agrees most: alpha {alpha}, with {tokens:.0f} output token{'s' * (tokens != 1)} a judgment."
    shown = [figures.agreement(study), figures.agreement_and_tokens(study)]
    return [_section(1, "Agreement", "judges with gold", sentence, shown)]


def _trainings(study: Readings) -> list[Section]:
    if not study.trainings:
        return []
    runs = [(name, training) for name, of in study.trainings.items() for training in of.values()]
    alarmed = list(dict.fromkeys(name for name, training in runs if training.taken["raised_at"] is not None))
    count = sum(training.taken["raised_at"] is not None for _, training in runs)
    whose = f": {', '.join(alarmed)}" if count else ""
    sentence = f"The alarm was raised in {count} of {len(runs)} trainings{whose}."
    parts = (
        training_figures.proxy_and_gold,
        figures.held_out,
        training_figures.alarms,
        training_figures.followed,
        training_figures.flagged,
    )
    folded = Group("Length and repetition", [training_figures.length(study), training_figures.repetition(study)])
    return [
        _section(2, "Training", "proxy and gold, step by step", sentence, [part(study) for part in parts], [folded])
    ]


def _texts(study: Readings) -> list[Section]:
    shelves = [_shelf(name, *next(iter(of.items()))) for name, of in study.trainings.items()]
    if not shelves:
        return []
    sentence = "What the policies wrote at the start, at gold's best and at the end of training, drawn by lot."
    return [_section(3, "Rollouts", "what was written", sentence, (), shelves=shelves)]


def _shelf(policy: str, seed: int, training: Training) -> Shelf:
    columns = []
    for moment in moments(training):
        samples = [
            Sample(f"Brief: {r.prompt}", r.response[:_LONGEST], f"proxy {_score(r.proxy)}, gold {_score(r.gold)}")
            for r in moment.rollouts
        ]
        columns.append((f"{moment.name}, step {moment.step}", samples))
    return Shelf(f"{policy}, seed {seed}", columns)


def _score(value: float | None) -> str:
    return "no verdict" if value is None else f"{value:.1f}"


def _cost(study: Readings) -> list[Section]:
    taken = [training.taken for of in study.trainings.values() for training in of.values()]
    if not taken:
        return []
    gold, judge = sum(x["gold_calls"] for x in taken), sum(x["judge_calls"] for x in taken)
    sentence = (
        f"Gold judged {gold:,} rollouts, {t.percent(gold / judge)} of the {judge:,} that the training judges did."
    )
    return [_section(4, "Cost", "of the audit", sentence, [figures.cost(study)])]
