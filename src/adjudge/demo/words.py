"""What the demo saw, in plain words, none of them stronger than the intervals."""

from collections.abc import Iterator

from adjudge.comparison import ArmRow, Comparison, points, times
from adjudge.metrics import Estimate

CLOSING = (
    "A model of 135 million parameters is no judge: it is here because it runs anywhere. "
    "What is real is the rest: the questions, the verdicts, the cost, the figures. Put a model of yours in its place."
)


def findings(all_orders: Comparison, verdicts_only: Comparison) -> list[str]:
    """Sentences about two arms of one comparison: as it is, and with what is no verdict left out of accuracy."""
    base, other = all_orders.arms
    lines = []
    for arm in all_orders.arms:
        lines.append(" ".join(_of_arm(arm, all_orders.alone[arm], verdicts_only.alone[arm].accuracy)))
    lines.append(" ".join(_of_cost(all_orders, base, other)))
    return [*lines, CLOSING]


def _of_arm(arm: str, row: ArmRow, accuracy: Estimate | None) -> Iterator[str]:
    missing = [
        f"{round(share * row.n_orders)} {words}"
        for share, words in (
            (row.truncated_share, "cut off by the token cap"),
            (row.unread_share, "without a verdict that can be read"),
            (row.refused_share, "refused"),
            (row.failed_share, "failed"),
        )
        if share
    ]
    yield f"{arm}: {row.n_verdicts} of {row.n_orders} questions got a verdict" + (
        f" ({', '.join(missing)})." if missing else "."
    )
    if accuracy is not None:
        coin = _against(accuracy, 0.5, "a coin does worse", "a coin does better", "a coin may do as well")
        yield f"Its verdicts are right in {_percent(accuracy)}: {coin}."
    if row.position_bias is not None and row.consistency is not None:
        bias = row.position_bias
        first = Estimate(bias.value + 0.5, bias.low + 0.5, bias.high + 0.5)
        lean = _against(
            first, 0.5, "it leans to what comes first", "it leans to what comes second", "no lean is certain"
        )
        held = round(row.consistency.value * row.n_both)
        yield (
            f"In the {row.n_both} pairs with two verdicts, {_percent(first)} went to the response shown first: {lean}. "
            f"With the order changed it held to its verdict in {held} of them."
        )


def _of_cost(comparison: Comparison, base: str, other: str) -> Iterator[str]:
    contrast = comparison.rows[0].contrasts[base, other]
    cheap, dear = (comparison.rows[0].arms[arm].output_tokens for arm in (base, other))
    if contrast.cost_ratio is not None and cheap is not None and dear is not None:
        yield f"Reasoning wrote {times(contrast.cost_ratio)} the output tokens ({cheap:.0f} -> {dear:.0f} per verdict)."
    if contrast.gain is not None:
        gain = contrast.gain
        what = {1: "it paid", -1: "it harmed", 0: "on these pairs no difference is certain"}[contrast.side]
        yield (
            f"What is no verdict counted as wrong, it changed accuracy by {points(gain.value)} points "
            f"[{points(gain.low)}, {points(gain.high)}]: {what}."
        )


def _against(estimate: Estimate, null: float, above: str, below: str, neither: str) -> str:
    return above if estimate.low > null else below if estimate.high < null else neither


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"
