"""Stages that make judges: the base that all start from, `judge-sft`, `judge-grpo`, and how far each agrees with gold.

GRPO's reward of a judge (arXiv 2603.12246): -1 where no score can be read, else (81 - (said - gold)^2) / 81.
Departure: at this size there is no model that can think before it is taught, so the base learns the form of each kind
of judgment from a few labelled items; a judge by RL alone starts from that, as the paper's start from Qwen3.
"""

import math
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForCausalLM, AutoTokenizer

from adjudge import metrics
from adjudge.errors import DataError, RewardError
from adjudge.lab.models.pretrained import load_pretrained
from adjudge.lab.models.small import new_model, save, train_tokenizer
from adjudge.lab.models.torch_judge import TorchJudge
from adjudge.lab.models.training import Tell, fine_tune, reinforce
from adjudge.lab.preset import JudgeSpec, Mode, Model
from adjudge.lab.scoring import Asked, Score, judge_rewards
from adjudge.lab.study.gold import EFFORTS
from adjudge.lab.study.labels import FILES, Label, part_seed, read_labels
from adjudge.lab.world import grammar, wording
from adjudge.lab.world.items import Brief, draw_items, parse_brief
from adjudge.lab.world.program_gold import check, trace

SOUGHT = 8  # words of a search in a whole response


def example(label: Label, spec: JudgeSpec) -> tuple[str, str]:
    """(prompt, completion) that teaches a judge of this kind."""
    prompt = wording.judge_prompt(label.brief, label.response, spec.mode, label.rubric if spec.rubric else "")
    return prompt, wording.judge_completion(label.traces.get(spec.mode, ""), label.score, spec.mode)


def make_base(model: Model, folder: Path, seed: int, tell: Tell) -> dict[str, float]:
    """The model that judges and policies start from. See `preset.Model`."""
    examples = base_examples(model, seed)
    if model.path:
        tokenizer, base = load_pretrained(model.path)
    else:
        tokenizer = train_tokenizer(p + c for p, c in examples[:6000])
        base = new_model(tokenizer, model.width, model.layers, model.heads, seed)
    figures = {"parameters": float(base.num_parameters())}
    if primers := primer_examples(model.primers, seed):
        fine_tune(base, tokenizer, primers, model.priming, folder / "primed", seed=seed, tell=tell)
    if examples:
        figures |= fine_tune(base, tokenizer, examples, model.training, folder, seed=seed, tell=tell)
    else:
        save(base, tokenizer, folder)
    shutil.rmtree(folder / "primed", ignore_errors=True)
    return figures


def primer_examples(count: int, seed: int) -> list[tuple[str, str]]:
    """Copying and finding in texts of one or two sentences."""
    rng = random.Random(part_seed(seed, 12))
    templates = (*grammar.STATEMENTS, *grammar.POLITE, *grammar.THANKING, *grammar.QUESTIONS)
    found = []
    for _ in range(count):
        text = " ".join(grammar.fill(rng.choice(templates), [], rng) for _ in range(rng.choice((1, 1, 2))))
        found.append(wording.search(check(Brief(()), text), rng.randint(2, 5), rng))
    return found


def base_examples(model: Model, seed: int) -> list[tuple[str, str]]:
    """What the base is trained on after that, shuffled."""
    rng = random.Random(part_seed(seed, 10))
    written = draw_items(part_seed(seed, 11), model.texts, rambling=0)
    found = [(wording.policy_prompt(brief.text()), f" {response}") for brief, response in written]
    for k, (brief, response) in enumerate(draw_items(part_seed(seed, 14), model.searches + model.forms)):
        if k < model.searches:
            found.append(wording.search(check(brief, response), SOUGHT, rng))
        else:
            found += _forms(brief.text(), response)
    rng.shuffle(found)
    return found


def _forms(brief: str, response: str) -> list[tuple[str, str]]:
    """One labelled item in every kind of judgment."""
    checked = check(parse_brief(brief), response)
    traces: dict[str, str] = {effort: trace(checked, effort) for effort in EFFORTS}
    label = Label(id="", brief=brief, response=response, score=checked.score, traces=traces)
    modes: tuple[Mode, ...] = ("direct", *EFFORTS)
    return [example(label, JudgeSpec(mode=mode)) for mode in modes]


def teach(
    spec: JudgeSpec, labels: Sequence[Label], start: Path, folder: Path, seed: int, tell: Tell
) -> dict[str, float]:
    """Stage `judge-sft`: from `start`, on gold's labels; with its traces unless the judge is direct.

    Raises DataError where no label has a trace of the judge's effort."""
    assert spec.sft is not None, "only a judge with sft settings is taught"
    usable = [label for label in labels if spec.mode == "direct" or spec.mode in label.traces]
    if not usable:
        raise DataError(
            f"no trace of effort {spec.mode!r} stands on any of {len(labels):,} labels",
            remedy="let gold reason, or make a judge that is direct",
        )
    tokenizer, model = _loaded(start)
    examples = [example(label, spec) for label in usable]
    return fine_tune(model, tokenizer, examples, spec.sft, folder, seed=seed, tell=tell)


def practise(
    spec: JudgeSpec, labels: Sequence[Label], start: Path, folder: Path, seed: int, tell: Tell
) -> dict[str, float]:
    """Stage `judge-grpo`: from `start`, rewarded for nearness to gold."""
    assert spec.rl is not None, "only a judge with rl settings practises"
    tokenizer, model = _loaded(start)
    rows = [{"prompt": example(label, spec)[0], "gold": label.score} for label in labels]

    def reward(completions: list[str], gold: list[int], **_: Any) -> list[float]:
        return judge_rewards([wording.read_score(c, spec.mode) for c in completions], gold)

    return reinforce(model, tokenizer, rows, reward, spec.rl, folder, seed=seed, tell=tell)


async def agreement(judge: TorchJudge, spec: JudgeSpec, labels: Sequence[Label]) -> dict[str, float]:
    """How a judge's scores go with gold's on items that it was not trained on.

    `alpha`: Krippendorff's, interval scale, with the 95 % interval of a bootstrap over items; `tokens`: mean output of
    a judgment; `verdicts`: share of items that got one, the only ones that count elsewhere. What cannot be known, such
    as the alpha of scores that are all alike, is left out. Raises RewardError for a score that is no finite number.
    """
    asked = [
        Asked(id=label.id, prompt=label.brief, response=label.response, rubric=label.rubric if spec.rubric else "")
        for label in labels
    ]
    scores = await judge.score(asked)
    for one, score in zip(asked, scores, strict=True):
        if score.value is not None and not math.isfinite(score.value):
            raise RewardError(f"judge {judge.name} gave {score.value} for item {one.id!r}; train it at a lower rate")
    return agreed(scores, [label.score for label in labels])


def agreed(scores: Sequence[Score], gold: Sequence[int], resamples: int = 300) -> dict[str, float]:
    """See `agreement`."""
    read = [(s.value, g) for s, g in zip(scores, gold, strict=True) if s.value is not None]
    tokens = float(np.mean([s.usage.output_tokens for s in scores]))
    found = {"verdicts": len(read) / len(scores), "tokens": tokens, "items": float(len(scores))}
    if len(read) < 2:
        return found
    said_N, gold_N = np.array(read, dtype=float).T
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(read), len(read)) for _ in range(resamples)]
    found |= {"error": float(np.abs(said_N - gold_N).mean()), "bias": float((said_N - gold_N).mean())}
    if np.ptp(said_N) and np.ptp(gold_N):
        found["correlation"] = float(np.corrcoef(said_N, gold_N)[0, 1])
    alpha = metrics.interval_alpha(said_N, gold_N)
    drawn = [a for d in draws if (a := metrics.interval_alpha(said_N[d], gold_N[d])) is not None]
    if alpha is None or not drawn:
        return found
    low, high = np.quantile(drawn, [0.025, 0.975])
    return found | {"alpha": alpha, "alpha_low": float(low), "alpha_high": float(high)}


def labelled(folder: Path, part: int) -> list[Label]:
    return read_labels(folder / FILES[part])


def _loaded(folder: Path) -> tuple[Any, Any]:
    return AutoTokenizer.from_pretrained(folder, padding_side="left"), AutoModelForCausalLM.from_pretrained(folder)
