"""Records for tests of the page, hostile ones among them, and a reader of what a page says."""

import base64
import gzip
import json
import random
from dataclasses import dataclass, field
from html.parser import HTMLParser

from adjudge.types import Judgment, Outcome, Pair, Record
from tests.judgments import record

HOSTILE = (
    "<script>window.pwned = 1; alert(1)</script>",
    "<img src=x onerror='window.pwned = 2'>",
    "</textarea></script><svg onload=alert(3)>",
    '"><iframe src=javascript:alert(4)>',
    "<a href='javascript:alert(5)'>click</a>",
    "{{ 7 * 7 }} <!-- ${alert(6)} ]]> &lt;b&gt;",
)
HIDING = "left\u202eright\u2066in\u2069 zero\u200bwidth bell\x07 escape\x1b[31m tag\U000e0041 مرحبا שלום 👩‍👩‍👧"
EVALUATOR = "<u>judge</u>\u202e"
ARMS = ("instruct", "reasoning")
DOMAINS = ("chat", "code/with a/long name", "math", "<b>one only</b>")
_NO_VERDICT = (Outcome.UNREAD, Outcome.TRUNCATED, Outcome.REFUSED, Outcome.FAILED)


def plain_records() -> list[Record]:
    """Two arms, two domains, counted by hand: reasoning is right 5 times of 6, instruct 3 times of 6."""
    spoken = [
        ("A", "math", "AA", "AA"),
        ("A", "math", "BB", "AA"),
        ("B", "math", "AB", "BB"),
        ("B", "chat", "BB", "BB"),
    ]
    spoken += [("A", "chat", "A=", "A?"), ("B", "chat", "?t", "AA")]
    return [
        record(
            i,
            gold,
            domain,
            instruct=_judgment("instruct", one, 4),
            reasoning=_judgment("reasoning", two, 100),
        )
        for i, (gold, domain, one, two) in enumerate(spoken)
    ]


def _judgment(arm: str, orders: str, tokens: float) -> Judgment:
    made = record(0, None, x=orders).judgments["x"]
    return Judgment(arm=arm, ab=made.ab, ba=made.ba, output_tokens=tokens)


def hostile_records(count: int = 120, arms: tuple[str, ...] = ARMS, seed: int = 0) -> list[Record]:
    """Random outcomes of every kind; texts that attack the page; ids, domains and evaluator that do so too."""
    rng = random.Random(seed)
    made = []
    for i in range(count):
        domain = DOMAINS[3] if i == 0 else rng.choice(DOMAINS[:3])
        gold = rng.choice("AB")
        attack = HOSTILE[i % len(HOSTILE)]
        pair = Pair(
            id=f"<i>{i}</i>",
            prompt=f"{attack} question {i} {HIDING}",
            response_a=f"{attack} " + "w" * 400,
            response_b=HIDING,
            gold=rng.choice([gold, gold, gold, None]) if i else gold,
            domain=domain,
            rubric="Be <b>fair</b>.",
        )
        judgments = {arm: _random_judgment(rng, arm, gold, attack, i) for arm in arms if rng.random() < 0.95 or not i}
        made.append(Record(pair=pair, evaluator=EVALUATOR, judgments=judgments))
    return made


def _random_judgment(rng: random.Random, arm: str, gold: str, attack: str, number: int) -> Judgment:
    other = "B" if gold == "A" else "A"
    kinds = [Outcome(gold), Outcome(other), Outcome.TIE, *_NO_VERDICT]
    ab, ba = rng.choices(kinds, [8, 4, 2, 1, 1, 1, 1], k=2)
    return Judgment(
        arm=arm,
        ab=ab,
        ba=rng.choice([ba, ba, ba, None]),
        p_a=0.25,
        output_tokens=rng.uniform(1, 500),
        prompt_tokens=321,
        cost_usd=0.00125,
        completion_ab=f"{attack} [[{gold}]]",
        completion_ba="needle" if number % 7 == 0 else "hay",
        reasoning_ab=f"thinking about {number} {attack}",
        scores=((7.0, 8.5), (5.0,)),
        error="<b>no</b>" if ab is Outcome.FAILED else None,
    )


_VOID = {"meta", "link", "input", "br", "hr", "img"}


@dataclass
class Page(HTMLParser):
    """What a browser without script would see: elements with their attributes, tables, text and data blocks."""

    source: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    tables: list[tuple[str, list[list[str]]]] = field(default_factory=list)
    text: str = ""
    scripts: list[tuple[dict[str, str], str]] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.elements.append((tag, values))
        if tag in _VOID:
            return
        self.unclosed.append(tag)
        if tag == "div" and values.get("role") == "region":
            self.tables.append((values["aria-label"], []))
        if tag == "tr":
            self.tables[-1][1].append([])
        if tag in ("th", "td"):
            self.tables[-1][1][-1].append("")
        if tag == "script":
            self.scripts.append((values, ""))

    def handle_endtag(self, tag):
        assert self.unclosed and self.unclosed[-1] == tag, f"</{tag}> closes {self.unclosed[-3:]}"
        self.unclosed.pop()

    def handle_data(self, data):
        if "script" in self.unclosed:
            values, content = self.scripts[-1]
            self.scripts[-1] = values, content + data
        elif "style" in self.unclosed:
            self.styles.append(data)
        else:
            self.text += data
            if self.unclosed and {"th", "td"} & set(self.unclosed[-3:]):
                self.tables[-1][1][-1][-1] += data

    def table(self, label: str) -> dict[str, dict[str, str]]:
        """A table by its label: row name -> heading -> cell."""
        rows = next(rows for name, rows in self.tables if label in name)
        return {cells[0]: dict(zip(rows[0], cells, strict=True)) for cells in rows[1:]}

    @property
    def index(self) -> dict:
        return json.loads(next(content for values, content in self.scripts if values.get("id") == "index"))

    @property
    def chunks(self) -> list[list[dict]]:
        packed = [content for values, content in self.scripts if values.get("class") == "chunk"]
        return [json.loads(gzip.decompress(base64.b64decode(chunk))) for chunk in packed]
