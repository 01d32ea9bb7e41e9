"""What a preset says beside itself where its study runs on many machines: models, data, gold's arm, fleets.

Such a preset is planned (`adjudge lab plan`) and written out as recipes for TRL and verl; `adjudge lab run` refuses it.
"""

from typing import Literal

import msgspec

Count = int


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`pairs`: of `source` that gold labels, both responses of each; `kept`: labelled responses left at each effort
    (of lower efforts those whose score is that of the high one); `prompts`: source of the policies' prompts."""

    source: str
    pairs: Count
    kept: dict[Literal["low", "medium", "high"], Count]
    prompts: str = ""


class Gold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arm that is gold, served by vLLM."""

    model: str
    effort: str = "high"
    temperature: float = 0.0
    max_tokens: int = 8192


class Drawing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a trained judge writes when it rewards a policy."""

    temperature: float = 0.7
    top_k: int = 20
    top_p: float = 0.95
    max_tokens: int = 4096


class Lengths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean tokens. `frame`: of a judge's prompt without instruction and response; `traces`: a judgment by its mode."""

    instruction: float
    response: float
    frame: float
    rubric: float = 0
    traces: dict[str, float]


class Longest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens of the longest prompts; completions are bounded by `max_tokens` of each stage."""

    judge_prompt: int = 4096
    policy_prompt: int = 2048


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """GPUs of a stage: those that train (and generate), and those that only serve the judge."""

    gpus: int
    servers: int = 0


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours that the paper reports of a stage, which the plan is held against. `stage`: its name in this preset;
    `per`: the part of it that took so long (steps, or epochs)."""

    stage: str
    per: float
    hours: float
    said: str


class Scale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`judges`, `policies`: the pretrained model of each; `pairwise`: judges that compare two responses;
    `minibatch`: prompts of an optimizer step in GRPO, by its stage; `sites`: by stage; `unstated`: what the paper does
    not say and this preset had to choose."""

    gpu: str
    data: Data
    gold: Gold
    drawing: Drawing = Drawing()
    lengths: Lengths
    longest: Longest = Longest()
    judges: dict[str, str]
    policies: dict[str, str]
    pairwise: tuple[str, ...] = ()
    minibatch: dict[str, int]
    sites: dict[str, Site]
    published: tuple[Published, ...] = ()
    unstated: tuple[str, ...] = ()
