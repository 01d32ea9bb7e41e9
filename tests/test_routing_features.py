"""Features: what they must not tell, by hand counts and arbitrary pairs; embeddings against a server on loopback."""

import asyncio
import json
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from adjudge.errors import BadReply, ConfigError, DataError, RateLimited, Rejected, Unavailable
from adjudge.routing import value
from adjudge.routing.embedding import EmbeddingServer, ServerEmbedder, read_vectors
from adjudge.routing.features import EMBEDDED, checked_finite, describe, extract, is_embedded, names, with_text
from adjudge.routing.table import tabulate
from adjudge.types import Judgment, Outcome, Pair, Record
from tests import records_drawn
from tests.tables_drawn import signed

KEY = "sk-embedding-secret-123"


class Letters:
    """Counts of four letters, brought to unit length; keeps what it was asked."""

    name = "letters"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        counts = np.array([[text.count(letter) for letter in "abcd"] for text in texts], float)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)


def told(pair: Pair, *columns: str) -> list[float]:
    at = names()
    return [float(describe(pair)[at.index(column)]) for column in columns]


@given(records_drawn.pairs)
def test_features_are_finite_and_do_not_change_when_the_responses_change_places(pair):
    x_D = describe(pair)
    assert x_D.shape == (len(names()),)
    assert np.isfinite(x_D).all()
    assert (describe(pair.swapped()) == x_D).all()
    if pair.responses is not None:
        turned = msgspec.structs.replace(pair, responses=pair.responses[::-1])
        assert (describe(turned) == x_D).all()


@given(records_drawn.pairs, st.sampled_from(["A", "B", None]))
def test_gold_domain_source_id_and_meta_are_never_features(pair, gold):
    other = msgspec.structs.replace(pair, id="other", gold=gold, domain="d", source="s", meta={"gold": "A"})
    other = msgspec.structs.replace(other, gold_index=1)
    assert (describe(other) == describe(pair)).all()


def test_measures_are_those_counted_by_hand():
    pair = Pair(id="1", prompt="Is 12 = 3 * 4?", response_a="Yes.\nSure thing", response_b="I'm sorry, no 19")
    assert told(pair, "prompt_digits", "prompt_questions", "prompt_maths") == [4 / 14, np.log1p(1), 1 / 4]
    assert told(pair, "response_log_lines", "range_log_lines") == pytest.approx([np.log(2) / 2, np.log(2)])
    assert told(pair, "response_refusal", "range_refusal") == pytest.approx([np.log(2) / 2, np.log(2)])
    assert told(pair, "range_log_chars") == pytest.approx([np.log(17 / 16)])
    assert told(pair, "log_difference", "overlap", "same_end") == pytest.approx([np.log(2), 0, 0])


def test_overlap_counts_words_that_are_shared():
    pair = Pair(id="1", prompt="one two", response_a="one two three", response_b="two three four THREE")
    assert told(pair, "overlap", "prompt_overlap", "prompt_overlap_range") == [2 / 4, 0.75, 0.5]
    assert told(msgspec.structs.replace(pair, response_a="four three"), "same_end") == [1.0]


def test_texts_that_are_missing_measure_zero_and_are_flagged():
    nothing = Pair(id="1")
    assert told(nothing, "missing_prompt", "missing_responses", "responses") == [1.0, 1.0, 0.0]
    assert describe(nothing).sum() == 2.0
    assert told(Pair(id="1", prompt="", response_a="", response_b=""), "missing_prompt", "missing_responses") == [0, 0]


def test_a_rubric_is_told():
    assert told(Pair(id="1", rubric="be kind"), "has_rubric", "log_rubric") == [1.0, np.log(8)]


def test_embeddings_do_not_change_when_the_responses_change_places():
    pair = Pair(id="1", prompt="abba", response_a="a cab", response_b="dad")
    x_D = describe(pair, Letters())
    assert x_D.shape == (len(names(4)),)
    assert (describe(pair.swapped(), Letters()) == x_D).all()
    of = dict(zip(names(4), x_D, strict=True))
    one, two = Letters().embed(["a cab", "dad"])
    apart = [of[f"{EMBEDDED}apart:{e}"] for e in range(4)]
    assert apart == pytest.approx(np.abs(one - two))
    assert [of[f"{EMBEDDED}responses:{e}"] for e in range(4)] == pytest.approx((one + two) / 2)
    assert of["alike_prompt"] == pytest.approx((one + two) @ Letters().embed(["abba"])[0] / 2)


def test_every_different_text_is_embedded_once_and_missing_ones_are_zero():
    embedder = Letters()
    pairs = [Pair(id="1", prompt="a", response_a="b", response_b="c"), Pair(id="2", prompt="a")]
    x_ID, columns = extract(pairs, embedder)
    assert sorted(embedder.asked) == ["a", "b", "c"]
    assert (x_ID[1, columns.index(f"{EMBEDDED}responses:0") :] == 0).all()
    assert is_embedded(columns).sum() == 12


def test_an_embedder_that_gives_nan_is_named():
    class Broken(Letters):
        def embed(self, texts: Sequence[str]) -> np.ndarray:
            return np.full((len(texts), 4), np.nan)

    with pytest.raises(DataError, match="embeddings of letters"):
        describe(Pair(id="1", prompt="a"), Broken())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_is_refused_by_its_name(bad):
    x_ND = np.zeros((3, 2))
    x_ND[2, 1] = bad
    with pytest.raises(DataError, match=r"'length' of row 2"):
        checked_finite(x_ND, ("size", "length"))


def test_rows_of_a_table_get_the_features_of_their_own_instance():
    def record(pair_id: str, prompt: str) -> Record:
        pair = Pair(id=pair_id, prompt=prompt, response_a="x", response_b="y", gold="A")
        judged = {
            arm: Judgment(arm=arm, ab=Outcome.A, ba=Outcome.B, output_tokens=3, prompt_tokens=1) for arm in ("a", "b")
        }
        return Record(pair=pair, evaluator="e", judgments=judged)

    records = [record("1", "one"), record("2", "twice as long"), record("3", "!")]
    table = with_text(tabulate(records), reversed(records))
    assert table.features == names()
    for row, instance in enumerate(table.instance_N):
        assert (table.x_ND[row] == describe(records[instance].pair)).all()
    with pytest.raises(DataError, match="'3'"):
        with_text(tabulate(records), records[:2])


def test_a_router_fitted_with_embeddings_refuses_features_without_them():
    table = signed()
    rng = np.random.default_rng(0)
    columns = tuple(f"{EMBEDDED}prompt:{e}" for e in range(40))
    router = value.fit(table.with_features(rng.normal(size=(len(table.ids), 40)), columns))
    with pytest.raises(DataError, match="embedder"):
        router.choose(table.x_ND, 0)


class Served:
    """An embeddings server that answers as told, and keeps what it was asked."""

    def __init__(self, *faults: web.Response) -> None:
        self.faults, self.bodies, self.keys = list(faults), [], []

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        if self.faults:
            return self.faults.pop(0)
        rows = [{"index": i, "embedding": [len(t), 1.0]} for i, t in enumerate(self.bodies[-1]["input"])]
        return web.json_response({"data": rows[::-1]})


def embedded(served: Served, texts: Sequence[str], **fields: object) -> np.ndarray:
    async def go() -> np.ndarray:
        app = web.Application()
        app.router.add_post("/v1/embeddings", served.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        server = EmbeddingServer(url=f"http://127.0.0.1:{port}/v1/", model="m", **fields)
        try:
            return await asyncio.to_thread(ServerEmbedder(server, {"EMBED_KEY": KEY}).embed, texts)
        finally:
            await runner.cleanup()

    return asyncio.run(go())


def test_texts_are_sent_in_batches_and_come_back_in_order():
    served = Served()
    texts = ["a" * n for n in range(1, 8)]
    vector_TE = embedded(served, [*texts, " "], batch=3)
    assert sorted(len(body["input"]) for body in served.bodies) == [1, 3, 3]
    assert {body["model"] for body in served.bodies} == {"m"}
    assert vector_TE[:7, 0] / vector_TE[:7, 1] == pytest.approx(range(1, 8))
    assert np.linalg.norm(vector_TE, axis=1) == pytest.approx([1] * 7 + [0])  # a blank text is not sent


def test_texts_are_cut_at_the_limit():
    served = Served()
    embedded(served, ["a" * 50], most_chars=10)
    assert served.bodies[0]["input"] == ["a" * 10]


def test_the_key_goes_into_the_header_alone_and_is_masked_in_errors():
    served = Served(web.Response(status=401, text=f"bad key {KEY}"))
    with pytest.raises(Rejected) as caught:
        embedded(served, ["a"], api_key_env="EMBED_KEY")
    assert served.keys == [f"Bearer {KEY}"]
    assert KEY not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_rate_limit_is_waited_out_and_tried_again():
    served = Served(web.Response(status=429, headers={"Retry-After": "0.01"}), web.Response(status=429))
    assert embedded(served, ["a"], retries=2).shape == (1, 2)
    assert len(served.bodies) == 3


def test_a_server_that_stays_down_is_given_up():
    faults = [web.Response(status=503, headers={"Retry-After": "0"}) for _ in range(3)]
    with pytest.raises(Unavailable, match="503"):
        embedded(Served(*faults), ["a"], retries=2)
    with pytest.raises(RateLimited):
        embedded(Served(web.Response(status=429)), ["a"], retries=0)


def test_a_redirect_is_not_followed():
    served = Served(web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(Rejected, match="another address"):
        embedded(served, ["a"])


def test_a_reply_over_the_limit_is_given_up():
    with pytest.raises(BadReply, match="max_reply_mb"):
        embedded(Served(web.Response(body=b"x" * 3000)), ["a"], max_reply_mb=0.002, retries=0)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"not json",
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [2]}]}',
        b'{"data": [{"embedding": "AAAA"}, {"embedding": "AAAA"}]}',
        b'{"data": [{"index": "x", "embedding": [1]}, {"embedding": [2]}]}',
        b'{"data": [{"embedding": []}, {"embedding": []}]}',
    ],
)
def test_a_reply_without_one_vector_a_text_is_refused(body):
    with pytest.raises(BadReply, match="no embeddings"):
        read_vectors(body, 2)


def test_vectors_without_index_are_taken_in_order():
    body = json.dumps({"data": [{"embedding": [2, 0]}, {"embedding": [0, 0]}]}).encode()
    assert read_vectors(body, 2).tolist() == [[1, 0], [0, 0]]


def test_a_key_that_is_not_set_and_settings_out_of_bounds_are_refused():
    server = EmbeddingServer(url="http://127.0.0.1:1", model="m", api_key_env="EMBED_KEY")
    with pytest.raises(ConfigError, match="EMBED_KEY is not set"):
        ServerEmbedder(server, {})
    with pytest.raises(ConfigError, match="no header"):
        ServerEmbedder(server, {"EMBED_KEY": "two words"})
    with pytest.raises(ConfigError, match="batch is 0"):
        EmbeddingServer(url="http://127.0.0.1:1", model="m", batch=0)
    with pytest.raises(ConfigError, match="http"):
        EmbeddingServer(url="127.0.0.1", model="m")
