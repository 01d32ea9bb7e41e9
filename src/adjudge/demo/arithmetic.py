"""Sums and short word problems, worked. The wrong answer carries one slip, computed through to its result."""

from collections.abc import Callable
from random import Random

from adjudge.demo.drafts import Draft, one_of, said

NAMES = ("Mia", "Omar", "Lena", "Tom", "Aisha", "Jon", "Priya", "Carlos")
THINGS = ("notebooks", "apples", "tickets", "mugs", "plants", "candles", "posters", "lamps")


def draw(rng: Random) -> Draft:
    return rng.choice(KINDS)(rng)


def product(rng: Random) -> Draft:
    a, b = rng.randint(12, 98), rng.choice([n for n in range(12, 50) if n % 10])
    tens, ones = b - b % 10, b % 10

    def worked(first: int, second: int, total: int) -> str:
        steps = [
            f"{a} × {b} = {a} × {tens} + {a} × {ones}",
            f"{a} × {tens} = {first}",
            f"{a} × {ones} = {second}",
            f"{first} + {second} = {total}",
        ]
        return said(rng, steps, str(total))

    first, second, slip = a * tens, a * ones, _slip(rng, 10)
    wrong = rng.choice(
        (
            (first + 10 * slip, second, first + second + 10 * slip),
            (first, second + slip, first + second + slip),
            (first, second, first + second + slip),
        )
    )
    prompt = one_of(rng, f"What is {a} × {b}?", f"Compute {a} × {b}.", f"Please work out {a} × {b}.")
    return Draft(prompt, worked(first, second, first + second), worked(*wrong), "computed")


def change(rng: Random) -> Draft:
    name, (one, other) = rng.choice(NAMES), rng.sample(THINGS, 2)
    m, p, n, q = rng.randint(2, 6), rng.randint(2, 9), rng.randint(2, 6), rng.randint(2, 9)

    def worked(first: int, second: int, paid: int, back: int) -> str:
        steps = [
            f"{m} × {p} = {first}",
            f"{n} × {q} = {second}",
            f"{first} + {second} = {paid}",
            f"{note} − {paid} = {back}",
        ]
        return said(rng, steps, f"${back}")

    first, second = m * p, n * q
    paid = first + second
    note = next(v for v in (20, 50, 100, 200) if v > paid + 12)
    slip = _slip(rng, *{p, q, 10})
    wrong = rng.choice(
        (
            (first + slip, second, paid + slip, note - paid - slip),
            (first, second + slip, paid + slip, note - paid - slip),
            (first, second, paid + slip, note - paid - slip),
            (first, second, paid, note - paid + slip),
        )
    )
    prompt = f"{name} buys {m} {one} at ${p} each and {n} {other} at ${q} each, and pays with ${note}. " + one_of(
        rng, "How much change is due?", f"How much money does {name} get back?"
    )
    return Draft(prompt, worked(first, second, paid, note - paid), worked(*wrong), "computed")


def percent(rng: Random) -> Draft:
    price, rate = 20 * rng.randint(2, 24), rng.choice((5, 10, 15, 20, 25, 30, 35, 40))
    off = price * rate // 100

    def worked(off: int, left: int) -> str:
        return said(rng, [f"{rate} % of {price} is {off}", f"{price} − {off} = {left}"], f"${left}")

    slip = _slip(rng, 2, 4, 10)
    wrong = rng.choice(((off + slip, price - off - slip), (off, price - off + slip)))
    thing = rng.choice(("jacket", "bicycle", "table", "camera", "coat", "printer"))
    prompt = f"A {thing} costs ${price} and is reduced by {rate} %. " + one_of(
        rng, "What does it cost now?", "What is the new price?"
    )
    return Draft(prompt, worked(off, price - off), worked(*wrong), "computed")


def precedence(rng: Random) -> Draft:
    a, b, c, d = rng.randint(3, 20), rng.randint(2, 9), rng.randint(3, 9), rng.randint(1, 12)
    right = said(
        rng, [f"{b} × {c} = {b * c}", f"{a} + {b * c} = {a + b * c}", _minus(a + b * c, d)], str(a + b * c - d)
    )
    left = (a + b) * c
    wrong = said(rng, [f"{a} + {b} = {a + b}", f"{a + b} × {c} = {left}", _minus(left, d)], str(left - d))
    prompt = one_of(rng, f"What is {a} + {b} × {c} − {d}?", f"Evaluate {a} + {b} × {c} − {d}.")
    return Draft(prompt, right, wrong, "computed")


def left_over(rng: Random) -> Draft:
    size, total = rng.randint(6, 19), rng.randint(90, 290)
    boxes = total // size

    def worked(boxes: int, packed: int, left: int) -> str:
        steps = [f"{boxes} full boxes hold {size} × {boxes} = {packed}", f"{total} − {packed} = {left}"]
        return said(rng, steps, str(left))

    packed, slip = size * boxes, _slip(rng, 1, 2, 10)
    wrong = rng.choice(
        (
            (boxes - 1, packed - size, total - packed + size),
            (boxes, packed - abs(slip), total - packed + abs(slip)),
            (boxes, packed, total - packed + abs(slip)),
        )
    )
    goods = rng.choice(("rolls", "eggs", "oranges", "bottles", "tiles"))
    prompt = f"{total} {goods} are packed in boxes of {size}. " + one_of(
        rng, "How many are left over when no more full box can be packed?", "How many do not fill a box?"
    )
    return Draft(prompt, worked(boxes, packed, total - packed), worked(*wrong), "computed")


def distance(rng: Random) -> Draft:
    v, s, w, t = rng.randint(4, 30), rng.randint(2, 5), rng.randint(4, 30), rng.randint(2, 5)

    def worked(first: int, second: int, total: int) -> str:
        return said(
            rng, [f"{v} × {s} = {first}", f"{w} × {t} = {second}", f"{first} + {second} = {total}"], f"{total} km"
        )

    first, second, slip = v * s, w * t, _slip(rng, v, w, 10)
    wrong = rng.choice(
        (
            (first + slip, second, first + second + slip),
            (first, second + slip, first + second + slip),
            (first, second, first + second + slip),
        )
    )
    prompt = f"{rng.choice(NAMES)} travels at {v} km/h for {s} hours and then at {w} km/h for {t} hours. " + one_of(
        rng, "How far is that in all?", "What distance is covered?"
    )
    return Draft(prompt, worked(first, second, first + second), worked(*wrong), "computed")


def _slip(rng: Random, *sizes: int) -> int:
    return rng.choice((-1, 1)) * rng.choice(sizes)


def _minus(a: int, b: int) -> str:
    return f"{a} − {b} = {a - b}"


KINDS: tuple[Callable[[Random], Draft], ...] = (product, change, percent, precedence, left_over, distance)
