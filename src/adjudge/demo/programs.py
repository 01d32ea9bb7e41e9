"""Small Python functions. Both answers are run on drawn inputs: the right one agrees with a reference on all of them,
the wrong one differs on at least one. All that is run is written in this file.
"""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from adjudge.demo.drafts import Draft, one_of

RUNS = 60


class Task(NamedTuple):
    """`K` in the wish and in the sources stands for a number drawn from `ks`. Sources are bodies of the function."""

    name: str
    args: str
    wish: str
    reference: Callable[..., Any]
    inputs: Callable[[Random], tuple[Any, ...]]
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    ks: tuple[int, ...] = (0,)


class Wrong(NamedTuple):
    """What a function that raises gives back: equal to nothing that a reference returns."""

    error: str


def draw(rng: Random) -> Draft:
    task = rng.choice(TASKS)
    k = rng.choice(task.ks)
    right = _source(task, rng.choice(task.right), k)
    wrong = _source(task, rng.choice(task.wrong), k)
    inputs = [task.inputs(rng) for _ in range(RUNS)]
    expected = [task.reference(*given) if task.ks == (0,) else task.reference(*given, k) for given in inputs]
    assert run(right, task.name, inputs) == expected, right
    if run(wrong, task.name, inputs) == expected:
        return draw(rng)  # the drawn inputs do not show the fault
    wish = task.wish.replace("K", str(k))
    prompt = one_of(
        rng,
        f"Write a Python function `{task.name}({task.args})` that {wish}.",
        f"In Python, define `{task.name}({task.args})`, a function that {wish}.",
        f"I need a Python function `{task.name}({task.args})`. It {wish}.",
        f"Please write `{task.name}({task.args})` in Python. The function {wish}.",
        f"How would you write `{task.name}({task.args})` in Python so that it {wish}?",
    )
    return Draft(prompt, _said(rng, right), _said(rng, wrong), f"both were run on {RUNS} inputs")


def run(source: str, name: str, inputs: list[tuple[Any, ...]]) -> list[Any]:
    """What the function gives back for each input; `Wrong` where it raises."""
    space: dict[str, Any] = {}
    exec(source, space)  # noqa: S102  # templates of this file, with a number filled in
    results: list[Any] = []
    for given in inputs:
        try:
            results.append(space[name](*(list(value) if isinstance(value, list) else value for value in given)))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            results.append(Wrong(type(error).__name__))
    return results


def _source(task: Task, body: str, k: int) -> str:
    lines = "\n".join(f"    {line}" for line in body.replace("K", str(k)).splitlines())
    return f"def {task.name}({task.args}):\n{lines}\n"


def _said(rng: Random, source: str) -> str:
    code = f"```python\n{source}```"
    return one_of(
        rng,
        code,
        f"Here is the function:\n{code}",
        f"{code}\nIt works on any input of that kind.",
        f"This does it:\n{code}",
    )


def _numbers(rng: Random) -> tuple[list[int]]:
    return ([rng.randint(-9, 9) for _ in range(rng.randint(2, 8))],)


def _words(rng: Random) -> tuple[str]:
    return (" ".join("".join(rng.choices("abcAB", k=rng.randint(1, 5))) for _ in range(rng.randint(1, 5))),)


def _text(rng: Random) -> tuple[str]:
    half = "".join(rng.choices("abAB", k=rng.randint(1, 4)))
    return (half + half[::-1].swapcase() if rng.random() < 0.5 else half + rng.choice("ab"),)


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _second(numbers: list[int]) -> int | None:
    distinct = sorted(set(numbers))
    return distinct[-2] if len(distinct) > 1 else None


def _longest(text: str) -> str:
    return max(text.split(), key=len)


def _running(numbers: list[int]) -> list[int]:
    return [max(numbers[: i + 1]) for i in range(len(numbers))]


TASKS: tuple[Task, ...] = (
    Task(
        "sum_of_multiples",
        "n",
        "returns the sum of all positive multiples of K that are not greater than n",
        lambda n, k: sum(i for i in range(1, n + 1) if i % k == 0),
        lambda rng: (rng.randint(0, 60),),
        ("return sum(range(K, n + 1, K))", "total = 0\nfor i in range(K, n + 1, K):\n    total += i\nreturn total"),
        (
            "return sum(range(K, n, K))",
            "total = 0\nfor i in range(1, n // K):\n    total += i * K\nreturn total",
            "return sum(range(1, n + 1, K))",
        ),
        (3, 4, 5, 6, 7, 8, 9),
    ),
    Task(
        "is_leap_year",
        "year",
        "tells whether a year of the Gregorian calendar is a leap year",
        _leap,
        lambda rng: (rng.choice((rng.randint(1600, 2400), 100 * rng.randint(16, 24))),),
        (
            "return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)",
            "if year % 100 == 0:\n    return year % 400 == 0\nreturn year % 4 == 0",
        ),
        (
            "return year % 4 == 0",
            "if year % 100 == 0:\n    return year % 200 == 0\nreturn year % 4 == 0",
            "return year % 4 == 0 and year % 100 != 0",
        ),
    ),
    Task(
        "second_largest",
        "numbers",
        "returns the second largest distinct number of a list, or None if there is none",
        _second,
        _numbers,
        (
            "distinct = sorted(set(numbers))\nreturn distinct[-2] if len(distinct) > 1 else None",
            "rest = [n for n in numbers if n != max(numbers)]\nreturn max(rest) if rest else None",
        ),
        (
            "ordered = sorted(numbers)\nreturn ordered[-2] if len(ordered) > 1 else None",
            "rest = [n for n in numbers if n < max(numbers)]\nreturn min(rest) if rest else None",
            "distinct = sorted(set(numbers))\nreturn distinct[1] if len(distinct) > 1 else None",
        ),
    ),
    Task(
        "is_palindrome",
        "text",
        "tells whether a text reads the same backwards, upper and lower case being equal",
        lambda text: text.lower() == text.lower()[::-1],
        _text,
        (
            "text = text.lower()\nreturn text == text[::-1]",
            "low = text.lower()\nreturn list(low) == list(reversed(low))",
        ),
        (
            "return text == text[::-1]",
            "text = text.lower()\nreturn text[0] == text[-1]",
            "low = text.lower()\nreturn sorted(low) == sorted(reversed(low))",
        ),
    ),
    Task(
        "longest_word",
        "text",
        "returns the longest word of a text, the first one if there are several",
        _longest,
        _words,
        (
            "return max(text.split(), key=len)",
            "best = ''\nfor word in text.split():\n    if len(word) > len(best):\n        best = word\nreturn best",
        ),
        (
            "return max(text.split())",
            "best = ''\nfor word in text.split():\n    if len(word) >= len(best):\n        best = word\nreturn best",
            "return sorted(text.split(), key=len)[-1]",
        ),
    ),
    Task(
        "running_maximum",
        "numbers",
        "returns, for each place of a list, the largest number up to and including that place",
        _running,
        _numbers,
        (
            "return [max(numbers[:i + 1]) for i in range(len(numbers))]",
            "found = []\nfor n in numbers:\n    found.append(n if not found else max(n, found[-1]))\nreturn found",
        ),
        (
            "return [max(numbers[i:]) for i in range(len(numbers))]",
            "best, found = 0, []\nfor n in numbers:\n    best = max(best, n)\n    found.append(best)\nreturn found",
            "return [max(a, b) for a, b in zip(numbers, numbers[1:] + [0])]",
        ),
    ),
    Task(
        "without_repeats",
        "items",
        "returns the items of a list in order, leaving out those that came before",
        lambda items: list(dict.fromkeys(items)),
        _numbers,
        (
            "return list(dict.fromkeys(items))",
            "kept = []\nfor item in items:\n    if item not in kept:\n        kept.append(item)\nreturn kept",
        ),
        (
            "return sorted(set(items))",
            "kept = []\nfor n in items:\n    if kept[-1:] != [n]:\n        kept.append(n)\nreturn kept",
            "return [n for n in items if items.count(n) == 1]",
        ),
    ),
    Task(
        "clamp",
        "x, low, high",
        "returns x, or the nearer of low and high if x lies outside of them",
        lambda x, low, high: low if x < low else high if x > high else x,
        lambda rng: (rng.randint(-9, 19), rng.randint(0, 4), rng.randint(5, 10)),
        ("return max(low, min(x, high))", "if x < low:\n    return low\nreturn high if x > high else x"),
        (
            "return min(low, max(x, high))",
            "if x < low:\n    return low\nreturn high if x < high else x",
            "return max(low, x, high)",
        ),
    ),
    Task(
        "count_above",
        "numbers",
        "returns how many numbers of a list are greater than K",
        lambda numbers, k: len([n for n in numbers if n > k]),
        _numbers,
        ("return sum(n > K for n in numbers)", "return len([n for n in numbers if n > K])"),
        ("return sum(n >= K for n in numbers)", "return len([n for n in numbers if n < K])", "return max(numbers) - K"),
        (-3, -2, -1, 1, 2, 3, 4),
    ),
    Task(
        "chunks",
        "items",
        "cuts a list into lists of K items each, the last one with what is left",
        lambda items, k: [items[i : i + k] for i in range(0, len(items), k)],
        _numbers,
        (
            "return [items[i:i + K] for i in range(0, len(items), K)]",
            "found = []\nwhile items:\n    found.append(items[:K])\n    items = items[K:]\nreturn found",
        ),
        (
            "return [items[i:i + K] for i in range(0, len(items) - K + 1, K)]",
            "found = []\nwhile len(items) >= K:\n    found.append(items[:K])\n    items = items[K:]\nreturn found",
            "return [items[i:i + K] for i in range(len(items))]",
        ),
        (2, 3, 4),
    ),
    Task(
        "digit_sum",
        "n",
        "returns the sum of the decimal digits of a whole number, its sign left aside",
        lambda n: sum(int(c) for c in str(n) if c != "-"),
        lambda rng: (rng.randint(-9999, 9999),),
        (
            "return sum(int(c) for c in str(abs(n)))",
            "n, total = abs(n), 0\nwhile n:\n    total += n % 10\n    n //= 10\nreturn total",
        ),
        (
            "return sum(int(c) for c in str(n))",
            "n, total = abs(n), 0\nwhile n > 9:\n    total += n % 10\n    n //= 10\nreturn total",
            "return abs(n) % 10 + abs(n) // 10",
        ),
    ),
    Task(
        "rotate_left",
        "items",
        "moves the first K items of a list to its end; a list that is shorter goes round more than once",
        lambda items, k: [items[(i + k) % len(items)] for i in range(len(items))],
        _numbers,
        (
            "k = K % len(items)\nreturn items[k:] + items[:k]",
            "for _ in range(K):\n    items = items[1:] + items[:1]\nreturn items",
        ),
        (
            "k = K % len(items)\nreturn items[-k:] + items[:-k]",
            "return items[K:] + items[:K]",
            "for _ in range(K):\n    items = items[-1:] + items[:-1]\nreturn items",
        ),
        (3, 5, 7, 11),
    ),
)
