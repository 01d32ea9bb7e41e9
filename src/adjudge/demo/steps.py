"""The demo as what it is: six commands, each with what it is for."""

from typing import NamedTuple

from adjudge.demo.folder import Folder

ARMS = "instruct,reasoning"
UNDER_WAY = "8"
"""Judgments under way, two questions each: no slot of the models waits, and Ctrl-C does not take long."""


class Step(NamedTuple):
    """`args`: of `adjudge`."""

    name: str
    what_for: str
    args: tuple[str, ...]


def steps(folder: Folder, budget: float) -> list[Step]:
    """`budget`: mean cost of a routed judgment, in mean costs of the judge without reasoning."""
    learn, new, arms, _, judged, router, judged_new, report = map(str, folder)
    route = f"route:{router}"
    judging = ("--arms", arms, "--concurrency", UNDER_WAY)
    return [
        Step(
            "judge",
            "A small language model judges pairs with known labels, without and with reasoning.",
            ("judge", learn, *judging, "--arm", "all", "--store", judged),
        ),
        Step("compare", "Does its reasoning pay, and where?", ("compare", judged, "--arms", ARMS)),
        Step(
            "fit",
            f"Learn from these judgments whose reasoning to buy, for {budget:g} x the cost of none.",
            ("route", "fit", judged, "--arms", ARMS, "--budget", f"{budget:g}", "--out", router),
        ),
        Step(
            "route",
            "Judge new pairs in three ways: without reasoning, with it, and with the router.",
            ("judge", new, *judging, "--arm", f"{ARMS},{route}", "--store", judged_new),
        ),
        Step("result", "What did the router reach, at what cost?", ("compare", judged_new, "--arms", "all")),
        Step("report", "The page with every judgment in it.", ("report", judged_new, "--out", report)),
    ]
