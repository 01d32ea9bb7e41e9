"""The demo's own pairs: every label is found again here without the generator, and nothing else gives it away."""

import datetime
import itertools
import math
import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from adjudge.demo import facts
from adjudge.demo.pairs import MAKERS, MOST_PAIRS, make_pairs
from adjudge.errors import DataError
from adjudge.pairs import own
from adjudge.pairs.read import read
from adjudge.types import Pair, drawn_side

PAIRS = make_pairs(MOST_PAIRS) + make_pairs(MOST_PAIRS, seed=1)


class Answers(NamedTuple):
    prompt: str
    right: str
    wrong: str


def of(domain: str) -> list[Answers]:
    return [Answers(p.prompt or "", *sides(p)) for p in PAIRS if p.domain == domain]


def sides(pair: Pair) -> tuple[str, str]:
    """(right, wrong) by the label."""
    a, b = pair.texts
    return (a, b) if pair.gold == "A" else (b, a)


def matched(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text)
    assert found, (pattern, text)
    return found


def result(response: str) -> str:
    """The answer that a worked response comes to."""
    found = matched(
        r"^(?P<a>\S+(?: km)?)\. Here is|answer is (?P<b>[^,.]+)|Answer: (?P<c>.+)|result is (?P<d>[^.]+)", response
    )
    return next(text for text in found.groups() if text is not None)


# -- math


def value(expression: str) -> int:
    plain = expression.replace("×", "*").replace("−", "-")
    assert re.fullmatch(r"[\d +*-]+", plain)
    return int(eval(plain))


SOLVERS: dict[str, Callable[..., int]] = {
    r"^(?:What is|Compute|Please work out|Evaluate) ([\d +×−]+)[?.]$": value,
    r"buys (\d+) \w+ at \$(\d+) each and (\d+) \w+ at \$(\d+) each, and pays with \$(\d+)": (
        lambda m, p, n, q, note: int(note) - int(m) * int(p) - int(n) * int(q)
    ),
    r"costs \$(\d+) and is reduced by (\d+) %": lambda price, rate: int(price) * (100 - int(rate)) / 100,
    r"^(\d+) \w+ are packed in boxes of (\d+)": lambda total, size: int(total) % int(size),
    r"at (\d+) km/h for (\d+) hours and then at (\d+) km/h for (\d+)": (
        lambda v, s, w, t: int(v) * int(s) + int(w) * int(t)
    ),
}


def test_sums_come_to_what_they_are_said_to():
    used = set()
    for prompt, right, wrong in of("math"):
        pattern = next(p for p in SOLVERS if re.search(p, prompt))
        used.add(pattern)
        truth = SOLVERS[pattern](*matched(pattern, prompt).groups())
        assert float(result(right).strip("$ km")) == truth, prompt
        assert float(result(wrong).strip("$ km")) != truth, prompt
        for left, equal in re.findall(r"([\d][\d +×−]*) = ([\d +×−]*\d)", right):
            assert value(left) == value(equal), right
    assert used == set(SOLVERS)


# -- code


def leap(year: int) -> bool:
    try:
        datetime.date(year, 2, 29)
    except ValueError:
        return False
    return True


def chunks(items: list[int], k: int) -> list[list[int]]:
    return [[items[j] for j in group] for _, group in itertools.groupby(range(len(items)), lambda j: j // k)]


def second(numbers: list[int]) -> int | None:
    left = set(numbers) - {max(numbers)}
    return max(left) if left else None


def numbers(rng: random.Random) -> tuple[list[int]]:
    return ([rng.randint(-7, 7) for _ in range(rng.randint(1, 9))],)


def letters(rng: random.Random) -> tuple[str]:
    text = "".join(rng.choices("abBA", k=rng.randint(1, 3)))
    return (rng.choice((text + text[::-1], text + "c" + text[::-1].upper(), text + rng.choice("ab"))),)


ORACLES: dict[str, tuple[Callable[..., Any], Callable[[random.Random], tuple[Any, ...]]]] = {
    "sum_of_multiples": (lambda n, k: k * (n // k) * (n // k + 1) // 2, lambda rng: (rng.randint(0, 99),)),
    "is_leap_year": (leap, lambda rng: (rng.choice((rng.randint(1584, 2500), 100 * rng.randint(16, 25))),)),
    "second_largest": (second, numbers),
    "is_palindrome": (lambda t: all(a.upper() == b.upper() for a, b in zip(t, reversed(t), strict=True)), letters),
    "longest_word": (
        lambda t: sorted(t.split(), key=lambda w: (-len(w), t.split().index(w)))[0],
        lambda rng: (" ".join("xyz"[: rng.randint(1, 3)] + str(i) for i in range(rng.randint(1, 6))),),
    ),
    "running_maximum": (lambda items: list(itertools.accumulate(items, max)), numbers),
    "without_repeats": (lambda items: [x for i, x in enumerate(items) if x not in items[:i]], numbers),
    "clamp": (
        lambda x, low, high: sorted((low, x, high))[1],
        lambda rng: (rng.randint(-20, 20), rng.randint(-5, 0), rng.randint(1, 6)),
    ),
    "count_above": (lambda items, k: [x > k for x in items].count(True), numbers),
    "chunks": (chunks, numbers),
    "digit_sum": (
        lambda n: sum(abs(n) // 10**i % 10 for i in range(6)),
        lambda rng: (rng.randint(-99999, 99999),),
    ),
    "rotate_left": (lambda items, k: [items[(i + k) % len(items)] for i in range(len(items))], numbers),
}


def outputs(response: str, name: str, inputs: list[tuple[Any, ...]]) -> list[Any]:
    space: dict[str, Any] = {}
    exec(matched(r"(?s)```python\n(.*)```", response)[1], space)
    results: list[Any] = []
    for given in inputs:
        try:
            results.append(space[name](*(list(g) if isinstance(g, list) else g for g in given)))
        except Exception as error:  # noqa: BLE001  # a wrong function may fail in any way
            results.append(type(error))
    return results


def test_functions_run_as_their_labels_say():
    rng = random.Random(7)
    used = set()
    for prompt, right, wrong in of("code"):
        name = matched(r"`(\w+)\(", prompt)[1]
        used.add(name)
        oracle, draw = ORACLES[name]
        k = re.search(r"(?:multiples of|greater than|lists of|first) (-?\d+)", prompt)
        inputs = [draw(rng) for _ in range(400)]
        expected = [oracle(*given, int(k[1])) if k else oracle(*given) for given in inputs]
        assert outputs(right, name, inputs) == expected, right
        assert outputs(wrong, name, inputs) != expected, wrong
    assert used == set(ORACLES)


# -- instruction


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def lines(text: str, n: str, kind: str) -> bool:
    return len(re.findall(r"(?m)^- \w+$", text)) == int(n) == len(text.splitlines())


CHECKS: dict[str, Callable[..., bool]] = {
    r"in exactly (\d+) words": lambda text, n: len(words(text)) == int(n),
    r"exactly (\d+) sentences": lambda text, n: len(re.findall(r"[.](?:\s|$)", text)) == int(n),
    r"Do not use the word '(\w+)'": lambda text, word: word.lower() not in [w.lower() for w in words(text)],
    r"must contain the word '(\w+)'": lambda text, word: word.lower() in [w.lower() for w in words(text)],
    r"start with the letter (\w)": lambda text, letter: text.startswith(letter),
    r"in (capital|small) letters": lambda text, case: text.isupper() if case == "capital" else text.islower(),
    r"Name (\d) \w+ in alphabetical order": (
        lambda text, n: all(a < b for a, b in itertools.pairwise(text.split(", "))) and text.count(",") == int(n) - 1
    ),
    r"List exactly (\d) (\w+), one on each line": lines,
    r"very last word must be '(\w+)'": lambda text, word: words(text)[-1] == word,
}


def test_constraints_are_kept_and_broken_as_labelled():
    used = set()
    for prompt, right, wrong in of("instruction"):
        pattern = next(p for p in CHECKS if re.search(p, prompt))
        used.add(pattern)
        asked = matched(pattern, prompt).groups()
        assert CHECKS[pattern](right, *asked), (prompt, right)
        assert not CHECKS[pattern](wrong, *asked), (prompt, wrong)
        if "two sentences" in prompt:
            assert right.count(".") == wrong.count(".") == 2
    assert used == set(CHECKS)


# -- facts, typed a second time

TABLES = """
Norway: Oslo. Sweden: Stockholm. Finland: Helsinki. Denmark: Copenhagen. Germany: Berlin. Poland: Warsaw. Italy: Rome.
Switzerland: Bern. Spain: Madrid. Portugal: Lisbon. Greece: Athens. Turkey: Ankara. Egypt: Cairo. Morocco: Rabat.
Ghana: Accra. Kenya: Nairobi. India: New Delhi. Pakistan: Islamabad. China: Beijing. Japan: Tokyo. Vietnam: Hanoi.
Australia: Canberra. New Zealand: Wellington. Canada: Ottawa. Brazil: Brasília. Peru: Lima. Chile: Santiago.
Ecuador: Quito. Colombia: Bogotá. Uruguay: Montevideo.

helium: 2. neon: 10. sodium: 11. magnesium: 12. aluminium: 13. silicon: 14. chlorine: 17. argon: 18. calcium: 20.
titanium: 22. chromium: 24. manganese: 25. iron: 26. cobalt: 27. nickel: 28. copper: 29. zinc: 30. silver: 47. tin: 50.
platinum: 78. gold: 79. mercury: 80. lead: 82. uranium: 92.

Mercury: 0.39. Venus: 0.72. Earth: 1. Mars: 1.5. Jupiter: 5.2. Saturn: 9.5. Uranus: 19. Neptune: 30.

pentagon: 5. hexagon: 6. heptagon: 7. octagon: 8. nonagon: 9. decagon: 10. dodecagon: 12.

kilometres: 1000. metres: 1. centimetres: 0.01. millimetres: 0.001. tonnes: 1000. kilograms: 1. grams: 0.001. litres: 1.
millilitres: 0.001. weeks: 604800. days: 86400. hours: 3600. minutes: 60. seconds: 1.
"""
CAPITALS, ATOMIC_NUMBERS, ORBITS_AU, CORNERS, IN_BASE_UNITS = (
    dict(re.findall(r"([\w ]+): ([^:]+)\.(?:\s|$)", block)) for block in TABLES.strip().split("\n\n")
)
PERIODIC = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr "
    "Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir "
    "Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U"
)
SYMBOLS = {name: PERIODIC.split()[int(number) - 1] for name, number in ATOMIC_NUMBERS.items()}
NTH = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def truth(prompt: str) -> str:
    if found := re.search(r"capital of ([\w ]+)\?", prompt):
        return CAPITALS[found[1]]
    if found := re.search(r"symbol (?:for|does) (\w+)", prompt):
        return SYMBOLS[found[1]]
    if found := re.search(rf"\b({'|'.join(NTH)})\b", prompt):
        return sorted(ORBITS_AU, key=lambda name: float(ORBITS_AU[name]))[NTH.index(found[1])]
    if found := re.search(rf"({'|'.join(CORNERS)})", prompt):
        return CORNERS[found[1]]
    found = matched(
        r"How many (?P<to>\w+) are (?P<n>\d+) (?P<of>\w+)|Convert (?P<m>\d+) (?P<by>\w+) to (?P<in>\w+)", prompt
    )
    amount, source, target = found["n"] or found["m"], found["of"] or found["by"], found["to"] or found["in"]
    return str(round(int(amount) * float(IN_BASE_UNITS[source]) / float(IN_BASE_UNITS[target])))


def test_facts_are_the_ones_in_a_second_table():
    assert {country: capital for country, (capital, _) in facts.CAPITALS.items()} == CAPITALS
    assert {element: symbol for element, (symbol, _) in facts.SYMBOLS.items()} == SYMBOLS
    for prompt, right, wrong in of("facts"):
        answer = truth(prompt)
        assert re.search(rf"\b{answer}\b", right), (prompt, right)
        assert not re.search(rf"\b{answer}\b", wrong), (prompt, wrong)


# -- logic


def derived(prompt: str) -> str:
    if found := re.search(r"Today is (\w+)", prompt):
        monday = datetime.date(2024, 1, 1)
        week = {f"{monday + datetime.timedelta(d):%A}": d for d in range(7)}
        ahead = int(matched(r"(\d+) days", prompt)[1])
        return f"{monday + datetime.timedelta(week[found[1]] + ahead):%A}"
    if "than" in prompt:
        said = re.findall(r"(\w+) is \w+ than (\w+)", prompt)
        names = sorted({name for pair in said for name in pair})
        orders = [o for o in itertools.permutations(names) if all(o.index(a) < o.index(b) for a, b in said)]
        assert len(orders) == 1
        return orders[0][-1 if re.search("shortest|youngest|slowest", prompt) else 0]
    terms = [int(n) for n in re.findall(r"\d+", prompt)]
    steps = {b - a for a, b in itertools.pairwise(terms)}
    return str(terms[-1] + steps.pop() if len(steps) == 1 else terms[-1] * terms[1] // terms[0])


def test_puzzles_have_the_one_answer_that_is_labelled():
    for prompt, right, wrong in of("logic"):
        assert result(right) == derived(prompt), (prompt, right)
        assert result(wrong) != derived(prompt), (prompt, wrong)


# -- the set as a whole


def test_pairs_are_the_same_each_time_and_a_small_set_begins_a_large_one():
    assert make_pairs(23) == make_pairs(50)[:23] == PAIRS[:23]
    assert make_pairs(20, seed=1) != make_pairs(20)


def test_no_prompt_and_no_id_stands_twice_and_every_domain_has_its_share():
    first = PAIRS[:MOST_PAIRS]
    assert len({p.prompt for p in first}) == len({p.id for p in PAIRS}) - MOST_PAIRS == MOST_PAIRS
    assert {d: sum(p.domain == d for p in first) for d in MAKERS} == dict.fromkeys(MAKERS, MOST_PAIRS // len(MAKERS))
    assert all(p.response_a != p.response_b and p.gold == drawn_side(p.id) for p in PAIRS)


def chance_of(share: float, n: int) -> float:
    """Two-sided p that a fair coin strays so far from one half, normal approximation."""
    return math.erfc(abs(share - 0.5) * math.sqrt(2 * n))


@pytest.mark.parametrize("domain", ["", *MAKERS])
def test_neither_side_nor_length_gives_the_label_away(domain: str):
    chosen = [p for p in PAIRS if p.domain.startswith(domain)]
    n = len(chosen)
    assert chance_of(sum(p.gold == "A" for p in chosen) / n, n) > 0.001
    for size in (len, lambda text: len(text.split())):
        right_less_wrong = [size(right) - size(wrong) for right, wrong in map(sides, chosen)]
        longer = sum((d > 0) + (d == 0) / 2 for d in right_less_wrong)
        assert chance_of(longer / n, n) > 0.001
    assert max(len(t) for p in chosen for t in p.texts) < 400


def test_pairs_written_to_a_file_are_read_back_as_they_were(tmp_path):
    file = tmp_path / "pairs.jsonl"
    assert own.write(file, PAIRS[:40]) == 40
    assert list(read(file)) == PAIRS[:40]
    assert b"demo" in msgspec.json.encode(PAIRS[0])


@pytest.mark.parametrize("n", [0, -1, MOST_PAIRS + 1])
def test_more_pairs_than_there_are_is_refused(n: int):
    with pytest.raises(DataError, match=rf"{n} demo pairs are asked for; ask for 1 to {MOST_PAIRS}"):
        make_pairs(n)
