"""/openapi.json is exact: whatever is answered is documented, whatever is documented can be asked."""

import asyncio
import json
import re

from tests.gateways import PAIR, Model, gateway, serving_model, settings, verdict

ARMS = {"rates": {"server": "plain", "protocol": "pointwise"}}
SAYS_HI = [{"role": "user", "content": "hi"}]
NO_ID = "jdg_" + "0" * 32


def test_every_answer_is_documented_with_its_status_and_media_type(tmp_path):
    async def work():
        async with (
            serving_model(Model(verdict())) as model,
            gateway(settings({"plain": model.url}, ARMS), tmp_path / "g.db", reward_arm="plain", body_mb=0.1) as client,
        ):
            _, document = await client.get("/openapi.json")
            asked = [
                ("POST", "/v1/judge", {"arm": "plain", **PAIR}),
                ("POST", "/v1/judge", {"arm": "plain", "items": [PAIR]}),
                ("POST", "/v1/judge", {"arm": "plain"}),
                ("POST", "/v1/judge", {"arm": "nobody", **PAIR}),
                ("POST", "/v1/judge", {"arm": "plain", **PAIR, "prompt": "x" * 200_000}),
                ("POST", "/v1/chat/completions", {"model": "adjudge/plain", "messages": SAYS_HI}),
                ("POST", "/v1/chat/completions", {"model": "adjudge/plain", "messages": SAYS_HI, "stream": True}),
                ("POST", "/v1/chat/completions", {}),
                ("POST", "/v1/rewards", {"groups": [{"prompt": "p", "responses": ["a", "b"]}]}),
                ("POST", "/v1/rewards", {"query": ["p a"], "prompts": ["p"]}),
                ("POST", "/v1/feedback", {"id": NO_ID, "gold": "A"}),
                ("POST", "/v1/feedback", {"id": "x", "gold": "C"}),
                ("GET", "/v1/judgments/{id}", NO_ID),
                ("GET", "/v1/models", None),
                ("GET", "/metrics", None),
                ("GET", "/healthz", None),
                ("GET", "/readyz", None),
            ]
            seen = set()
            for method, path, body in asked:
                data, at = (None, path.replace("{id}", str(body))) if method == "GET" else (json.dumps(body), path)
                headers = {"Content-Type": "application/json"} if data else {}
                async with client.session.request(method, client.address + at, data=data, headers=headers) as answer:
                    await answer.read()
                    told = document["paths"][path][method.lower()]["responses"][str(answer.status)]
                    media = answer.headers["Content-Type"].split(";")[0]
                    assert media in told["content"], (path, answer.status)
                    seen.add((path, answer.status // 100))
            assert {path for path, kind in seen if kind == 2} | {"/v1/feedback", "/v1/judgments/{id}"} == set(
                document["paths"]
            )

    asyncio.run(work())


def test_every_reference_leads_somewhere_and_the_arms_are_named(tmp_path):
    async def work():
        async with gateway(settings({"plain": "http://127.0.0.1:1/v1"}, ARMS), tmp_path / "g.db") as client:
            _, document = await client.get("/openapi.json")
        schemas = document["components"]["schemas"]
        references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
        assert references <= set(schemas)
        assert schemas["SingleRequest"]["properties"]["arm"]["enum"] == ["plain", "rates"]  # no router: no auto
        assert schemas["ChatRequest"]["properties"]["model"]["enum"] == ["adjudge/plain", "adjudge/rates"]

    asyncio.run(work())
