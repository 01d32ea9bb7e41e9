"""Rewards over HTTP: a number for each response where there is a verdict, in the shapes that trainers read."""

import asyncio

import pytest

from tests.gateways import Model, completion, gateway, serving_model, settings

ARMS = {
    "rates": {"server": "s", "protocol": "pointwise", "scale": [0, 10]},
    "compares": {"server": "s"},
}


def says(body):
    """Rates by the number in the response, prefers the larger one; what is called mute is not judged."""
    text = body["messages"][-1]["content"]
    if "mute" in text:
        return completion("Who knows.")
    if "RESPONSE A" in text:
        a, b = (int(part.split("value")[1].split()[0]) for part in text.split("<<<RESPONSE ")[1:3])
        return completion("[[A]]" if a > b else "[[B]]" if b > a else "[[C]]")
    return completion(f"[[{text.split('<<<RESPONSE ')[1].split('value')[1].split()[0]}]]")


def rewarded(test):
    def run(tmp_path):
        async def work():
            async with serving_model(Model(says)) as model:
                told = settings({"s": model.url}, ARMS)
                async with gateway(told, tmp_path / "g.db", reward_arm="rates") as client:
                    await test(client, model)

        asyncio.run(work())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def items(*responses, prompt="Say a value."):
    return [{"prompt": prompt, "response": response} for response in responses]


@rewarded
async def test_an_arm_that_rates_scores_each_response_alone_on_the_scale_of_the_lab(client, model):
    status, found = await client.post("/v1/rewards", {"items": items("value 10 ", "value 5 ", "value 0 ", "value 5 ")})
    assert (status, found["scores"], found["why"]) == (200, [9.0, 4.5, 0.0, 4.5], ["", "", "", ""])
    assert (found["judged"], found["cached"], len(model.asked)) == (3, 0, 3)  # copies are judged once
    _, again = await client.post("/v1/rewards", {"items": items("value 10 ")})
    assert (again["scores"], again["cached"], again["cost_usd"]) == ([9.0], 1, 0.0)


@rewarded
async def test_an_arm_that_compares_gives_the_share_of_the_others_that_a_response_beats(client, model):
    groups = [{"prompt": "Say a value.", "responses": ["value 3 ", "value 1 ", "value 2 "]}]
    _, found = await client.post("/v1/rewards", {"arm": "compares", "groups": groups})
    assert found["groups"] == [[1.0, 0.0, 0.5]]
    _, found = await client.post("/v1/rewards", {"arm": "compares", "items": items("value 3 ", "value 1 ", "value 2 ")})
    assert (found["scores"], found["cached"]) == ([1.0, 0.0, 0.5], 3)


@rewarded
async def test_what_there_is_no_verdict_of_has_no_score_and_says_why(client, model):
    _, found = await client.post("/v1/rewards", {"items": items("mute", "value 10 ")})
    assert (found["scores"], found["why"]) == ([None, 9.0], ["unread", ""])
    _, found = await client.post("/v1/rewards", {"arm": "compares", "items": items("value 1 ")})
    assert (found["scores"], found["why"]) == ([None], ["alone"])


@rewarded
async def test_openrlhf_gets_a_number_for_each_query_and_is_told_which_stand_in(client, model):
    prompt = "<|user|>Say a value.<|assistant|>"
    posted = {"query": [f"{prompt}value 10 </s>", f"{prompt}mute</s>"], "prompts": [prompt] * 2, "labels": ["", ""]}
    status, found = await client.post("/v1/rewards", posted)
    assert (status, found) == (200, {"rewards": [9.0, 9.0], "scores": [9.0, 9.0], "extra_logs": {"judged": [1.0, 0.0]}})
    both = {"query": [f"{prompt}value 1 ", f"{prompt}value 2 "], "prompts": [prompt] * 2}
    _, found = await client.post("/v1/rewards?arm=compares", both)
    assert found["rewards"] == [0.0, 1.0]
    status, found = await client.post("/v1/rewards?arm=compares", {"query": [prompt + "value 1 "], "prompts": [prompt]})
    assert (status, found["error"]["code"]) == (400, "nothing_to_compare")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": ["x"], "prompts": ["y"]}, 400),
        ({"query": ["x"], "prompts": []}, 400),
        ({"items": [{}]}, 400),
        ({"arm": "nobody", "items": []}, 404),
    ],
)
def test_rewards_that_are_asked_wrongly_are_refused(tmp_path, body, status):
    async def work():
        async with gateway(
            settings({"s": "http://127.0.0.1:1/v1"}, ARMS), tmp_path / "g.db", reward_arm="rates"
        ) as client:
            assert (await client.post("/v1/rewards", body))[0] == status

    asyncio.run(work())
