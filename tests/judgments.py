"""Records made by hand for tests of what comes after judging."""

from adjudge.types import Judgment, Outcome, Pair, Record

LETTERS = {"A": Outcome.A, "B": Outcome.B, "=": Outcome.TIE, "?": Outcome.UNREAD, "t": Outcome.TRUNCATED}
LETTERS |= {"r": Outcome.REFUSED, "f": Outcome.FAILED, ".": None}


def judgment(arm: str, orders: str, **fields) -> Judgment:
    """`orders` is what was said when a, then when b, was shown first: "A=" is a verdict for a, then a tie."""
    ab, ba = orders
    return Judgment(arm=arm, ab=LETTERS[ab], ba=LETTERS[ba], **fields)


def record(number: int, gold: str | None, domain: str = "d", evaluator: str = "judge", **arms) -> Record:
    """`arms`: name -> orders as in `judgment`, or a Judgment."""
    judgments = {name: judgment(name, arm) if isinstance(arm, str) else arm for name, arm in arms.items()}
    pair = Pair(id=f"p{number}", gold=gold, domain=domain)
    return Record(pair=pair, evaluator=evaluator, judgments=judgments)
