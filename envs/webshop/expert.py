"""Two demonstrators: a buyer who knows the product, and a shopper who knows some conventions of a shop."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from sdar.envs.webshop.products import Option, Product
from sdar.envs.webshop.reward import has_option
from sdar.envs.webshop.session import BUY, NEXT, PREVIOUS, Session
from sdar.envs.webshop.shop import Shop
from sdar.envs.webshop.vocabulary import ATTRIBUTES, COLOURS, GROUP_OF


@dataclass
class Buyer:
    """Searches the title of the product that the goal has in mind, chooses the wanted options and buys."""

    session: Session

    def next_action(self) -> str:
        """Return the next action from the present page."""
        session, asin = self.session, self.session.goal.asin
        title = session.catalogue.product(asin).title
        query = re.sub(r"[\[\]\s]+", " ", title).strip()
        if session.page == "search" or (session.page == "results" and not session.shown):
            return f"search[{query}]"
        if session.page == "results":
            here, somewhere = asin in session.shown, asin in session.found
            return f"click[{NEXT}]" if somewhere and not here else _open(asin if here else session.shown[0])
        if session.page == "tab":
            return f"click[{PREVIOUS}]"
        if session.item.asin != asin and asin in session.found:
            return f"click[{PREVIOUS}]"
        return _next_option(session, session.goal.options) or f"click[{BUY}]"


def _open(asin: str) -> str:
    return f"click[{asin.lower()}]"


def _next_option(session: Session, wanted: tuple[Option, ...]) -> str:
    """Return the click on the first wanted option that is offered and not yet chosen, or nothing."""
    offered = [value for values in session.item.options.values() for value in values]
    chosen = list(session.chosen.values())
    for option in wanted:
        if not has_option(chosen, option):
            value = next((value for value in offered if has_option([value], option)), None)
            if value is not None:
                return f"click[{value}]"
    return ""


@dataclass
class Shopper:
    """Shops as someone who knows the facts in `knows`, finds out the rest and remembers what was seen.

    Facts are attributes (their marks) and the goal's group (its size labels). While a mark is unknown,
    products that may have it are opened from the top of the list down, and their attributes looked at; where
    several may be right, a `lucky` shopper opens one that is, drawn from `rng`. `learnt` are marks by
    attribute and `seen` the asins whose attributes are known.
    """

    session: Session
    own: Shop
    rng: np.random.Generator
    knows: frozenset[str]
    lucky: bool = False
    learnt: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    knows_labels: bool = False

    def __post_init__(self) -> None:
        self.learnt |= {name: mark for name, mark in self.own.marks.items() if name in self.knows}
        self.knows_labels = GROUP_OF[self.kind] in self.knows

    @property
    def kind(self) -> str:
        """The kind of product that is wanted."""
        return self.session.catalogue.product(self.session.goal.asin).query

    def next_action(self) -> str:
        """Return the next action of a sensible plan from the present page; call it once per step."""
        self._observe()
        page = self.session.page
        if page == "search":
            return f"search[{self._query()}]"
        if page == "results":
            return self._choose_product()
        if self._right(self.session.item):
            return f"click[{PREVIOUS}]" if page == "tab" else self._use_item()
        if self._worth(self.session.item):
            return f"click[{PREVIOUS}]" if page == "tab" else "click[attributes]"
        return self._leave()

    def _observe(self) -> None:
        if self.session.page != "tab":
            return
        if self.session.tab == "description":
            self.knows_labels |= self.session.item.query == self.kind
        elif self.session.tab in ("attributes", "features"):
            product = self.session.item
            self.seen.add(product.asin)
            marks = set(_marks(product)) - set(self.learnt.values())
            attributes = set(product.attributes) - set(self.learnt)
            if len(marks) == len(attributes) == 1:
                self.learnt[attributes.pop()] = marks.pop()

    def _query(self) -> str:
        marks = [self.learnt[name] for name in self.session.goal.attributes if name in self.learnt]
        return " ".join([*marks, self.kind])

    def _choose_product(self) -> str:
        session = self.session
        if session.found != session.catalogue.find(self._query().lower()) or not session.shown:
            return f"search[{self._query()}]"
        shown = [session.catalogue.product(asin) for asin in session.shown]
        right = [product for product in shown if self._right(product)]
        options = right[:1] or [product for product in shown if self._worth(product)]
        if not options:
            return f"click[{NEXT}]"
        if not self.lucky:
            return _open(options[0].asin)
        most = max(map(self._wanted, options))
        best = [product for product in options if self._wanted(product) == most]
        return _open(best[int(self.rng.integers(len(best)))].asin)

    def _leave(self) -> str:
        # A search leads to the first page of results in one step; to another page only the way back does.
        return f"search[{self._query()}]" if self.session.number == 1 else f"click[{PREVIOUS}]"

    def _use_item(self) -> str:
        chosen = self.session.chosen.values()
        missing = [option for option in self.session.goal.options if option not in chosen]
        if not missing:
            return f"click[{BUY}]"
        return f"click[{missing[0]}]" if missing[0] in COLOURS or self.knows_labels else "click[description]"

    def _right(self, product: Product) -> bool:
        """Return whether a product is known to be as wanted."""
        goal = self.session.goal
        if product.query != self.kind or product.price > goal.price_upper:
            return False
        if product.asin in self.seen:
            return self._wanted(product) == len(goal.attributes)
        return {self.learnt.get(name) for name in goal.attributes} <= set(_marks(product))

    def _worth(self, product: Product) -> bool:
        """Return whether to open a product may help: it may be right, or shows what an unknown mark means."""
        goal, marks = self.session.goal, _marks(product)
        known = {self.learnt[name] for name in goal.attributes if name in self.learnt}
        if product.query != self.kind or product.asin in self.seen or not known <= set(marks):
            return False
        unknown = len(set(marks) - set(self.learnt.values()))
        may_be_right = unknown >= len(goal.attributes) - len(known)
        return product.price <= goal.price_upper if may_be_right else unknown > 0

    def _wanted(self, product: Product) -> int:
        return len(set(self.session.goal.attributes) & set(product.attributes))


def _marks(product: Product) -> list[str]:
    return product.title.split()[:-1]


def facts_needed(session: Session) -> tuple[str, ...]:
    """Return the facts that a goal of a generated shop needs: its attributes, then its group for a size."""
    goal = session.goal
    group = GROUP_OF[session.catalogue.product(goal.asin).query]
    sized = any(option not in COLOURS for option in goal.options)
    return (*(name for name in ATTRIBUTES if name in goal.attributes), *([group] if sized else []))
