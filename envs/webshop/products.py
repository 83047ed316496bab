"""What is sold and what is asked for, whichever catalogue it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Option = str | tuple[str, str]
"""A wanted option: its value (people's goals), or its name and value (goals made from a product)."""

ANY_PRICE = 1_000_000.0
"""The price limit of a goal that names none."""
CATEGORY_SEPARATOR = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
PRICE_LIMITS = tuple(10.0 * tens for tens in range(1, 100))


@dataclass(frozen=True)
class Product:
    """One product as WebShop's pages and reward see it.

    Attributes:
        asin: its identifier, at most 10 characters.
        title: shown in results; also what the reward's nouns are taken from.
        description: text of the Description tab.
        bullets: lines of the Features tab; only the first one is searched.
        category: shown on the Attributes tab.
        query: what the product was collected with; lower case.
        product_category: path of categories, separated by `CATEGORY_SEPARATOR`.
        attributes: what the reward compares first.
        options: allowed values by option name, both lower case.
        prices: one price, or a range of two.
        price: what it costs, drawn from the range.
    """

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    category: str
    query: str
    product_category: str
    attributes: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    prices: tuple[float, ...]
    price: float

    @property
    def price_tag(self) -> str:
        """The price as the pages show it."""
        return " to ".join(f"${price}" for price in self.prices)


@dataclass(frozen=True)
class Goal:
    """What a customer wants: the instruction, and what the reward holds the purchase against.

    Attributes:
        asin: the product that was in mind; another one that has all that is asked for is as good.
        instruction: the text that the agent reads.
        type: name of the kind of goal.
        attributes: wanted attributes, at least one.
        options: wanted options.
        price_upper: most that may be paid, in dollars.
    """

    asin: str
    instruction: str
    type: str
    attributes: tuple[str, ...]
    options: tuple[Option, ...]
    price_upper: float


@dataclass(frozen=True)
class Catalogue:
    """Products by asin and the search over them.

    `asins` are in the catalogue's order; `product` returns one of them; `find` returns the asins that a query
    brings, best first and at most 50. `named` says that titles name the kind of a product; a generated shop's
    name its attributes first of all.
    """

    asins: Sequence[str]
    product: Callable[[str], Product]
    find: Callable[[str], tuple[str, ...]]
    named: bool = True


def draw_limit(price: float, rng: np.random.Generator) -> float:
    """Return a price limit: of the four multiples of ten above the price, the higher of two drawn ones."""
    above = [limit for limit in PRICE_LIMITS if limit > price][:4]
    if len(above) < 2:
        return ANY_PRICE
    return max(above[int(i)] for i in rng.permutation(len(above))[:2])


def limit_text(limit: float) -> str:
    """Return how an instruction names a price limit, empty for `ANY_PRICE`."""
    return "" if limit == ANY_PRICE else f", and price lower than {limit:.2f} dollars"
