"""Chat completions passed on: any client's own request, to the arm and mode that its model names, and back as it is."""

import asyncio
import json

import openai
import pytest

from tests.gateways import Model, completion, gateway, serving_model, settings

SAYS_HI = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
ARMS = {
    "think": {"server": "plain", "model": "m", "mode": "reasoning", "switch": "template", "max_tokens": 512},
    "hard": {"server": "plain", "model": "o", "mode": "reasoning", "effort": "high", "sampling": {"temperature": 0.5}},
}


def chatting(says, arms=None, **how):
    """A decorator: the test gets a client, the model, and OpenAI's own client for the same gateway."""

    def decorate(test):
        def run(tmp_path):
            async def work():
                async with serving_model(Model(says)) as model:
                    told = settings({"plain": model.url}, arms or ARMS)
                    async with gateway(told, tmp_path / "g.db", **how) as client:
                        address = client.address + "/v1"
                        async with openai.AsyncOpenAI(base_url=address, api_key="none", max_retries=0) as theirs:
                            await test(client, model, theirs)

            asyncio.run(work())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


def event(**fields) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def delta(**said) -> bytes:
    return event(id="x", object="chat.completion.chunk", model="scripted", choices=[{"index": 0, "delta": said}])


USAGE = event(
    id="x",
    object="chat.completion.chunk",
    model="scripted",
    choices=[],
    usage={"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57},
)
DONE = b"data: [DONE]\n\n"


@chatting(lambda body: completion("Hello [[A]]", reasoning_content="Hm."))
async def test_openais_client_works_unchanged_and_gets_reasoning_under_both_names(client, model, theirs):
    found = await theirs.chat.completions.create(model="adjudge/plain", messages=SAYS_HI, n=1, seed=7)
    message = found.choices[0].message
    assert message.content == "Hello [[A]]"
    assert (message.reasoning, message.reasoning_content) == ("Hm.", "Hm.")
    assert found.usage.completion_tokens == 10
    assert [one.id async for one in await theirs.models.list()] == ["adjudge/plain", "adjudge/think", "adjudge/hard"]


@chatting(lambda body: completion("x"))
async def test_everything_is_passed_on_but_the_model_and_what_switches_the_mode(client, model, theirs):
    more = {"chat_template_kwargs": {"enable_thinking": False, "own": 1}, "guided_regex": "[AB]", "top_k": 3}
    await theirs.chat.completions.create(
        model="adjudge/think", messages=SAYS_HI, tools=TOOLS, seed=3, extra_body=more, reasoning_effort="low"
    )
    (sent,) = model.asked
    assert sent == {
        "model": "m",
        "messages": SAYS_HI,
        "tools": TOOLS,
        "seed": 3,
        "reasoning_effort": "low",
        "guided_regex": "[AB]",
        "top_k": 3,
        "chat_template_kwargs": {"enable_thinking": True, "own": 1},
        "max_tokens": 512,
    }
    await theirs.chat.completions.create(
        model="adjudge/hard", messages=SAYS_HI, temperature=1.0, reasoning_effort="low", max_completion_tokens=9
    )
    assert model.asked[1] == {
        "model": "o",
        "messages": SAYS_HI,
        "temperature": 1.0,
        "reasoning_effort": "high",
        "max_completion_tokens": 9,
    }


@chatting(lambda body: completion("x", prompt=1000, output=100))
async def test_an_answer_without_reasoning_comes_back_byte_for_byte_with_arm_and_cost_beside_it(client, model, theirs):
    body = {"model": "adjudge/plain", "messages": SAYS_HI}
    status, answer, headers = await client.posted("/v1/chat/completions", body)
    assert (status, answer) == (200, completion("x", prompt=1000, output=100))
    assert (headers["x-adjudge-arm"], float(headers["x-adjudge-cost-usd"])) == ("plain", pytest.approx(0.002))


STREAM = [
    delta(role="assistant"),
    delta(reasoning_content="Hm."),
    delta(content="Hel"),
    delta(content="lo"),
    USAGE,
    DONE,
]


@chatting(lambda body: STREAM)
async def test_a_stream_reaches_openais_client_and_its_usage_only_where_it_was_asked_for(client, model, theirs):
    for asked in (False, True):
        options = {"stream_options": {"include_usage": True}} if asked else {}
        stream = await theirs.chat.completions.create(model="adjudge/plain", messages=SAYS_HI, stream=True, **options)
        chunks = [chunk async for chunk in stream]
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        assert "".join(part.content or "" for part in deltas) == "Hello"
        assert [(d.reasoning, d.reasoning_content) for d in deltas if getattr(d, "reasoning", None)] == [("Hm.", "Hm.")]
        assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == ([7] if asked else [])
    assert [one["stream_options"] for one in model.asked] == [{"include_usage": True}] * 2
    _, text = await client.get("/metrics")
    assert 'adjudge_tokens_total{arm="plain",kind="output"} 14.0' in text


@chatting(lambda body: [delta(content="a"), b": a comment\r\n\r\n", delta(content="b"), DONE])
async def test_events_that_need_no_change_are_passed_on_as_they_came(client, model, theirs):
    body = {"model": "adjudge/plain", "messages": SAYS_HI, "stream": True}
    _, text = await client.post("/v1/chat/completions", body)
    assert text.encode() == delta(content="a") + b": a comment\r\n\r\n" + delta(content="b") + DONE


@chatting(lambda body: completion("Hello", reasoning="Hm."))
async def test_what_a_server_that_does_not_stream_says_is_streamed_all_the_same(client, model, theirs):
    stream = await theirs.chat.completions.create(model="adjudge/plain", messages=SAYS_HI, stream=True)
    (chunk,) = [chunk async for chunk in stream]
    assert (chunk.choices[0].delta.content, chunk.choices[0].delta.reasoning_content) == ("Hello", "Hm.")
    _, text = await client.get("/metrics")
    assert 'adjudge_tokens_total{arm="plain",kind="output"} 10.0' in text


@chatting(lambda body: STREAM)
async def test_proxies_are_told_not_to_hold_a_stream_back(client, model, theirs):
    body = {"model": "adjudge/plain", "messages": SAYS_HI, "stream": True}
    _, _, headers = await client.posted("/v1/chat/completions", body)
    assert (headers["X-Accel-Buffering"], headers["Cache-Control"]) == ("no", "no-store")


@chatting(lambda body: [delta(content="a"), b"cut"])
async def test_a_stream_that_is_cut_ends_in_an_error_that_the_client_sees(client, model, theirs):
    stream = await theirs.chat.completions.create(model="adjudge/plain", messages=SAYS_HI, stream=True)
    seen = []
    with pytest.raises(openai.APIError):
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content)
    assert seen == ["a"]
    assert len(model.asked) == 1


@chatting(lambda body: [delta(content=str(i)) for i in range(2000)])
async def test_a_caller_who_goes_away_ends_the_call(client, model, theirs):
    stream = await theirs.chat.completions.create(model="adjudge/plain", messages=SAYS_HI, stream=True)
    async for _ in stream:
        break
    await stream.close()
    for _ in range(100):
        if not client.gateway.room.inside:
            break
        await asyncio.sleep(0.05)
    assert client.gateway.room.inside == 0


@chatting(lambda body: (400, {"error": {"message": "unknown field 'x'"}}))
async def test_what_the_server_refuses_is_the_callers_error_with_its_words(client, model, theirs):
    with pytest.raises(openai.BadRequestError, match="unknown field 'x'"):
        await theirs.chat.completions.create(model="adjudge/plain", messages=SAYS_HI)
    with pytest.raises(openai.BadRequestError, match="unknown field 'x'"):
        await theirs.chat.completions.create(model="adjudge/plain", messages=SAYS_HI, stream=True)


@chatting(lambda body: (400, {"error": {"message": "no"}}) if "bad" in body else completion("x"))
async def test_requests_that_a_caller_makes_up_do_not_shut_the_server_for_others(client, model, theirs):
    body = {"model": "adjudge/plain", "messages": SAYS_HI}
    for _ in range(25):
        assert (await client.post("/v1/chat/completions", {**body, "bad": 1}))[0] == 400
    assert (await client.post("/v1/chat/completions", body))[0] == 200


@chatting(lambda body: (401, {"error": {"message": "Incorrect API key sk-secret"}}))
async def test_that_our_own_key_is_refused_is_not_the_callers_error(client, model, theirs):
    with pytest.raises(openai.InternalServerError) as raised:
        await theirs.chat.completions.create(model="adjudge/plain", messages=SAYS_HI)
    assert raised.value.status_code == 502


@chatting(lambda body: completion("x"))
async def test_models_that_are_not_there_and_requests_that_are_none_are_refused_before_anything_is_asked(
    client, model, theirs
):
    for name in ("plain", "adjudge/nobody", "gpt-4"):
        with pytest.raises(openai.NotFoundError):
            await theirs.chat.completions.create(model=name, messages=SAYS_HI)
    with pytest.raises(openai.BadRequestError, match="no router"):
        await theirs.chat.completions.create(model="adjudge/auto", messages=SAYS_HI)
    for wrong in (
        {},
        {"model": "adjudge/plain"},
        {"model": "adjudge/plain", "messages": []},
        {"model": "adjudge/plain", "messages": SAYS_HI, "n": 0},
    ):
        assert (await client.post("/v1/chat/completions", wrong))[0] == 400
    assert not model.asked


@chatting(lambda body: None, deadline_s=0.3)
async def test_a_server_that_says_nothing_is_given_up_at_the_deadline(client, model, theirs):
    for stream in (False, True):
        body = {"model": "adjudge/plain", "messages": SAYS_HI, "stream": stream}
        status, answer = await client.post("/v1/chat/completions", body)
        assert (status, answer["error"]["code"]) == (504, "deadline")
