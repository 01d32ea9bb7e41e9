"""A GRPO trainer of TRL whose policy is a random language model of 30,000 parameters: real steps, in little time."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen3Config, Qwen3ForCausalLM
from trl import GRPOConfig, GRPOTrainer

WORDS = ["<end>", "<pad>", *(f"w{i}" for i in range(254))]


def trainer(reward: Any, folder: Path, *, prompts: int, group: int, steps: int, tokens: int = 12) -> GRPOTrainer:
    """`steps` GRPO steps of prompts x group rollouts of `tokens` tokens, rewarded by `reward`."""
    disable_progress_bar()
    torch.set_num_threads(1)  # so small a policy takes six times as long with two, which wait for each other
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token=WORDS[2]))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token=WORDS[0], pad_token=WORDS[1], padding_side="left"
    )
    torch.manual_seed(0)
    policy = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(WORDS),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            tie_word_embeddings=True,
            eos_token_id=0,
            pad_token_id=1,
            bos_token_id=None,
        )
    )
    config = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=prompts * group,
        num_generations=group,
        max_steps=steps,
        max_completion_length=tokens,
        beta=0.0,
        learning_rate=1e-4,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=0,
    )
    data = Dataset.from_dict({"prompt": [f"w{i % 200} w{i // 200} w7" for i in range(prompts * steps)]})
    made = GRPOTrainer(model=policy, args=config, train_dataset=data, reward_funcs=reward, processing_class=tokenizer)
    made.remove_callback(PrinterCallback)  # it writes to stdout
    return made
