"""A judge as a GGUF file: llama.cpp gives it the scores that torch gives it, and what cannot be written is said."""

import asyncio
import json
import random

import pytest

pytest.importorskip("torch", reason="the extra `lab` is not installed")
pytest.importorskip("gguf", reason="the extra `lab` is not installed")

from adjudge.__main__ import main
from adjudge.config import Server, Settings
from adjudge.errors import ConfigError
from adjudge.judging.backends import embedded
from adjudge.lab.models import small
from adjudge.lab.models.export import export_gguf
from adjudge.lab.models.torch_judge import TorchJudge
from adjudge.lab.preset import Model
from adjudge.lab.study import judges
from adjudge.lab.world.items import draw_items
from adjudge.lab.world.wording import judge_prompt
from adjudge.types import Ask, Message
from tests.local import needs_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A judge with weights that were drawn."""
    folder = tmp_path_factory.mktemp("judge")
    examples = judges.base_examples(Model(texts=40, searches=20, forms=40), 0)
    tokenizer = small.train_tokenizer(p + c for p, c in examples)
    small.save(small.new_model(tokenizer, 64, 2, 4, 0), tokenizer, folder)
    return folder


async def asked_of(model, prompt):
    """The ten scores' log-probabilities where a direct judge writes its score."""
    body = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 1024, "cache_prompt": False}
    body["grammar"] = 'root ::= " " [0-9]'
    ask = Ask(pair_id="p", arm="a", kind="score", messages=(Message("user", prompt),), body=body, response_index=0)
    reply = await model.send(ask)
    return {one.token: one.logprob for one in reply.top_logprobs[0]}


@needs_model
def test_llama_cpp_gives_the_scores_that_torch_gives(folder, tmp_path):
    size = export_gguf(folder, tmp_path / "judge.gguf", "judge")
    assert size == (tmp_path / "judge.gguf").stat().st_size < 2_000_000
    server = Server(kind="embedded", path=str(tmp_path / "judge.gguf"), slots=1, context=512)
    model = embedded.connect("s", Settings(evaluator="e", servers={"s": server}, arms={}), {})
    judge = TorchJudge(folder, "direct")

    async def compare():
        for brief, response in draw_items(random.Random(1).randrange(99), 5):
            prompt = judge_prompt(brief.text(), response, "direct")
            given = judge.tokenizer([prompt], return_tensors="pt", add_special_tokens=False)
            ours = judge._at_score(given)[0][0].log_softmax(-1).tolist()
            theirs = await asked_of(model, prompt)
            for score in range(10):
                token = judge.tokenizer.encode(f" {score}", add_special_tokens=False)[0]
                assert theirs[f" {score}"] == pytest.approx(ours[token], abs=0.02)
        await model.close()

    asyncio.run(compare())


def test_a_folder_without_a_model_and_a_file_that_cannot_be_written_are_one_line(folder, tmp_path, capsys):
    with pytest.raises(ConfigError, match="holds no model"):
        export_gguf(tmp_path, tmp_path / "x.gguf", "x")
    with pytest.raises(ConfigError, match="cannot be written"):
        export_gguf(folder, tmp_path / "none" / "x.gguf", "x")
    with pytest.raises(SystemExit) as left:
        main(["lab", "export", str(folder), "--out", str(tmp_path / "judge.gguf"), "--json"])
    assert left.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == (tmp_path / "judge.gguf").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["judge.gguf"]


def test_a_weights_file_inside_a_package_is_found_without_importing_it():
    assert embedded._weights("adjudge.demo.world:judge.jinja", "s").name == "judge.jinja"
    with pytest.raises(ConfigError, match=r"no file 'none\.gguf' in an installed package"):
        embedded._weights("adjudge.demo.world:none.gguf", "s")
    with pytest.raises(ConfigError, match=r"no file 'x' in an installed package 'no\.such'"):
        embedded._weights("no.such:x", "s")
    assert str(embedded._weights("C:/models/x.gguf", "s")) == "C:/models/x.gguf"
