"""Training with TRL, the way every stage of the lab does it: seeded, restartable, with its figures in a file.

    fine_tune   supervised: completions given, loss on them alone
    reinforce   GRPO: prompts given, completions sampled, rewards from a function

Both save checkpoints and go on from the last one that is whole; a run that was killed ends with the same weights as one
that was not. Figures go to `figures.jsonl` in the stage's folder, and to TensorBoard beside it.
"""

import itertools
import json
import math
import random
import shutil
import warnings
from collections.abc import Callable, Sequence
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from adjudge.lab.preset import FineTuning, Reinforcing

POOL = 50  # batches that are drawn, then sorted by length, together
IGNORED = -100  # torch's label of what does not count
Reward = Callable[..., Any]  # TRL's: f(prompts, completions, **columns) -> list[float | None], or a coroutine of it
Tell = Callable[[int, int], None]  # told (steps done, steps in all)


class Figures(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Writes what the trainer logs, one JSON object a line, and tells how far it is.

    Lines past the checkpoint that a run goes on from are dropped, so that each step stands once.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self.path, self.tell = path, tell

    def on_train_begin(self, _args: Any, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        whole = self.path.read_text().split("\n")[:-1] if self.path.exists() and state.global_step else []
        kept = [line for line in whole if json.loads(line)["step"] <= state.global_step]
        self.path.write_text("".join(line + "\n" for line in kept))

    def on_log(
        self, _args: Any, state: TrainerState, _control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")

    def on_step_end(self, _args: Any, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        self.tell(state.global_step, state.max_steps)


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[tuple[str, str]],
    settings: FineTuning,
    folder: Path,
    *,
    seed: int,
    tell: Tell = lambda _step, _steps: None,
) -> dict[str, float]:
    """Train on (prompt, completion) texts and save model and tokenizer in `folder`. Returns the last figures."""
    data = tokenized(tokenizer, examples)
    order = batched_alike([len(ids) for ids in data["input_ids"]], settings.batch, settings.epochs, seed)
    steps = math.ceil(len(order) / settings.batch)
    config = SFTConfig(
        **_common(folder, seed),
        per_device_train_batch_size=settings.batch,
        learning_rate=settings.rate,
        num_train_epochs=1,  # `order` has them all
        lr_scheduler_type=settings.schedule,
        warmup_steps=round(settings.warmup * steps),
        weight_decay=settings.decay,
        max_length=settings.max_tokens,
        train_sampling_strategy="sequential",
        logging_steps=max(1, steps // 50),
        save_steps=settings.save_steps,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=data.select(order),
        processing_class=tokenizer,
        callbacks=[Figures(folder / "figures.jsonl", tell)],
    )
    return _run(trainer, tokenizer, folder)


def batched_alike(lengths: Sequence[int], batch: int, epochs: float, seed: int) -> list[int]:
    """An order of examples, drawn anew for each epoch, in which those of a batch are of about one length.

    Batches themselves come in random order. A batch is padded to its longest example, which was 1.7 times the tokens of
    judges' training in the controlled world; the trainer's own grouping goes from long to short, over and over.

    >>> batched_alike([5, 90, 6, 91], batch=2, epochs=1, seed=0)
    [2, 0, 3, 1]
    """
    rng = random.Random(seed)
    found: list[int] = []
    short: list[int] = []  # comes last, so that no whole batch is parted
    for _ in range(math.ceil(epochs)):
        drawn = rng.sample(range(len(lengths)), len(lengths))
        pools = [drawn[at : at + POOL * batch] for at in range(0, len(drawn), POOL * batch)]
        alike = [sorted(pool, key=lambda k: -lengths[k]) for pool in pools]
        batches = [pool[at : at + batch] for pool in alike for at in range(0, len(pool), batch)]
        short += batches.pop() if len(batches[-1]) < batch else []
        found += itertools.chain(*rng.sample(batches, len(batches)))
    return [*found, *short][: max(1, round(epochs * len(lengths)))]


def tokenized(tokenizer: PreTrainedTokenizerBase, examples: Sequence[tuple[str, str]]) -> Dataset:
    """`input_ids`, and `labels` that leave the prompt out of the loss.

    Prompt and completion are parted as they are when a model writes, and the end is part of the completion. TRL's own
    preparation of texts does the same and takes ten times as long.
    """
    prompts = tokenizer([p for p, _ in examples], add_special_tokens=False)["input_ids"]
    completions = tokenizer([c for _, c in examples], add_special_tokens=False)["input_ids"]
    ends = [[*completion, tokenizer.eos_token_id] for completion in completions]
    return Dataset.from_dict(
        {
            "input_ids": [prompt + end for prompt, end in zip(prompts, ends, strict=True)],
            "labels": [[IGNORED] * len(prompt) + end for prompt, end in zip(prompts, ends, strict=True)],
        }
    )


def reinforce(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Sequence[dict[str, Any]],
    reward: Reward,
    settings: Reinforcing,
    folder: Path,
    *,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
    tell: Tell = lambda _step, _steps: None,
) -> dict[str, float]:
    """GRPO on rows with a `prompt` each; other columns reach the reward. Saves model and tokenizer in `folder`.

    The model must come from a folder where `kl` is not 0: TRL reads the start policy from there again.
    """
    config = GRPOConfig(
        **_common(folder, seed),
        per_device_train_batch_size=settings.prompts * settings.group,
        num_generations=settings.group,
        max_steps=settings.steps,
        learning_rate=settings.rate,
        lr_scheduler_type="constant",
        temperature=settings.temperature,
        beta=settings.kl,
        epsilon=settings.clip,
        epsilon_high=settings.clip_high,
        max_completion_length=settings.max_tokens,
        logging_steps=1,
        save_steps=settings.save_steps,
    )
    trainer = GRPOTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(list(data)),
        reward_funcs=reward,
        processing_class=tokenizer,
        callbacks=[Figures(folder / "figures.jsonl", tell), *callbacks],
    )
    return _run(trainer, tokenizer, folder)


def _common(folder: Path, seed: int) -> dict[str, Any]:
    cpu = not torch.cuda.is_available()
    return {
        "output_dir": str(folder / "checkpoints"),
        "seed": seed,
        "data_seed": seed,
        "use_cpu": cpu,
        "bf16": not cpu,
        "gradient_checkpointing": False,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "report_to": ["tensorboard"],
        "disable_tqdm": True,
    }


def _run(trainer: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> dict[str, float]:
    """Train from the last checkpoint, or from the start, and save what comes out."""
    trainer.remove_callback(PrinterCallback)  # stdout is the command's
    done = trainer.train(resume_from_checkpoint=last_whole(Path(trainer.args.output_dir)))
    trainer.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {name: float(value) for name, value in done.metrics.items()}


def last_whole(folder: Path) -> str | None:
    """The last checkpoint that was written to its end; those after it are deleted. The trainer's state comes last."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=lambda c: int(c.name.partition("-")[2]), reverse=True):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())
        except (FileNotFoundError, ValueError):
            shutil.rmtree(checkpoint)
        else:
            return str(checkpoint)
    return None


def quiet() -> None:
    """Keep what these libraries say about themselves off the terminal; errors are raised all the same."""
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bar()
    getLogger("trl").setLevel(ERROR)  # a rollout without a verdict is counted in the figures
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|trl")
