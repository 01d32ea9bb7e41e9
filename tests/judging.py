"""What tests of the judge share: arms, a pair, and a way to drive one judgment by a model that is a function."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from adjudge.config import Arm, Server, Settings
from adjudge.judging.judge import judge
from adjudge.types import Ask, Judgment, Outcome, Pair, Price, Reply, Usage

A, B, TIE = Outcome.A, Outcome.B, Outcome.TIE
UNREAD, TRUNCATED, REFUSED, FAILED = Outcome.UNREAD, Outcome.TRUNCATED, Outcome.REFUSED, Outcome.FAILED
PAIR = Pair(id="p1", prompt="What is 2 + 2?", response_a="It is four.", response_b="It is five.", gold="A")
BEST_OF_4 = Pair(id="p4", prompt="Say hi", responses=("hi", "ho", "hu", "ha"), gold="B", gold_index=2)

ARMS = {
    "plain": Arm(name="plain", server="s", model="m", price=Price(input=1.0, output=10.0, cached_input=0.5)),
    "think": Arm(name="think", server="s", model="m", mode="reasoning", price=Price(input=2.0, output=20.0)),
    "score": Arm(name="score", server="s", model="m", protocol="pointwise", price=Price(input=1.0, output=10.0)),
    "writer": Arm(name="writer", server="s", model="w", protocol="rubric", price=Price(input=5.0, output=50.0)),
    "guided": Arm(name="guided", server="s", model="m", rubric="arm:writer", price=Price(input=1.0, output=10.0)),
    "item": Arm(name="item", server="s", model="m", rubric="item"),
    "file": Arm(name="file", server="s", model="m", rubric="house.txt"),
    "self": Arm(
        name="self",
        server="s",
        model="r",
        protocol="self-routing",
        choices=("plain", "think"),
        price=Price(input=4, output=40),
    ),
    "replay": Arm(name="replay", server="tape"),
}
SETTINGS = Settings(
    evaluator="m",
    servers={"s": Server(), "tape": Server(kind="replay", path="x.jsonl")},
    arms=ARMS,
    texts={"house.txt": "House rule: be brief. Answer [[A]] or [[B]]."},
)

Model = Callable[[Ask], Reply]


def arm(name: str, **changes: Any) -> Arm:
    return msgspec.structs.replace(ARMS[name], **changes)


def run(
    pair: Pair, judging_arm: Arm, model: Model, given: Settings = SETTINGS
) -> tuple[Judgment, list[tuple[Ask, ...]]]:
    """Drive a judgment with a model; the batches that were asked come back too."""
    used = msgspec.structs.replace(given, arms={**given.arms, judging_arm.name: judging_arm})
    judging, batches = judge(pair, judging_arm, used), []
    try:
        asks = next(judging)
        while True:
            batches.append(asks)
            asks = judging.send(tuple(model(ask) for ask in asks))
    except StopIteration as done:
        return done.value, batches


def texts(*said: str, usage: Usage | None = Usage(100, 10)) -> Model:  # noqa: B008  # frozen
    """A model that says these in turn."""
    lines = iter(said)
    return lambda ask: Reply(text=next(lines), usage=usage, finish_reason="stop")


def shown(ask: Ask) -> dict[str, str]:
    """What stands between the fences, by title."""
    found = re.findall(r"<<<([A-Z ]+) ([0-9a-f]{12})>>>\n(.*?)\n<<<END \2>>>", ask.messages[-1].content, re.S)
    assert found
    return {title: text for title, _, text in found}


def by_length(ask: Ask) -> Reply:
    """A pure judge without position bias: prefers the longer response, rates by length, and bills by what it read."""
    said = shown(ask)
    usage = Usage(sum(map(len, said.values())), 7)
    if ask.kind == "score":
        return Reply(text=str(min(9, len(said["RESPONSE"]))), usage=usage)
    a, b = len(said["RESPONSE A"]), len(said["RESPONSE B"])
    return Reply(text="[[A]]" if a > b else "[[B]]" if b > a else "[[C]]", usage=usage)
