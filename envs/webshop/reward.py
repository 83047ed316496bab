"""WebShop's reward of a purchase.

    reward = r_type * (attributes hit + options hit + price held) / (attributes + options + 1)

As in the original (princeton-nlp/WebShop, `web_agent_site/engine/goal.py`; Yao et al. 2022, arXiv 2207.01206,
section 3.1):

- r_type is 1 when the queries are equal, or at least two of the categories are shared, or the title score is
  above 0.2; else 0.5. A title score below 0.1 makes it 0.1, and one of 0 makes it 0, whatever else matches.
- The title score is the share of the goal's nouns that the purchased title also has: distinct common nouns
  over all nouns of the wanted title, 0.2 when that has none.
- An attribute is hit when one of the product's attributes has a token set ratio above 85 with it, or when it
  stands word for word in the lower-case title, bullets or description.
- An option is hit when one of the chosen values has a token set ratio above 85 with it. Before that each of
  the two becomes the first colour of a list of 102 that stands in it, if any does. Of a pair of name and
  value (goals made from a product) a colour counts only when it is the whole value; else the words of both
  are compared.
- The price is held when it is at most the limit. Success is a reward of 1.

Different from the original:

- Nouns are told by rules (`nouns.py`) and not by spaCy's tagger. Titles of several nouns can get another
  share; the thresholds 0.2, 0.1 and 0 make that matter for few purchases.
- In a generated shop r_type is 1 when the queries are equal, else 0.5: there two titles share a word whenever
  two products share an attribute, and a dress would be as good as the wanted chair.
- The price of a product with a price range, which the original draws anew in each process, follows from its
  asin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdar.envs.webshop.fuzzy import token_set_ratio
from sdar.envs.webshop.nouns import nouns
from sdar.envs.webshop.products import CATEGORY_SEPARATOR, Goal, Option, Product

LIKE = 85
"""Token set ratio above which two texts mean the same."""

_COLOUR_WORDS = """
alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy
camel camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral
cranberry cream crystal dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass
gray green grey heather indigo ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon
mauve merlot midnight mint mocha multicolor mushroom mustard natural navy nude olive orange peach pewter
pink plum purple rainbow red rose royal rust sand sapphire seashell silver skull slate steel stone
stonewash sunflower tan taupe teal tiger turquoise violet walnut wheat white wine yellow
"""
COLOUR_WORDS = tuple(_COLOUR_WORDS.split())


@dataclass(frozen=True)
class Reward:
    """The reward of a purchase and what it is made of.

    Attributes:
        total: 0 to 1; 1 is success.
        type: r_type: 0, 0.1, 0.5 or 1.
        attributes: wanted attributes that the product has.
        options: wanted options that were chosen.
        price: whether the price is within the limit.
    """

    total: float
    type: float
    attributes: int
    options: int
    price: bool


def purchase_reward(
    bought: Product, wanted: Product, goal: Goal, chosen: Sequence[str], *, named: bool = True
) -> Reward:
    """Return the reward for buying a product.

    Args:
        bought: the product that was bought.
        wanted: the product that the goal had in mind.
        goal: what was asked for.
        chosen: the values of the options that were chosen.
        named: whether titles tell what kind of thing a product is.
    """
    kind = type_reward(bought, wanted, named=named)
    attributes = sum(has_attribute(bought, attribute) for attribute in goal.attributes)
    options = sum(has_option(chosen, option) for option in goal.options)
    price = bought.price <= goal.price_upper
    share = (attributes + options + price) / (len(goal.attributes) + len(goal.options) + 1)
    return Reward(kind * share, kind, attributes, options, price)


def type_reward(bought: Product, wanted: Product, *, named: bool = True) -> float:
    """Return r_type: whether what was bought is the kind of thing that was wanted; `named` as above."""
    if not named:
        return 1.0 if bought.query == wanted.query else 0.5
    score = title_score(bought.title, wanted.title)
    if score == 0.0:
        return 0.0
    if score < 0.1:
        return 0.1
    shared = _categories(bought) & _categories(wanted)
    return 1.0 if bought.query == wanted.query or len(shared) >= 2 or score > 0.2 else 0.5


def title_score(bought: str, wanted: str) -> float:
    """Return the share of the wanted title's nouns that the bought title has, 0.2 if it has no noun."""
    asked = nouns(wanted)
    if not asked:
        return 0.2
    return len(set(nouns(bought)) & set(asked)) / len(asked)


def has_attribute(product: Product, attribute: str) -> bool:
    """Return whether a product has an attribute, by its attributes or by its texts."""
    if any(token_set_ratio(known, attribute) > LIKE for known in product.attributes):
        return True
    texts = (product.title, " ".join(product.bullets), product.description)
    return any(attribute in text.lower() for text in texts)


def has_option(chosen: Sequence[str], option: Option) -> bool:
    """Return whether one of the chosen values is a wanted option."""
    wanted = _normal_option(option)
    return any(token_set_ratio(first_colour(value), wanted) > LIKE for value in chosen)


def first_colour(text: str) -> str:
    """Return the first colour word, in alphabetical order, that stands in a text; else the text."""
    return next((colour for colour in COLOUR_WORDS if colour in text), text)


def _normal_option(option: Option) -> str:
    if isinstance(option, str):
        return first_colour(option)
    return next((colour for colour in COLOUR_WORDS if colour in option), " ".join(option))


def _categories(product: Product) -> set[str]:
    return {part.strip() for part in product.product_category.split(CATEGORY_SEPARATOR)}
