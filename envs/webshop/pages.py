"""What the pages read like: WebShop's simple text mode, or a compact form of the same pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sdar.envs.webshop.products import Product
from sdar.envs.webshop.session import Session

SEPARATOR = " [SEP] "
NOTHING = "Nothing happens."
START = "You are on the search page."

Writer = Callable[[Session], str]


def full_page(session: Session) -> str:
    """Return the present page in WebShop's simple text mode.

    Different: empty segments, and what the page after a purchase hides (the goal), are left out.
    """
    head = ["Instruction:", session.goal.instruction]
    if session.page == "search":
        parts = ["WebShop", *head, "Search"]
    elif session.page == "results":
        parts = [*head, "Back to Search", *_results(session)]
    elif session.page == "item":
        parts = [*head, "Back to Search", "< Prev", *_item(session.item)]
    elif session.page == "tab":
        parts = [*head, "Back to Search", "< Prev", *tab_lines(session.item, session.tab)]
    else:
        parts = ["Thank you for shopping with us!", "Your score (min 0.0, max 1.0)", _score(session)]
    return SEPARATOR.join(part for part in parts if part)


def _results(session: Session) -> list[str]:
    lines = [f"Page {session.number} (Total results: {len(session.found)})"]
    lines += ["< Prev", "Next >"] if session.number > 1 else ["Next >"]
    for product in map(session.catalogue.product, session.shown):
        lines += [product.asin, product.title, product.price_tag]
    return lines


def _item(product: Product) -> list[str]:
    options = [part for name, values in product.options.items() for part in (name, *values)]
    tabs = ["Description", "Features", "Reviews", "Attributes"]
    return [*options, product.title, f"Price: {product.price_tag}", "Rating: N.A.", *tabs, "Buy Now"]


def _score(session: Session) -> str:
    return str(session.reward.total if session.reward else 0.0)


def tab_lines(product: Product, tab: str) -> list[str]:
    """Return what a tab says; as in the original no reviews are loaded."""
    lines: Mapping[str, list[str]] = {
        "description": [product.description],
        "features": list(product.bullets),
        "reviews": [],
        "attributes": [
            *product.attributes,
            product.category,
            product.query,
            product.product_category,
        ],
    }
    return lines[tab]


def compact_page(session: Session) -> str:
    """Return the present page in few words: without the instruction and the buttons."""
    if session.page == "search":
        return START
    if session.page == "results":
        return "\n".join(_short_results(session))
    if session.page == "item":
        return "\n".join(_short_item(session))
    if session.page == "tab":
        return _short_tab(session.item, session.tab)
    return f"You bought {session.item.asin.lower()}."


def _short_results(session: Session) -> list[str]:
    lines = [f"Page {session.number}:" if session.shown else f"Page {session.number}: nothing."]
    return [*lines, *(_line(session.catalogue.product(asin)) for asin in session.shown)]


def _line(product: Product) -> str:
    price = " to ".join(f"${price:g}" for price in product.prices)
    return f"{product.asin.lower()} {product.title} {price}"


def _short_item(session: Session) -> list[str]:
    options = [f"{name}: {', '.join(values)}" for name, values in session.item.options.items()]
    chosen = [f"chosen: {', '.join(session.chosen.values())}"] if session.chosen else []
    return [_line(session.item), *options, *chosen]


def _short_tab(product: Product, tab: str) -> str:
    if tab == "attributes":
        return ", ".join(product.attributes)
    return "\n".join(tab_lines(product, tab)) or "Nothing is here."


PAGES: Mapping[str, tuple[Writer, int]] = {"full": (full_page, 10), "compact": (compact_page, 5)}
"""Writer and results per page by the name of the page style."""


def answered(session: Session, valid: bool, style: str) -> str:
    """Return what is seen after an action: the page, or on compact pages a short answer to what was none."""
    if valid or style == "full":
        return PAGES[style][0](session)
    return NOTHING
