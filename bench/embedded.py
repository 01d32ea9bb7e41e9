"""How fast is the embedded model (SmolLM2-135M, llama.cpp on the CPU) with one slot and with four?

    python -m bench.embedded [--rounds 3] [--questions 8]

Each round loads the model afresh and asks different questions twice over: once with prompts of about 250 tokens and one
token of answer (prompt speed), once with short prompts and answers of 60 tokens (generation speed). One JSON object:
per number of slots the medians of load time in seconds and of tokens per second over all slots, with every round's
values. `load_average` is the machine's at the start and at the end: on one that others use, these figures say little.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from typing import Any

from adjudge.config import Server, Settings
from adjudge.judging.backends.embedded import Embedded, connect
from adjudge.types import Ask, Message

LONG = "Response {i}: the {i}th number of the list is {i}{i}, and the sum of the first {i} numbers is larger than {i}. "


def question(text: str, max_tokens: int) -> Ask:
    body: dict[str, Any] = {"temperature": 0, "max_tokens": max_tokens, "ignore_eos": True, "cache_prompt": False}
    return Ask(pair_id="p", arm="a", kind="verdict", messages=(Message("user", text),), body=body)


async def tokens_per_s(model: Embedded, asks: list[Ask], kind: str) -> float:
    began = time.perf_counter()
    replies = await asyncio.gather(*(model.send(ask) for ask in asks))
    seconds = time.perf_counter() - began
    return sum(getattr(reply.usage, f"{kind}_tokens") for reply in replies) / seconds


async def one_round(slots: int, questions: int) -> dict[str, float]:
    settings = Settings(evaluator="e", servers={"here": Server(kind="embedded", slots=slots, context=1024)}, arms={})
    began = time.perf_counter()
    model = connect("here", settings, {})
    load_s = time.perf_counter() - began
    long = [question("".join(LONG.format(i=i + j) for j in range(6)), 1) for i in range(questions)]
    short = [question(f"Write a story about the number {i}.", 60) for i in range(questions)]
    try:
        await model.send(question("Hi", 1))
        prompt = await tokens_per_s(model, long, "prompt")
        return {"load_s": load_s, "prompt": prompt, "generated": await tokens_per_s(model, short, "output")}
    finally:
        await model.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=8)
    given = parser.parse_args()
    before = os.getloadavg()[0]
    rounds: dict[int, list[dict[str, float]]] = {1: [], 4: []}
    for _ in range(given.rounds):
        for slots, kept in rounds.items():
            kept.append(asyncio.run(one_round(slots, given.questions)))
    names = {"load_s": "load_s", "prompt": "prompt_tokens_per_s", "generated": "output_tokens_per_s"}
    found = {
        f"slots_{slots}": {
            label: {
                "median": round(statistics.median(r[key] for r in kept), 2),
                "rounds": [round(r[key], 2) for r in kept],
            }
            for key, label in names.items()
        }
        for slots, kept in rounds.items()
    }
    print(json.dumps({**found, "load_average": [round(before, 2), round(os.getloadavg()[0], 2)]}))


if __name__ == "__main__":
    main()
