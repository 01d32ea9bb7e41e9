"""A saved router as a judge of the lab: each judgment buys, under the router's budget, what that response needs."""

from pathlib import Path

import msgspec

from adjudge.config import Settings
from adjudge.errors import BudgetError, ConfigError
from adjudge.judging.run import guided
from adjudge.lab.reward.arm_judge import ArmJudge
from adjudge.routing import features
from adjudge.routing.features import Embedder
from adjudge.routing.live import Live, arm_of, check_draws
from adjudge.routing.saved import check_features, load
from adjudge.routing.steering import Paced


def routed_judge(
    folder: str | Path, settings: Settings, *, budget: float | None = None, embedder: Embedder | None = None
) -> ArmJudge:
    """The router of `adjudge route fit` in this folder, over the arms of the settings.

    `budget`: mean cost of a judgment, in mean costs of the router's first arm; left out, that of the fit. It holds over
    all judgments of the training. `embedder`: the one that the router was fitted with. Raises ConfigError, DataError
    and BudgetError where folder, arms, features or budget do not fit.
    """
    folder = Path(folder)
    saved = load(folder, arms=tuple(settings.arms))
    card, where = saved.card, str(folder)
    check_draws(card, settings, where)
    drawn = {draw is not None for _, _, draw in card.purchases}
    if card.responses and drawn != {True}:
        raise ConfigError(f"{where}: the router was fitted on verdicts that name one of n responses; fit it on ratings")
    if (embedder.name if embedder else "") != card.embedder:
        raise ConfigError(f"{where}: the router was fitted with embedder {card.embedder or 'none'!r}; give that one")
    if card.features:
        width = sum(column.startswith(f"{features.EMBEDDED}prompt:") for column in card.features)
        check_features(card, features.names(width), folder)
    asked = card.budget if budget is None else budget
    cheapest = min(rung.cost for rung in saved.router.rungs) / card.reference_cost
    if asked < cheapest * (1 - 1e-9):
        raise BudgetError(f"budget {asked:g} is below {cheapest:.3g} x {card.arms[0]}, the cheapest policy; raise it")
    arm = arm_of(f"route:{folder.resolve().name}", card, settings, asked)
    settings = msgspec.structs.replace(settings, arms=settings.arms | {arm.name: arm})
    steering = Paced(saved.router, card, asked * card.reference_cost)
    plain, with_rubric = (Live(arm, saved, s, steering, embedder=embedder) for s in (settings, guided(settings, arm)))
    return ArmJudge(
        settings,
        arm.name,
        judges={arm.name: lambda pair: (with_rubric if pair.rubric else plain).begin(pair)},
        rates=bool(card.responses),
        parts=tuple(bought for bought, _, _ in card.purchases),
    )
