"""One visit to the shop: the pages one can be on, and what searches and clicks do.

As in WebShop (`web_agent_site/envs/web_agent_text_env.py`): a search works on every page; clicks match
without regard to case and only what the page offers; `next >` leads past the last results to an empty page; a
results page forgets the product and the chosen options, `back to search` everything; the tabs keep the
options; buying ends the visit, whether options were chosen or not. Different: the Attributes tab, hidden
there by default, is always offered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from sdar.envs.webshop.products import Catalogue, Goal, Product
from sdar.envs.webshop.reward import Reward, purchase_reward

PageName = Literal["search", "results", "item", "tab", "done"]

BACK, NEXT, PREVIOUS, BUY = "back to search", "next >", "< prev", "buy now"
TABS = ("description", "features", "reviews", "attributes")

_ACTION = re.compile(r"(.+)\[(.+)\]")


@dataclass
class Session:
    """The state of a visit.

    `found` are the asins of the last search and `number` its page, from 1; `product` and the `chosen` options
    (value by name) are those of the item page; `tab` is the tab that is open; `reward` is there once
    something was bought.
    """

    catalogue: Catalogue
    goal: Goal
    page_size: int
    page: PageName = "search"
    found: tuple[str, ...] = ()
    number: int = 1
    product: Product | None = None
    chosen: dict[str, str] = field(default_factory=dict)
    tab: str = ""
    reward: Reward | None = None

    @property
    def item(self) -> Product:
        """The product whose item page or tab is open."""
        if self.product is None:
            raise RuntimeError("no product is open; click one on a results page first")
        return self.product

    @property
    def shown(self) -> tuple[str, ...]:
        """The asins on the present results page."""
        first = (self.number - 1) * self.page_size
        return self.found[first : first + self.page_size]


def act(session: Session, action: str) -> bool:
    """Take an action and return whether it was one; what the page does not offer changes nothing.

    Args:
        session: the visit; changed in place.
        action: `search[words]` or `click[what the page offers]`.
    """
    match = _ACTION.match(action)
    if match is None:
        return False
    name, argument = match.group(1), match.group(2).lower()
    if name == "search":
        _show_results(session, session.catalogue.find(argument), 1)
        return True
    if name == "click" and argument in clickable(session):
        _click(session, argument)
        return True
    return False


def clickable(session: Session) -> Sequence[str]:
    """Return what can be clicked on the present page, in lower case; nothing on the search page."""
    if session.page == "results":
        previous = [PREVIOUS] if session.number > 1 else []
        return [BACK, *previous, NEXT, *(asin.lower() for asin in session.shown)]
    if session.page == "item":
        values = [value for values in session.item.options.values() for value in values]
        return [BACK, PREVIOUS, *TABS, BUY, *values]
    return [BACK, PREVIOUS] if session.page == "tab" else []


def _show_results(session: Session, found: tuple[str, ...], number: int) -> None:
    session.page, session.found, session.number = "results", found, number
    session.product, session.chosen, session.tab = None, {}, ""


def _click(session: Session, target: str) -> None:
    if target == BACK:
        _show_results(session, (), 1)
        session.page = "search"
    elif session.page == "results":
        _click_result(session, target)
    elif session.page == "tab":
        session.page, session.tab = "item", ""
    else:
        _click_item(session, target)


def _click_result(session: Session, target: str) -> None:
    if target in (NEXT, PREVIOUS):
        _show_results(session, session.found, session.number + (1 if target == NEXT else -1))
        return
    asin = next(asin for asin in session.shown if asin.lower() == target)
    session.page, session.product = "item", session.catalogue.product(asin)


def _click_item(session: Session, target: str) -> None:
    if target == BUY:
        wanted = session.catalogue.product(session.goal.asin)
        chosen = list(session.chosen.values())
        session.reward = purchase_reward(
            session.item, wanted, session.goal, chosen, named=session.catalogue.named
        )
        session.page = "done"
    elif target == PREVIOUS:
        _show_results(session, session.found, session.number)
    elif target in TABS:
        session.page, session.tab = "tab", target
    else:
        # A value that two options share belongs to the last one, as the original's page has it.
        name = [name for name, values in session.item.options.items() if target in values][-1]
        session.chosen[name] = target
