"""Judges of pretrained models: a tokenizer that keeps digits apart writes a score as a space and a digit."""

import pytest

pytest.importorskip("torch", reason="the extra `lab` is not installed")

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from adjudge.errors import ConfigError
from adjudge.lab import preset
from adjudge.lab.models.torch_judge import TorchJudge
from adjudge.lab.scoring import Asked
from adjudge.lab.study import judges

END = "<|end|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of random weights whose tokenizer, like SmolLM2's, has no token for a space with a digit."""
    at = tmp_path_factory.mktemp("apart")
    save(at, [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return at


def save(at, parts):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(parts)
    made.decoder = decoders.ByteLevel()
    texts = [" ".join(pair) for pair in judges.base_examples(preset.Model(texts=20, forms=20), 0)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, pad_token=END, padding_side="left")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=False, eos_token_id=0, pad_token_id=0, **shape)
    ).save_pretrained(at)
    tokenizer.save_pretrained(at)


@pytest.fixture
def judge(folder):
    return TorchJudge(folder, "direct")


ASKED = [Asked(id="1", prompt="Say please.", response="I saw a tea."), Asked(id="2", prompt="Say please.", response="")]


def test_a_score_is_a_space_and_a_digit(judge):
    assert [judge.tokenizer.decode([*judge.lead_ids, one]) for one in judge.score_ids.tolist()] == [
        f" {score}" for score in range(10)
    ]
    assert len(judge.lead_ids) == 1


def test_the_expected_score_is_read_after_the_space_if_the_model_writes_one(judge):
    """Logits set by hand: the space after the prompt, then 2 and 8 with equal chances."""
    space, digits = judge.lead_ids[0], judge.score_ids.tolist()
    with torch.no_grad():
        judge.model.lm_head.weight.zero_()
    plain = judge.model.forward

    def led(wins):
        def forward(**given):
            found = plain(**given)
            found.logits[:, 0, space if wins else 5] = 9.0
            found.logits[:, 1, [digits[2], digits[8]]] = 50.0
            return found

        return forward

    judge.model.forward = led(True)
    scores = judge.score_now(ASKED)
    assert [score.value for score in scores] == [pytest.approx(5.0)] * 2
    assert scores[0].usage.output_tokens == 2 and scores[0].text.startswith(" ")
    judge.model.forward = led(False)
    assert [(score.value, score.why) for score in judge.score_now(ASKED)] == [(None, "unread")] * 2


def test_one_pass_says_what_writing_token_by_token_would(judge):
    """The lead and the score of a single pass against greedy generation."""
    given = judge.tokenizer(["Brief: Say please.\nScore:"], return_tensors="pt", add_special_tokens=False)
    logits, (led,) = judge._at_score(given)
    written = judge.model.generate(**given, max_new_tokens=1, do_sample=False)[0, -1]
    assert led == (int(written) == judge.lead_ids[0])
    after = torch.cat([given["input_ids"], torch.tensor([judge.lead_ids])], dim=1)
    assert torch.allclose(logits[0], judge.model(input_ids=after).logits[0, -1], atol=1e-5)


@pytest.mark.parametrize(
    ("text", "value", "why"),
    [(" ok\nScore: 7", 7, ""), (" ok\nScore: 17", None, "unread"), (" ok\nScore:7", None, "unread")],
)
def test_a_number_of_two_digits_is_no_score(folder, text, value, why):
    judge = TorchJudge(folder, "high")
    ids = torch.tensor([*judge.tokenizer.encode(text, add_special_tokens=False), judge.tokenizer.eos_token_id])
    logits = torch.nn.functional.one_hot(ids, len(judge.tokenizer)).double() * 100
    score = judge._reasoned(ids, logits, 1)
    assert (score.value if value is None else pytest.approx(score.value), score.why) == (value, why)


def test_scores_that_differ_in_more_than_one_token_are_refused(folder, tmp_path):
    judge = TorchJudge(folder, "direct")
    judge.tokenizer.add_tokens([" 1"])  # one score whole, the others a space and a digit
    judge.tokenizer.save_pretrained(tmp_path)
    judge.model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="do not differ in their last token alone"):
        TorchJudge(tmp_path, "direct")
