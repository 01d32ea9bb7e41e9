"""Numbers and foreign words as they stand on the page. Shares come in as fractions and go out as percent or points."""

import unicodedata

from adjudge.metrics import Estimate

MISSING = "–"
_NBSP = "\N{NO-BREAK SPACE}"  # between a number and its unit
_MINUS = "−"
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
# Letters and marks by their category, nothing to the eye: Hangul fillers, supplementary variation selectors.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0").union(map(chr, range(0xE0100, 0xE01F0)))
_TYPED = str.maketrans({_NBSP: " ", _MINUS: "-", "×": "x", MISSING: "-"})
_KEPT = frozenset("\n\t")


def visible(text: str) -> str:
    """The text with every character that hides, reorders or controls written out: what is seen is what is there.

    >>> visible("Co\\u202eT")
    'Co[U+202E]T'
    """
    if text.isprintable() and not _BLANK.intersection(text):
        return text
    return "".join(f"[U+{ord(c):04X}]" if _hides(c) else c for c in text)


def _hides(char: str) -> bool:
    return char not in _KEPT and (unicodedata.category(char) in _INVISIBLE or char in _BLANK)


def typed(text: str) -> str:
    """The same words in the characters of a keyboard, for a terminal.

    >>> typed(f"costs {ratio(2.0)} and loses {points(-0.05)}")
    'costs 2.00 x and loses -5.0'
    """
    return text.translate(_TYPED)


def percent(share: float | Estimate | None, digits: int = 1) -> str:
    """
    >>> percent(0.4321), percent(None)
    ('43.2\\xa0%', '–')
    """
    share = share.value if isinstance(share, Estimate) else share
    return MISSING if share is None else f"{100 * share:.{digits}f}{_NBSP}%"


def points(gain: float | None) -> str:
    """A difference of shares in percentage points, with its sign.

    >>> points(0.046), points(-0.0701), points(0.0)
    ('+4.6', '−7.0', '0.0')
    """
    if gain is None:
        return MISSING
    text = f"{100 * gain:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", _MINUS)


def points_interval(gain: Estimate | None) -> str:
    """
    >>> points_interval(Estimate(0.046, 0.01, 0.08))
    '+4.6 [+1.0, +8.0]'
    """
    return MISSING if gain is None else f"{points(gain.value)} [{points(gain.low)}, {points(gain.high)}]"


def percent_interval(share: Estimate | None) -> str:
    """
    >>> percent_interval(Estimate(0.5, 0.4, 0.6))
    '50.0\\xa0% [40.0, 60.0]'
    """
    return MISSING if share is None else f"{percent(share.value)} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def amount(value: float | None) -> str:
    """A count or a mean of tokens: one decimal below 1,000, none above.

    >>> amount(4), amount(152.27), amount(4282.8), amount(None)
    ('4.0', '152.3', '4,283', '–')
    """
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value >= 999.95 else f"{value:.1f}"


def dollars(value: float | None) -> str:
    """
    >>> dollars(0.00042), dollars(1.5)
    ('$0.00042', '$1.50')
    """
    if value is None:
        return MISSING
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${float(f'{value:.3g}'):.6f}".rstrip("0")


def ratio(value: float | None) -> str:
    """
    >>> ratio(42.6), ratio(1.041), ratio(0.73), ratio(1234.0)
    ('42.6\\xa0×', '1.04\\xa0×', '0.73\\xa0×', '1,234\\xa0×')
    """
    if value is None:
        return MISSING
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}{_NBSP}×"


def p_value(p: float | None) -> str:
    """
    >>> p_value(0.0386), p_value(1e-9), p_value(1.0)
    ('0.039', '< 0.001', '1.000')
    """
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


def plain(value: float | None) -> str:
    """A coefficient.

    >>> plain(0.459), plain(-0.2)
    ('0.46', '−0.20')
    """
    return MISSING if value is None else f"{value:.2f}".replace("-", _MINUS)


def whole_points(gain: float) -> str:
    """A tick of an axis in percentage points.

    >>> whole_points(0.05), whole_points(-0.1), whole_points(0.0)
    ('+5', '−10', '0')
    """
    return points(gain).removesuffix(".0")
