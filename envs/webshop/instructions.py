"""People's shopping instructions as goals of a generated shop, where the shop has what they ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sdar.envs.webshop.goals import wanted_options
from sdar.envs.webshop.products import Goal, draw_limit, limit_text
from sdar.envs.webshop.shop import Shop, slot_with
from sdar.envs.webshop.vocabulary import ATTRIBUTES, COLOURS, HUMAN, KINDS, SIZES
from sdar.schemas.seeds import generator

_KIND = re.compile(rf"\b({'|'.join(KINDS)})(?:e?s)?\b")
_ATTRIBUTE = {name: re.compile(rf"\b{pattern}\b") for name, pattern in ATTRIBUTES.items()}
# `x-large`, `2x large` and `medium-large` are other sizes than these.
_SIZE = re.compile(rf"(?<![\w-])(?<!x )({'|'.join(SIZES)})(?![\w-])")
_COLOUR = re.compile(rf"\b({'|'.join(COLOURS)}|gray)\b")


def goals_from_texts(own: Shop, texts: Sequence[str]) -> list[Goal]:
    """Return the instructions that a shop can serve, as goals, in their order and each once.

    An instruction is used when it names exactly one kind of product, one or two attributes, and neither
    several sizes nor several colours, nor a size and a colour, nor a colour in which the product is not sold.
    What else it says (brands, measures, purposes) the catalogue does not know, and the reward does not ask
    for. A price limit is drawn and added as WebShop adds it.
    """
    found = (_goal(own, text.strip()) for text in dict.fromkeys(texts))
    return [goal for goal in found if goal is not None]


def _goal(own: Shop, text: str) -> Goal | None:
    lower = text.lower()
    kinds = set(_KIND.findall(lower))
    attributes = tuple(name for name, pattern in _ATTRIBUTE.items() if pattern.search(lower))
    extras = {*_SIZE.findall(lower), *(name.replace("gray", "grey") for name in _COLOUR.findall(lower))}
    if len(kinds) != 1 or not 1 <= len(attributes) <= 2 or len(extras) > 1:
        return None
    kind, extra = kinds.pop(), extras.pop() if extras else ""
    slot = slot_with(own, kind, attributes)
    if extra and extra not in SIZES and extra not in slot.colours:
        return None
    limit = draw_limit(slot.price, generator(own.number, "webshop", "limit", text))
    instruction = text.strip(".") + limit_text(limit)
    return Goal(slot.asin, instruction, HUMAN, attributes, wanted_options(own, kind, extra), limit)
