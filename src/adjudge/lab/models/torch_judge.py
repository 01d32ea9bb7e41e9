"""A judge whose model runs in this process: the trained judges of the lab, with nothing to serve.

Direct mode is one forward pass: the expected score, sum x p(x) over the ten score tokens, " 0" to " 9", or the digits
after a space where a tokenizer keeps them apart. With reasoning the trace is generated first, greedily, and the
expected score is read where the score stands; a trace that does not come to one within the cap is `truncated`, one that
ends without a score is `unread`.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adjudge.errors import ConfigError
from adjudge.lab.scoring import TOP, Asked, Score
from adjudge.lab.world.wording import Mode, judge_prompt, read_score
from adjudge.types import Usage

BATCH = 64


class TorchJudge:
    """`mode`: as the model was trained. Two at once wait for each other: the model is one."""

    def __init__(self, folder: Path, mode: Mode, *, name: str = "", max_tokens: int = 200, batch: int = BATCH) -> None:
        self.name, self.mode, self.max_tokens, self.batch = name or folder.name, mode, max_tokens, batch
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder)
        self.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        ids = [self.tokenizer.encode(f" {score}", add_special_tokens=False) for score in range(TOP + 1)]
        if any(one[:-1] != ids[0][:-1] for one in ids) or len({one[-1] for one in ids}) <= TOP:
            raise ConfigError(f"{folder}: the tokenizer's scores 0 to {TOP} do not differ in their last token alone")
        self.score_ids = torch.tensor([one[-1] for one in ids])
        self.lead_ids = ids[0][:-1]  # before each score: the space, where a tokenizer keeps digits apart
        self._alone = asyncio.Lock()

    async def score(self, asked: Sequence[Asked]) -> list[Score]:
        found: list[Score] = []
        for start in range(0, len(asked), self.batch):
            async with self._alone:
                found += await asyncio.to_thread(self.score_now, asked[start : start + self.batch])
        return found

    @torch.inference_mode()  # type: ignore[untyped-decorator]  # torch counts as absent for mypy
    def score_now(self, asked: Sequence[Asked]) -> list[Score]:
        """The same, in this thread; one batch."""
        prompts = [judge_prompt(one.prompt, one.response, self.mode, one.rubric) for one in asked]
        given = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        given = given.to(self.model.device)
        lengths = given["attention_mask"].sum(dim=1).tolist()
        if self.mode == "direct":
            logits, led = self._at_score(given)
            return [self._direct(logits[k], int(lengths[k]), led[k]) for k in range(len(asked))]
        made = self.model.generate(
            **given, max_new_tokens=self.max_tokens, do_sample=False, return_dict_in_generate=True, output_logits=True
        )
        written = made.sequences[:, given["input_ids"].shape[1] :]
        logits = torch.stack(made.logits, dim=1)
        return [self._reasoned(written[k], logits[k], int(lengths[k])) for k in range(len(asked))]

    def _at_score(self, given: Any) -> tuple[torch.Tensor, list[bool]]:
        """Logits where the score's token stands, and whether the model would have written the lead before it."""
        lead = torch.tensor(self.lead_ids, device=self.model.device, dtype=torch.long)
        rows = given["input_ids"].shape[0]
        ids = torch.cat([given["input_ids"], lead.expand(rows, -1)], dim=1)
        mask = torch.cat([given["attention_mask"], torch.ones_like(lead).expand(rows, -1)], dim=1)
        logits = self.model(input_ids=ids, attention_mask=mask, logits_to_keep=1 + len(lead)).logits
        return logits[:, -1], (logits[:, :-1].argmax(dim=-1) == lead).all(dim=1).tolist()

    def _direct(self, logits: torch.Tensor, prompt_tokens: int, led: bool = True) -> Score:
        usage = Usage(prompt_tokens=prompt_tokens, output_tokens=1 + len(self.lead_ids))
        token = int(logits.argmax())
        text = self.tokenizer.decode([*self.lead_ids, token])
        if not led or token not in self.score_ids:
            return Score(None, why="unread", text=text if led else "", usage=usage)
        return Score(self._expected(logits), text=text, usage=usage)

    def _reasoned(self, ids: torch.Tensor, logits: torch.Tensor, prompt_tokens: int) -> Score:
        end = (ids == self.tokenizer.eos_token_id).nonzero()
        length = int(end[0]) if len(end) else len(ids)
        text = self.tokenizer.decode(ids[:length])
        usage = Usage(prompt_tokens=prompt_tokens, output_tokens=length + bool(len(end)), reasoning_tokens=length)
        if not len(end):
            return Score(None, why="truncated", text=text, usage=usage)
        last = int(ids[length - 1]) if length else -1
        lead = ids[max(0, length - 1 - len(self.lead_ids)) : length - 1].tolist()
        if last not in self.score_ids or lead != self.lead_ids or read_score(text, self.mode) is None:
            return Score(None, why="unread", text=text, usage=usage)
        return Score(self._expected(logits[length - 1]), text=text, usage=usage)

    def _expected(self, logits: torch.Tensor) -> float:
        p = torch.softmax(logits[self.score_ids].double(), dim=-1)
        return float(p @ torch.arange(TOP + 1, dtype=torch.float64))
