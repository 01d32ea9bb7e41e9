"""Small language models for the controlled world: a byte-level BPE trained on it, and a Llama configuration around it.

Byte-level, so that any text can be read and llama.cpp runs the tokenizer; with merges enough for each of the world's
words to be one token. Transformers and torch are imported here and in the stages, nowhere else.
"""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from adjudge.lab.scoring import TOP

END, PAD = "<|end|>", "<|pad|>"
VOCABULARY = 1024
CONTEXT = 512


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most VOCABULARY tokens; END ends a text, PAD fills a batch."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    scores = [f" {score}" for score in range(TOP + 1)] * 100  # tokens of their own, however rare they are
    tokenizer.train_from_iterator(chain(texts, scores), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, padding_side="left", model_max_length=CONTEXT
    )


def new_model(tokenizer: PreTrainedTokenizerFast, width: int, layers: int, heads: int, seed: int) -> LlamaForCausalLM:
    """A Llama with random weights by the seed; embeddings are tied."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            initializer_range=width**-0.5,  # the usual 0.02 suits widths ten times this; copying is learned far later
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
