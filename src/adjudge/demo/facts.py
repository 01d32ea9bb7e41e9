"""Simple facts from the tables below, and lengths and weights converted by definition."""

from collections.abc import Callable
from random import Random

from adjudge.demo.drafts import Draft, one_of

# country: (capital, a larger or better known city that is not)
CAPITALS = {
    "Australia": ("Canberra", "Sydney"),
    "Brazil": ("Brasília", "São Paulo"),
    "Canada": ("Ottawa", "Toronto"),
    "Chile": ("Santiago", "Valparaíso"),
    "China": ("Beijing", "Shanghai"),
    "Colombia": ("Bogotá", "Medellín"),
    "Denmark": ("Copenhagen", "Aarhus"),
    "Ecuador": ("Quito", "Guayaquil"),
    "Egypt": ("Cairo", "Alexandria"),
    "Finland": ("Helsinki", "Tampere"),
    "Germany": ("Berlin", "Munich"),
    "Ghana": ("Accra", "Kumasi"),
    "Greece": ("Athens", "Thessaloniki"),
    "India": ("New Delhi", "Mumbai"),
    "Italy": ("Rome", "Milan"),
    "Japan": ("Tokyo", "Osaka"),
    "Kenya": ("Nairobi", "Mombasa"),
    "Morocco": ("Rabat", "Casablanca"),
    "New Zealand": ("Wellington", "Auckland"),
    "Norway": ("Oslo", "Bergen"),
    "Pakistan": ("Islamabad", "Karachi"),
    "Peru": ("Lima", "Cusco"),
    "Poland": ("Warsaw", "Kraków"),
    "Portugal": ("Lisbon", "Porto"),
    "Spain": ("Madrid", "Barcelona"),
    "Sweden": ("Stockholm", "Gothenburg"),
    "Switzerland": ("Bern", "Zurich"),
    "Turkey": ("Ankara", "Istanbul"),
    "Uruguay": ("Montevideo", "Salto"),
    "Vietnam": ("Hanoi", "Ho Chi Minh City"),
}
# element: (symbol, one that looks likely or belongs to another element)
SYMBOLS = {
    "aluminium": ("Al", "Am"),
    "argon": ("Ar", "Ag"),
    "calcium": ("Ca", "Cl"),
    "chlorine": ("Cl", "Ch"),
    "chromium": ("Cr", "Cm"),
    "cobalt": ("Co", "Cb"),
    "copper": ("Cu", "Co"),
    "gold": ("Au", "Go"),
    "helium": ("He", "Hl"),
    "iron": ("Fe", "Ir"),
    "lead": ("Pb", "Ld"),
    "magnesium": ("Mg", "Mn"),
    "manganese": ("Mn", "Mg"),
    "mercury": ("Hg", "Me"),
    "neon": ("Ne", "Nn"),
    "nickel": ("Ni", "Nk"),
    "platinum": ("Pt", "Pl"),
    "silicon": ("Si", "Sc"),
    "silver": ("Ag", "Si"),
    "sodium": ("Na", "So"),
    "tin": ("Sn", "Ti"),
    "titanium": ("Ti", "Tt"),
    "uranium": ("U", "Un"),
    "zinc": ("Zn", "Zc"),
}
PLANETS = ("Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune")
PLACES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
SHAPES = {"pentagon": 5, "hexagon": 6, "heptagon": 7, "octagon": 8, "nonagon": 9, "decagon": 10, "dodecagon": 12}
# (from, to, how many of the second make one of the first)
UNITS = (
    ("kilometres", "metres", 1000),
    ("metres", "centimetres", 100),
    ("centimetres", "millimetres", 10),
    ("kilograms", "grams", 1000),
    ("tonnes", "kilograms", 1000),
    ("litres", "millilitres", 1000),
    ("hours", "minutes", 60),
    ("days", "hours", 24),
    ("minutes", "seconds", 60),
    ("weeks", "days", 7),
)


def draw(rng: Random) -> Draft:
    return rng.choices(KINDS, weights=(5, 4, 2, 1, 6))[0](rng)


def capital(rng: Random) -> Draft:
    country = rng.choice(sorted(CAPITALS))

    def answer(city: str) -> str:
        return one_of(
            rng,
            f"The capital of {country} is {city}.",
            f"{city} is the capital of {country}.",
            f"That would be {city}.",
            f"{country}'s capital city is {city}.",
        )

    prompt = one_of(rng, f"What is the capital of {country}?", f"Which city is the capital of {country}?")
    right, wrong = CAPITALS[country]
    return Draft(prompt, answer(right), answer(wrong), "looked up")


def symbol(rng: Random) -> Draft:
    element = rng.choice(sorted(SYMBOLS))

    def answer(letters: str) -> str:
        return one_of(
            rng,
            f"The chemical symbol for {element} is {letters}.",
            f"It is {letters}.",
            f"{element.capitalize()} has the symbol {letters} in the periodic table.",
        )

    prompt = one_of(
        rng, f"What is the chemical symbol for {element}?", f"Which symbol does {element} have in chemistry?"
    )
    right, wrong = SYMBOLS[element]
    return Draft(prompt, answer(right), answer(wrong), "looked up")


def planet(rng: Random) -> Draft:
    at = rng.randrange(8)
    other = rng.choice([i for i in (at - 1, at + 1) if 0 <= i < 8])

    def answer(index: int) -> str:
        return one_of(
            rng,
            f"The {PLACES[at]} planet from the Sun is {PLANETS[index]}.",
            f"{PLANETS[index]} is the {PLACES[at]} planet.",
            f"Counting outwards from the Sun, it is {PLANETS[index]}.",
        )

    prompt = one_of(
        rng, f"Which planet is the {PLACES[at]} from the Sun?", f"Name the {PLACES[at]} planet, counted from the Sun."
    )
    return Draft(prompt, answer(at), answer(other), "looked up")


def sides(rng: Random) -> Draft:
    shape = rng.choice(sorted(SHAPES))

    def answer(count: int) -> str:
        return one_of(
            rng, f"A {shape} has {count} sides.", f"It has {count} sides and {count} corners.", f"{count} sides."
        )

    prompt = one_of(rng, f"How many sides does a {shape} have?", f"A {shape}: how many sides is that?")
    return Draft(prompt, answer(SHAPES[shape]), answer(SHAPES[shape] + rng.choice((-1, 1))), "looked up")


def conversion(rng: Random) -> Draft:
    source, target, factor = rng.choice(UNITS)
    amount = rng.randint(2, 40)

    def answer(factor: int) -> str:
        return one_of(
            rng,
            f"{amount} {source} are {amount * factor} {target}.",
            f"That is {amount * factor} {target}, since {amount} × {factor} = {amount * factor}.",
            f"It comes to {amount * factor} {target}.",
        )

    wrong = {1000: (100, 10000), 100: (10, 1000), 10: (100, 20), 60: (100, 30), 24: (12, 60), 7: (5, 8)}[factor]
    prompt = one_of(rng, f"How many {target} are {amount} {source}?", f"Convert {amount} {source} to {target}.")
    return Draft(prompt, answer(factor), answer(rng.choice(wrong)), "computed")


KINDS: tuple[Callable[[Random], Draft], ...] = (capital, symbol, planet, sides, conversion)
