"""Orderings, weekdays and number sequences. The wrong answer takes one step wrong and holds to it."""

import itertools
from collections.abc import Callable
from random import Random

from adjudge.demo.drafts import Draft, one_of, said

NAMES = ("Ann", "Bo", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SCALES = (("taller", "tallest", "shortest"), ("older", "oldest", "youngest"), ("faster", "fastest", "slowest"))


def draw(rng: Random) -> Draft:
    return rng.choice(KINDS)(rng)


def ordering(rng: Random) -> Draft:
    names, (more, most, least) = rng.sample(NAMES, 4), rng.choice(SCALES)
    facts = [f"{a} is {more} than {b}" for a, b in itertools.pairwise(names)]
    rng.shuffle(facts)
    at, asked = rng.choice(((0, most), (-1, least)))

    def worked(order: list[str]) -> str:
        chain = one_of(rng, f"from {most} to {least} they are {', '.join(order)}", f"the order is {' > '.join(order)}")
        return said(rng, [chain], order[at])

    swapped = [names[1], names[0], names[3], names[2]]
    prompt = f"{'. '.join(facts)}. Who is the {asked}?"
    return Draft(prompt, worked(names), worked(swapped), "derived")


def weekday(rng: Random) -> Draft:
    today, ahead = rng.randrange(7), rng.randint(9, 60)
    weeks, rest = divmod(ahead, 7)

    def worked(rest: int) -> str:
        day = DAYS[(today + rest) % 7]
        plural = "day" if rest == 1 else "days"
        return said(
            rng, [f"{ahead} days are {weeks} weeks and {rest} {plural}", f"{DAYS[today]} plus {rest} is {day}"], day
        )

    slip = rng.choice((-1, 1)) if rest else 1
    prompt = f"Today is {DAYS[today]}. " + one_of(
        rng, f"Which day of the week is it in {ahead} days?", f"What weekday will it be {ahead} days from now?"
    )
    return Draft(prompt, worked(rest), worked(rest + slip), "derived")


def sequence(rng: Random) -> Draft:
    start, step, factor = rng.randint(1, 12), rng.randint(3, 17), rng.choice((2, 3))
    if rng.random() < 0.5:
        terms, rule = [start + step * i for i in range(5)], f"each number is {step} more than the one before"
        slips = (1, -1, step)
    else:
        terms, rule = [start * factor**i for i in range(5)], f"each number is {factor} times the one before"
        slips = (factor, -factor, start)
    *given, right = terms
    wrong = right + rng.choice(slips)
    prompt = one_of(rng, "What number comes next: ", "Continue the sequence with one number: ") + ", ".join(
        str(n) for n in given
    )
    return Draft(prompt, said(rng, [rule], str(right)), said(rng, [rule], str(wrong)), "derived")


KINDS: tuple[Callable[[Random], Draft], ...] = (ordering, weekday, sequence)
