"""Mean tokens of what a study's models read and write: as a preset says, or counted on texts drawn from the world."""

import re

from adjudge.lab.preset import Mode, Preset
from adjudge.lab.scale import Lengths
from adjudge.lab.world import wording
from adjudge.lab.world.items import draw_items
from adjudge.lab.world.program_gold import check, trace

DRAWN = 200
MODES: tuple[Mode, ...] = ("direct", "low", "medium", "high")
_TOKEN = re.compile(r"\w+|[^\w\s]")


def lengths(preset: Preset) -> Lengths:
    """Of a preset's judgments."""
    return preset.scale.lengths if preset.scale else world_lengths()


def world_lengths() -> Lengths:
    """Of the controlled world, a word or mark a token: its tokenizer is trained to that, SmolLM2's comes close."""
    found: dict[str, list[int]] = {}

    def count(kind: str, text: str) -> None:
        found.setdefault(kind, []).append(len(_TOKEN.findall(text)))

    for brief, response in draw_items(0, DRAWN):
        checked = check(brief, response)
        count("instruction", brief.text())
        count("response", response)
        count("judged", wording.judge_prompt(brief.text(), response, "direct"))
        count("rubric", wording.rubric(brief))
        for mode in MODES:
            reasoning = "" if mode == "direct" else trace(checked, mode)
            count(mode, wording.judge_completion(reasoning, checked.score, mode))
    means = {kind: sum(counts) / len(counts) for kind, counts in found.items()}
    return Lengths(
        instruction=means["instruction"],
        response=means["response"],
        frame=means["judged"] - means["instruction"] - means["response"],
        rubric=means["rubric"],
        traces={mode: means[mode] for mode in MODES},
    )
