"""What a comparison found, in plain words: the first thing on the page, and the last in the terminal.

It claims no more than the intervals do.
"""

from collections.abc import Mapping, Sequence

from adjudge.comparison import Comparison, Contrast
from adjudge.report import text as t
from adjudge.report.charts import shown_arms

_NAMED = 4  # names that a sentence lists before it says how many more


def finding(comparison: Comparison) -> list[str]:
    """A few sentences, the most important first."""
    if len(comparison.arms) == 1:
        return [_alone(comparison)]
    row = comparison.rows[0]
    if not row.n:
        return [
            f"No pair was judged by all {len(comparison.arms)} arms, so they cannot be set against each other: "
            "name arms that share pairs. The figures below are each arm's own."
        ]
    known = {other: contrast for (_, other), contrast in row.contrasts.items() if contrast.gain is not None}
    if not known:
        return _without_gold(comparison)
    best = max(known, key=lambda other: _value(known[other]))
    if len(comparison.arms) == 2:
        return [_gain(comparison, best), *_domains(comparison, best)]
    base = comparison.arms[0]
    lead = f"The largest gain over {base} is that of {best}. "
    if _value(known[best]) <= 0:
        lead = f"No other arm is ahead of {base}; the nearest is {best}. "
    up, down, open_ = _sides(known)
    return [
        lead + _gain(comparison, best),
        f"Against {base}, {_listed(up, known)} gain; {_listed(down, known)} lose; {len(open_)} of {len(known)} show no "
        "clear difference.",
    ]


def _alone(comparison: Comparison) -> str:
    name = comparison.arms[0]
    row = shown_arms(comparison)[name]
    right = f"is right on {t.percent_interval(row.accuracy)}" if row.accuracy else "met no gold label to be measured by"
    cost = "" if row.output_tokens is None else f", at {t.amount(row.output_tokens)} output tokens per verdict"
    return f"{name} {right}{cost}. It is the only arm here: there is nothing to set it against."


def _gain(comparison: Comparison, other: str) -> str:
    base, row = comparison.arms[0], comparison.rows[0]
    contrast = row.contrasts[base, other]
    gain = contrast.gain
    assert gain is not None, "without gold there is no gain to speak of"
    # "loses 8.3", but "gains +4.6": with a sign both would read as their opposite twice over.
    verb = f"loses {t.points(-gain.value).lstrip('+')}" if gain.value < 0 else f"gains {t.points(gain.value)}"
    rates = " against ".join(t.percent(a.accuracy) for a in (row.arms[other], row.arms[base]))
    said = (
        f"{_cost(contrast, base, other)} and {verb} points of accuracy "
        f"[{t.points(gain.low)}, {t.points(gain.high)}]: {rates}."
    )
    if not contrast.side:
        said += f" The interval includes zero: no difference is shown by {_pairs(contrast.n)}."
    return said


def _pairs(n: int) -> str:
    return f"{n:,} pair" if n == 1 else f"{n:,} pairs"


def _cost(contrast: Contrast, base: str, other: str) -> str:
    if contrast.cost_ratio is None:
        return f"{other} has no known cost beside {base}"
    return f"{other} costs {t.ratio(contrast.cost_ratio)} the output tokens of {base}"


def _domains(comparison: Comparison, other: str) -> list[str]:
    pair = comparison.arms[0], other
    known = {row.domain: row.contrasts[pair] for row in comparison.rows[1:] if row.contrasts[pair].gain is not None}
    if len(known) < 2:
        return []
    up, down, open_ = _sides(known)
    return [
        f"By {comparison.by}: it pays in {_listed(up, known)}, harms in {_listed(down, known)}, and shows no clear "
        f"difference in {len(open_)} of {len(known)}."
    ]


def _sides(known: Mapping[str, Contrast]) -> tuple[list[str], list[str], list[str]]:
    """The names that are shown to gain, largest gain first; those shown to lose, largest loss first; the rest."""
    order = sorted(known, key=lambda name: -_value(known[name]))
    up = [name for name in order if known[name].side > 0]
    down = [name for name in reversed(order) if known[name].side < 0]
    return up, down, [name for name in order if not known[name].side]


def _value(contrast: Contrast) -> float:
    assert contrast.gain is not None, "only contrasts with a gain are ranked"
    return contrast.gain.value


def _listed(names: Sequence[str], known: Mapping[str, Contrast]) -> str:
    shown = [f"{name} ({t.points(_value(known[name]))})" for name in names[:_NAMED]]
    if len(names) > _NAMED:
        shown.append(f"{len(names) - _NAMED} more")
    return ", ".join(shown) or "none"


def _without_gold(comparison: Comparison) -> list[str]:
    base = comparison.arms[0]
    said = ["No pair has a gold label, so nothing is said about accuracy: only about agreement and cost."]
    for (_, other), contrast in comparison.rows[0].contrasts.items():
        agreed = contrast.agreement
        same = (
            ""
            if agreed.share is None
            else f", and gives the same verdict on {t.percent(agreed.share)} of {agreed.n:,} pairs"
        )
        said.append(f"{_cost(contrast, base, other)}{same}.")
    return said
