"""The HTTP backend against a server that misbehaves, and the reading of replies on its own."""

import asyncio
import contextlib
import json
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adjudge.config import Server, from_dict
from adjudge.errors import BackendError, BadReply, ConfigError, RateLimited, Rejected, Unavailable
from adjudge.judging.backends.base import open_backend
from adjudge.judging.backends.completion import (
    error_text,
    read_oddity,
    read_reply,
    read_usage,
    refusal,
    request_body,
)
from adjudge.judging.backends.http import LONGEST_WAIT_S, Http, retry_after_s
from adjudge.types import Ask, Message, Reply, TokenChance, Usage
from tests import scripted

KEY = "sk-very-secret-0123456789"
ASK = Ask(
    pair_id="p1",
    arm="plain",
    kind="verdict",
    messages=(Message("system", "Judge."), Message("user", "Which is better?")),
    body={"model": "m", "max_tokens": 16, "logprobs": True},
    order="ab",
)


def asked(
    script: scripted.Script, *, key: str = "", ask: Ask = ASK, **server: object
) -> tuple[Reply | BackendError, scripted.Count]:
    """One attempt at a scripted server: its reply or the error raised, and the server's books."""

    async def go() -> tuple[Reply | BackendError, scripted.Count]:
        async with scripted.serving(script) as target:
            backend = Http(Server(url=target.url, **{"deadline_s": 5.0, **server}), key)
            try:
                return await backend.send(ask), target.count
            except BackendError as error:
                return error, target.count
            finally:
                await backend.close()

    return asyncio.run(go())


def always(fault: str, **fields: object) -> scripted.Script:
    return scripted.Script(faults={fault: 1.0}, **fields)


def completion(message: object, **fields: object) -> bytes:
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage, **fields}).encode()


def test_a_good_answer_is_read_whole() -> None:
    reply, count = asked(scripted.Script(says=("Verdict: [[A]]",), reasoning="reasoning_content", latency_s=0.02))
    assert isinstance(reply, Reply)
    assert (reply.text, reply.finish_reason, reply.model, reply.error) == ("Verdict: [[A]]", "stop", "scripted-1", None)
    assert reply.reasoning.startswith("A looks better")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.output_tokens) == (count.prompt_tokens, count.output_tokens)
    assert reply.usage.cached_tokens == count.prompt_tokens // 2
    assert reply.usage.reasoning_tokens == count.output_tokens // 2
    assert "".join(p[0].token for p in reply.top_logprobs) == reply.text
    assert 0.02 <= reply.latency_s < 1
    assert (reply.attempts, reply.unmetered_calls) == (1, 0)


@pytest.mark.parametrize(
    ("fault", "error", "billed"),
    [
        ("429", RateLimited, False),
        ("429-date", RateLimited, False),
        ("500", Unavailable, False),
        ("echo", Unavailable, False),
        ("hang", Unavailable, True),
        ("cut", Unavailable, True),
        ("broken", BadReply, True),
        ("html", BadReply, True),
        ("sse", BadReply, True),
        ("big", BadReply, True),
        ("bomb", BadReply, True),
        ("deep", BadReply, True),
    ],
)
def test_each_fault_is_told_apart_and_says_whether_it_may_have_been_billed(
    fault: str, error: type[BackendError], billed: bool
) -> None:
    answer, count = asked(always(fault), deadline_s=0.3 if fault == "hang" else 5.0)
    assert type(answer) is error
    assert answer.retryable
    assert answer.maybe_billed is billed
    assert count.unmetered_calls == billed


@pytest.mark.parametrize("fault", sorted(scripted.READABLE))
def test_what_was_billed_readably_is_a_reply_with_its_usage(fault: str) -> None:
    reply, count = asked(always(fault), key=KEY)
    assert isinstance(reply, Reply)
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.output_tokens) == (count.prompt_tokens, count.output_tokens)
    assert count.metered_calls == 1


@pytest.mark.parametrize("seed", range(12))
def test_nonsense_usage_is_unknown_and_counted_as_unmetered(seed: int) -> None:
    reply, _ = asked(always("counts", seed=seed))
    assert isinstance(reply, Reply)
    assert reply.text
    assert reply.usage is None
    assert reply.unmetered_calls == 1


def test_retry_after_is_read_in_both_forms() -> None:
    seconds, _ = asked(always("429", retry_after="7"))
    date, _ = asked(always("429-date"))
    assert isinstance(seconds, RateLimited)
    assert isinstance(date, RateLimited)
    assert seconds.retry_after_s == 7.0
    assert date.retry_after_s is not None
    assert 0.0 <= date.retry_after_s <= 1.0


@pytest.mark.parametrize(
    ("value", "wait"),
    [("999999", LONGEST_WAIT_S), ("-3", 0.0), ("nan", None), ("soon", None), ("Wed, 99 Foo", None), ("1.5", 1.5)],
)
def test_an_odd_retry_after_is_bounded_or_ignored(value: str, wait: float | None) -> None:
    assert retry_after_s({"Retry-After": value}) == wait


@pytest.mark.parametrize("fault", ["big", "bomb"])
def test_a_body_over_the_limit_is_given_up_before_it_fills_memory(fault: str) -> None:
    async def go() -> int:
        async with scripted.serving(always(fault)) as target:
            backend = Http(Server(url=target.url, max_reply_mb=1.0, deadline_s=30.0))
            target.answer(fault, b"", b"")  # the server's own copy is made before memory is watched
            tracemalloc.start()
            with pytest.raises(BadReply, match="max_reply_mb = 1"):
                await backend.send(ASK)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            await backend.close()
            return peak

    own_copies = 3 * (50 << 20) if fault == "big" else 0  # the server runs in this process too
    assert asyncio.run(go()) < own_copies + (8 << 20)


@pytest.mark.parametrize("fault", ["leak", "echo"])
def test_the_key_is_masked_wherever_the_server_repeats_it(fault: str) -> None:
    answer, _ = asked(always(fault), key=KEY)
    assert KEY not in repr(answer) + str(answer)
    assert "***" in repr(answer)


def test_a_key_spelled_with_escapes_is_masked_too() -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in KEY)
    body = completion({"content": "KEY"}).replace(b"KEY", escaped.encode())
    assert read_reply(body).text == KEY
    backend_reply = asyncio.run(_with_key(read_reply(body)))
    assert backend_reply.text == "***"


async def _with_key(reply: Reply) -> Reply:
    backend = Http(Server(url="http://127.0.0.1:1/v1"), KEY)
    try:
        return backend._masked_reply(reply)
    finally:
        await backend.close()


def test_no_connection_is_unavailable_and_unbilled() -> None:
    async def go() -> None:
        backend = Http(Server(url="http://127.0.0.1:1/v1"), KEY)
        with pytest.raises(Unavailable, match="no connection") as caught:
            await backend.send(ASK)
        assert not caught.value.maybe_billed
        await backend.close()
        await backend.close()

    asyncio.run(go())


def test_a_redirect_is_not_followed_and_names_the_host() -> None:
    seen: list[bytes] = []

    async def go() -> None:
        async def move(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 307 X\r\nLocation: http://elsewhere.example/v1\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        listener = await asyncio.start_server(move, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        backend = Http(Server(url=f"http://127.0.0.1:{port}/v1/"), KEY)
        with pytest.raises(Rejected, match=r"elsewhere\.example") as caught:
            await backend.send(ASK)
        assert caught.value.always
        await backend.close()
        listener.close()

    asyncio.run(go())
    assert len(seen) == 1
    assert seen[0].startswith(b"POST /v1/chat/completions ")


def test_a_question_of_megabytes_is_sent_without_a_warning() -> None:
    long = msgspec.structs.replace(ASK, messages=(Message("user", "x" * 3_000_000),))
    reply, count = asked(scripted.Script(), ask=long)
    assert isinstance(reply, Reply)
    assert (reply.error, count.calls) == (None, 1)


def test_a_connection_is_used_again() -> None:
    async def go() -> None:
        async with scripted.serving(scripted.Script()) as target:
            backend = open_backend(
                "s", from_dict({"servers": {"s": {"url": target.url}}, "arms": {"a": {"server": "s", "model": "m"}}})
            )
            for _ in range(5):
                await backend.send(ASK)
            assert target.connections == 1
            await backend.close()

    asyncio.run(go())


@pytest.mark.parametrize("key", ["sk-with space-in-it", "sk-line\nbreak-in-it", "sk-ünïcödé-letters"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(key: str) -> None:
    server = {"url": "http://127.0.0.1:1/v1", "api_key_env": "MY_KEY"}
    settings = from_dict({"servers": {"s": server}, "arms": {"a": {"server": "s", "model": "m"}}})
    with pytest.raises(ConfigError, match="MY_KEY") as caught:
        open_backend("s", settings, {"MY_KEY": key})
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "[[A]]", "reasoning": "hm"}, "[[A]]", "hm"),
        ({"content": "[[A]]", "reasoning_content": "hm", "reasoning": "hm"}, "[[A]]", "hm"),
        ({"content": None, "reasoning_content": "hm"}, "", "hm"),
        ({"content": [{"type": "text", "text": "[["}, {"type": "text", "text": "A]]"}]}, "[[A]]", ""),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "B"},
                ]
            },
            "B",
            "hm",
        ),
        ({"content": ["x", 3, None, {"type": "image"}]}, "", ""),
        ({"content": {"a": 1}}, "", ""),
        ({}, "", ""),
        ({"content": "<think>hm</think>[[A]]"}, "<think>hm</think>[[A]]", ""),
    ],
)
def test_every_channel_of_a_message_is_read(message: object, text: str, reasoning: str) -> None:
    reply = read_reply(completion(message))
    assert (reply.text, reply.reasoning) == (text, reasoning)


def test_a_refusal_is_kept_apart_from_the_text() -> None:
    assert read_reply(completion({"content": None, "refusal": "I can't."})).refusal == "I can't."


def test_the_drawn_token_comes_first_among_the_candidates() -> None:
    top = [
        {"token": "B", "logprob": -0.5},
        {"token": "A", "logprob": -1},
        {"token": 3},
        {"token": "x", "logprob": None},
    ]
    logprobs = {"content": [{"token": "A", "logprob": -1.0, "top_logprobs": top}, "junk"]}
    body = json.dumps({"choices": [{"message": {"content": "A"}, "logprobs": logprobs}]}).encode()
    assert read_reply(body).top_logprobs == ((TokenChance("A", -1.0), TokenChance("B", -0.5)),)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 4}, Usage(10, 4)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}, Usage(10, 4, 8)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 11}}, Usage(10, 4)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": None}, Usage(10, 4)),
        (
            {"prompt_tokens": 10, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": -1}},
            Usage(10, 4),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 4, "prompt_cache_hit_tokens": 6}, Usage(10, 4, 6)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 34}, Usage(10, 24, 0, 20)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 1}, Usage(10, 4)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 10**12}, Usage(10, 4)),
        ({"prompt_tokens": 0, "completion_tokens": 4}, None),
        ({"prompt_tokens": 10, "completion_tokens": 0}, None),
        ({"prompt_tokens": True, "completion_tokens": 4}, None),
        ({"prompt_tokens": 10}, None),
        ({"prompt_tokens": 10, "completion_tokens": 1e9 + 1}, None),
        ([], None),
    ],
)
def test_usage_is_believed_only_when_it_can_be_true(usage: object, read: Usage | None) -> None:
    assert read_usage(usage) == read


def test_an_answer_without_text_may_have_no_output_tokens() -> None:
    assert read_usage({"prompt_tokens": 10, "completion_tokens": 0}, wrote=False) == Usage(10, 0)


@pytest.mark.parametrize(
    ("status", "body", "error", "always"),
    [
        (401, b"{}", Rejected, True),
        (404, b'{"error": {"message": "no model x"}}', Rejected, True),
        (400, b'{"error": {"message": "too long"}}', Rejected, False),
        (429, b'{"error": {"code": "insufficient_quota"}}', Rejected, True),
        (408, b"", Unavailable, False),
        (503, b'{"message": "Loading model"}', Unavailable, False),
    ],
)
def test_a_status_says_whether_to_try_again(status: int, body: bytes, error: type, always: bool) -> None:
    found = refusal(status, body)
    assert type(found) is error
    assert getattr(found, "always", False) is always


def test_an_error_object_in_a_200_counts_as_its_code_says() -> None:
    with pytest.raises(RateLimited):
        read_reply(b'{"error": {"code": 429, "message": "slow"}}')
    with pytest.raises(Unavailable) as caught:
        read_reply(b'{"error": {"message": "upstream died"}}')
    assert caught.value.maybe_billed


def test_an_error_text_is_one_short_line() -> None:
    text = error_text(b'{"error": {"message": "a\\nb\\u001b[31m' + b"x" * 5000 + b'"}}')
    assert text.startswith("a b [31mx")
    assert len(text) <= 300
    assert text.isprintable()


def test_bytes_that_are_not_utf8_do_not_lose_what_was_paid_for() -> None:
    body = completion({"content": "d\xe9cision [[A]]"})
    raw = body.replace(b"\\u00e9", b"\xe9")
    assert read_reply(raw).text == "d�cision [[A]]"
    assert read_reply(raw, "application/json; charset=latin-1").text == "d\xe9cision [[A]]"
    assert read_reply(raw, "application/json; charset=klingon").usage == Usage(9, 3)
    assert read_reply(body.decode().encode("utf-16"), "application/json; charset=utf-16").usage == Usage(9, 3)


def test_a_prompt_that_is_no_text_is_rejected() -> None:
    ask = Ask(pair_id="p", arm="a", kind="verdict", messages=(Message("user", "\ud800"),), body={})
    with pytest.raises(Rejected, match="surrogate"):
        request_body(ask)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_reading_any_body_gives_a_reply_or_a_backend_error(body: bytes) -> None:
    with contextlib.suppress(BackendError):
        assert isinstance(read_reply(body), Reply)


@given(json_values, json_values, json_values, json_values)
def test_reading_any_completion_shaped_json_gives_a_reply(
    content: object, usage: object, logprobs: object, reason: object
) -> None:
    choice = {
        "message": {"content": content, "reasoning": reason},
        "finish_reason": reason,
        "logprobs": {"content": logprobs},
    }
    reply = read_reply(json.dumps({"choices": [choice], "usage": usage, "model": content}).encode())
    assert isinstance(reply.text, str)
    assert (reply.usage is None) == (reply.unmetered_calls == 1)


# -- most replies are decoded in one go, the rest field by field: no reply may be read in two ways

COUNTS = st.sampled_from([0, 1, 5, 40, 10**9, 10**9 + 1, -1, 2.0, 2.5, True, None, "3", []])
WORDS = st.sampled_from(["", "[[A]]", "hm", None, 7, ["x"], [{"text": "y"}, {"type": "thinking", "thinking": "z"}]])
USAGES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), COUNTS)
    | dict.fromkeys(("prompt_cache_hit_tokens", "cached_tokens", "reasoning_tokens"), COUNTS)
    | {
        "prompt_tokens_details": st.none() | st.fixed_dictionaries({}, optional={"cached_tokens": COUNTS}),
        "completion_tokens_details": st.none() | st.fixed_dictionaries({}, optional={"reasoning_tokens": COUNTS}),
    },
)
MESSAGES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("content", "reasoning_content", "reasoning", "refusal"), WORDS)
)
CHOICES = st.fixed_dictionaries(
    {"message": MESSAGES},
    optional={
        "finish_reason": WORDS,
        "logprobs": st.sampled_from([None, 3, {"content": [{"token": "A", "logprob": -1}]}]),
    },
)


@given(st.fixed_dictionaries({"choices": st.lists(CHOICES, max_size=2), "usage": st.none() | USAGES, "model": WORDS}))
def test_a_reply_is_the_same_however_it_is_read(answer: dict[str, object]) -> None:
    body = json.dumps(answer).encode()
    try:
        careful = read_oddity(body, "")
    except BadReply:
        with pytest.raises(BadReply):
            read_reply(body)
    else:
        assert read_reply(body) == careful
