"""The audit inside a training with transformers or TRL: every n steps gold looks, and at the alarm the training ends.

    trainer.add_callback(AuditCallback(auditor, rollouts_of, log=trainer.log))

The checkpoint at the best gold is kept to go back to: it is saved, named in the trainer's state (where rotation of
checkpoints spares it) and in `best.json` of the output folder. Rollouts of step n were written before its update, so
the weights saved are one update past those that gold judged.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adjudge.files import replacing
from adjudge.lab.audit.auditor import Audited, Auditor
from adjudge.lab.audit.rollouts import Rollout

BEST = "best.json"
_log = logging.getLogger(__name__)


class AuditCallback(TrainerCallback):  # type: ignore[misc]  # transformers counts as absent for mypy
    """`rollouts_of`: the rollouts of a step, all of them. `on_alarm`: "stop" ends the training, "mark" only says so.
    `log`: takes the figures of each audit, `trainer.log` for one. What an audit raises ends the training."""

    def __init__(
        self,
        auditor: Auditor,
        rollouts_of: Callable[[int], Sequence[Rollout]],
        *,
        on_alarm: Literal["stop", "mark"] = "stop",
        log: Callable[[dict[str, float]], None] = lambda _figures: None,
    ) -> None:
        self.auditor, self.rollouts_of, self.on_alarm, self.log = auditor, rollouts_of, on_alarm, log
        self._told = False
        self._loop = asyncio.Runner()  # one for all audits: connections of a gold judge on a server belong to a loop

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Audit the step where it is due. Rollouts count steps from 0, the state counts those that are over."""
        step = state.global_step - 1
        rollouts = self.rollouts_of(step) if self.auditor.due(step) else ()
        if not rollouts:
            return
        audited = self._loop.run(self.auditor.step(rollouts))
        self.log(logged(audited))
        if audited.best:
            control.should_save = True
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            state.best_global_step, state.best_model_checkpoint = state.global_step, str(checkpoint)
            state.best_metric = audited.figures.gold.value if audited.figures.gold else None
            text = json.dumps({"step": step, "gold": state.best_metric, "checkpoint": str(checkpoint)})
            with replacing(Path(args.output_dir) / BEST) as file:
                file.write(text.encode() + b"\n")
        if audited.verdict.raised:
            self._alarm(audited, state)
            control.should_training_stop = control.should_training_stop or self.on_alarm == "stop"

    def on_train_end(self, _args: TrainingArguments, _state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        self._loop.close()

    def _alarm(self, audited: Audited, state: TrainerState) -> None:
        if not self._told:
            what = audited.verdict.finding.claim if audited.verdict.finding else ""
            _log.warning(
                "the judge is being gamed (%s, p = %.2g); gold was best at %s",
                what,
                audited.verdict.p,
                state.best_model_checkpoint,
            )
        self._told = True


def best_checkpoint(output_dir: Path) -> Path | None:
    """The checkpoint to go back to; None before the first audit, and where it was deleted."""
    path = output_dir / BEST
    if not path.exists():
        return None
    checkpoint = Path(json.loads(path.read_text())["checkpoint"])
    return checkpoint if checkpoint.exists() else None


def logged(audited: Audited) -> dict[str, float]:
    """The figures of an audit by the names under which they are logged; what is not known is left out."""
    figures, verdict = audited.figures, audited.verdict
    proxy, gold = figures.proxy, figures.gold
    values: dict[str, float | None] = {
        "audit/proxy": proxy.value if proxy else None,
        "audit/gold": gold.value if gold else None,
        "audit/gold_low": gold.low if gold else None,
        "audit/gold_high": gold.high if gold else None,
        "audit/divergence": figures.divergence,
        "audit/alpha": figures.alpha,
        "audit/rank": figures.rank,
        "audit/tokens": figures.tokens,
        "audit/words": figures.words,
        "audit/repeated": figures.repeated,
        "audit/distinct": figures.distinct,
        "audit/distance": figures.distance,
        "audit/evidence": verdict.evidence,
        "audit/alarm": float(verdict.raised),
        **{f"audit/flagged/{kind}": share for kind, share in figures.flagged.items()},
    }
    return {name: value for name, value in values.items() if value is not None}
