"""What tests of judges as rewards share: arms of every kind, and a backend whose model is a function."""

import asyncio

from adjudge.config import from_dict
from adjudge.errors import BackendError
from adjudge.lab.scoring import Asked
from adjudge.types import Ask

PRICE = {"input": 1.0, "output": 10.0}
ARMS = {
    "rate": {"server": "s", "model": "m", "protocol": "pointwise", "max_tokens": 20, "price": PRICE},
    "coarse": {"like": "rate", "scale": [1, 10]},
    "surely": {"like": "rate", "logprobs": True},
    "compare": {"server": "s", "model": "m", "max_tokens": 20, "price": PRICE},
    "guided": {"like": "rate", "rubric": "arm:writer"},
    "writer": {"server": "s", "model": "w", "protocol": "rubric", "max_tokens": 30, "price": PRICE},
    "self": {
        "server": "s",
        "model": "m",
        "protocol": "self-routing",
        "choices": ["compare", "compare"],
        "max_tokens": 5,
        "price": PRICE,
    },
    "free": {"server": "s", "model": "m", "protocol": "pointwise"},
    "mixed": {"server": "s", "model": "m", "protocol": "self-routing", "choices": ["rate", "compare"]},
    "tape": {"server": "tape"},
}
SERVERS = {
    "s": {"url": "http://127.0.0.1:1/v1", "retries": 0},
    "tape": {"kind": "replay", "path": "x.jsonl"},
}
SETTINGS = from_dict({"evaluator": "m", "servers": SERVERS, "arms": ARMS})


class Model:
    """A backend whose model is a function."""

    def __init__(self, answer):
        self.answer = answer
        self.asks: list[Ask] = []
        self.closed = False

    async def send(self, ask):
        self.asks.append(ask)
        await asyncio.sleep(0)
        reply = self.answer(ask)
        if isinstance(reply, BackendError):
            raise reply
        return reply

    async def close(self):
        self.closed = True


def asked(*responses, prompt="p", **fields):
    return [Asked(f"r{i}", prompt, response, **fields) for i, response in enumerate(responses)]
