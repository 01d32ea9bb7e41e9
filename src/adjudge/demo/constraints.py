"""Short texts under a constraint that a program checks. Both answers are drawn from the same sentences and lists; the
right one passes the check, the wrong one does not.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from adjudge.demo.drafts import Draft

Check = Callable[[str], bool]

SENTENCES = {
    "the sea": (
        "The sea covers most of our planet.",
        "Waves carry the energy of distant storms.",
        "Many people find its sound calming.",
        "Ships have crossed it for thousands of years.",
        "Its deepest places are still hardly known.",
        "Salt makes the water taste bitter.",
        "Tides rise and fall with the moon.",
        "Whales, squid and tiny plankton all live there.",
    ),
    "bread": (
        "Bread is made from flour, water and salt.",
        "Yeast makes the dough rise slowly.",
        "A good crust needs a very hot oven.",
        "Fresh loaves smell wonderful in the morning.",
        "People have baked it since ancient times.",
        "Rye gives a dark and heavy crumb.",
        "Stale slices still make fine toast.",
        "Kneading builds the strength of the dough.",
    ),
    "trains": (
        "Trains connect cities without any traffic jams.",
        "The first ones ran on steam and coal.",
        "Modern lines reach very high speeds.",
        "Passengers can read, work or sleep on board.",
        "Long tunnels carry them under mountains.",
        "Freight trains move heavy goods at low cost.",
        "A good timetable makes travel easy.",
        "Some routes are famous for their views.",
    ),
    "gardens": (
        "A garden needs light, water and patience.",
        "Bees visit the flowers all summer long.",
        "Vegetables taste best when picked fresh.",
        "Good soil is dark, loose and full of life.",
        "Weeds grow faster than anything else.",
        "Many people relax by digging and planting.",
        "Old trees give shade on hot days.",
        "In winter the beds rest under leaves.",
    ),
    "libraries": (
        "Libraries lend books to everyone for free.",
        "They are quiet places to read and study.",
        "Children come for stories in the afternoon.",
        "Old maps and letters are kept safe there.",
        "A librarian can help you find almost anything.",
        "Many offer computers and music as well.",
        "The oldest ones are over a thousand years old.",
        "Late returns may cost a small fee.",
    ),
    "winter": (
        "Winter brings short days and long nights.",
        "Snow covers the fields like a blanket.",
        "Many animals sleep until spring comes.",
        "Warm soup tastes better in the cold.",
        "Ice makes the roads dangerous for cars.",
        "Children build snowmen and race on sledges.",
        "The air is clear and the stars are bright.",
        "Birds look for seeds around the houses.",
    ),
}
THINGS = {
    "animals": ("ant", "bear", "cat", "dog", "eagle", "fox", "goat", "horse", "lion", "mouse", "owl", "rabbit", "wolf"),
    "fruits": (
        "apple",
        "banana",
        "cherry",
        "fig",
        "grape",
        "kiwi",
        "lemon",
        "mango",
        "orange",
        "peach",
        "pear",
        "plum",
    ),
    "tools": (
        "axe",
        "brush",
        "chisel",
        "drill",
        "file",
        "hammer",
        "knife",
        "ladder",
        "pliers",
        "saw",
        "spade",
        "wrench",
    ),
    "colours": ("black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "white", "yellow"),
}


class Wish(NamedTuple):
    """A constraint in words, as a check, and as candidates of which some pass and some do not."""

    prompt: str
    check: Check
    candidates: list[str]


def draw(rng: Random) -> Draft:
    wish = rng.choice(KINDS)(rng)
    passing = [text for text in wish.candidates if wish.check(text)]
    failing = [text for text in wish.candidates if not wish.check(text)]
    if not passing or not failing:
        return draw(rng)
    return Draft(wish.prompt, rng.choice(passing), rng.choice(failing), "both were checked by a program")


def word_count(rng: Random) -> Wish:
    topic, n = rng.choice(sorted(SENTENCES)), rng.randint(11, 24)
    close = [text for text in _texts(rng, topic, (2, 3)) if abs(len(text.split()) - n) <= 3]
    return Wish(f"Describe {topic} in exactly {n} words.", lambda text: len(text.split()) == n, close)


def sentence_count(rng: Random) -> Wish:
    topic, n = rng.choice(sorted(SENTENCES)), rng.randint(2, 4)
    prompt = rng.choice(
        (f"Write exactly {n} sentences about {topic}.", f"Tell me about {topic} in exactly {n} sentences.")
    )
    return Wish(prompt, lambda text: text.count(".") == n, _texts(rng, topic, (n - 1, n, n + 1)))


def forbidden_word(rng: Random) -> Wish:
    topic = rng.choice(sorted(SENTENCES))
    word = rng.choice([w for w in _words(" ".join(SENTENCES[topic])) if len(w) > 3])
    prompt = f"Write two sentences about {topic}. Do not use the word '{word}'."
    return Wish(prompt, lambda text: word not in _words(text), _texts(rng, topic, (2,)))


def required_word(rng: Random) -> Wish:
    topic = rng.choice(sorted(SENTENCES))
    word = rng.choice([w for w in _words(" ".join(SENTENCES[topic])) if len(w) > 3])
    prompt = f"Write two sentences about {topic}. One of them must contain the word '{word}'."
    return Wish(prompt, lambda text: word in _words(text), _texts(rng, topic, (2,)))


def first_letter(rng: Random) -> Wish:
    topic = rng.choice(sorted(SENTENCES))
    letter = rng.choice([sentence[0] for sentence in SENTENCES[topic]])
    prompt = f"Write two sentences about {topic}. The first word must start with the letter {letter}."
    return Wish(prompt, lambda text: text[0] == letter, _texts(rng, topic, (2,)))


def letter_case(rng: Random) -> Wish:
    topic = rng.choice(sorted(SENTENCES))
    texts = _texts(rng, topic, (2,))
    upper = rng.random() < 0.5
    wanted: Callable[[str], str] = str.upper if upper else str.lower
    prompt = f"Write two sentences about {topic} in {'capital' if upper else 'small'} letters only."
    return Wish(prompt, lambda text: text == wanted(text), [f(t) for t in texts for f in (wanted, str.capitalize, str)])


def sorted_list(rng: Random) -> Wish:
    kind, n = rng.choice(sorted(THINGS)), rng.randint(4, 6)
    lists = [rng.sample(THINGS[kind], n) for _ in range(12)]
    texts = [", ".join(order) for names in lists for order in (sorted(names), names)]
    prompt = f"Name {n} {kind} in alphabetical order, separated by commas."
    return Wish(prompt, lambda text: text.split(", ") == sorted(text.split(", ")), texts)


def item_list(rng: Random) -> Wish:
    kind, n = rng.choice(sorted(THINGS)), rng.randint(3, 6)
    texts = ["\n".join(f"- {x}" for x in rng.sample(THINGS[kind], k)) for k in (n - 1, n, n + 1) for _ in range(8)]
    prompt = f"List exactly {n} {kind}, one on each line, every line beginning with a dash."
    return Wish(prompt, lambda text: text.count("\n") == n - 1, texts)


def last_word(rng: Random) -> Wish:
    topic = rng.choice(sorted(SENTENCES))
    word = rng.choice([sentence.split()[-1].rstrip(".") for sentence in SENTENCES[topic]])
    prompt = f"Write two sentences about {topic}. The very last word must be '{word}'."
    return Wish(prompt, lambda text: _words(text)[-1] == word, _texts(rng, topic, (2,)))


def _texts(rng: Random, topic: str, counts: tuple[int, ...]) -> list[str]:
    return [" ".join(rng.sample(SENTENCES[topic], n)) for n in counts for _ in range(24)]


def _words(text: str) -> list[str]:
    return [word.strip(".,").lower() for word in text.split()]


KINDS: tuple[Callable[[Random], Wish], ...] = (
    word_count,
    sentence_count,
    forbidden_word,
    required_word,
    first_letter,
    letter_case,
    sorted_list,
    item_list,
    last_word,
)
