"""Generated shops: hidden conventions by number, and a catalogue of 1080 products that follows them.

All shops sell the same kinds at the same prices under the same asins. What differs is what is printed: which
word in a title (a mark) means which attribute, and which size label of a group of kinds means which size.
Attributes are named on the Attributes and Features tabs only, and sizes explained on the Description tab;
neither is searched. So who knows the conventions searches the mark and is done, and who does not has to open
one product after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations

from sdar.envs.webshop.products import CATEGORY_SEPARATOR, Catalogue, Product
from sdar.envs.webshop.search import Index, best, build_index, searched_text, words
from sdar.envs.webshop.vocabulary import (
    ATTRIBUTES,
    COLOURS,
    GROUP_OF,
    GROUPS,
    KINDS,
    LABELS,
    MARKS,
    SIZES,
)
from sdar.schemas.seeds import generator

TRAINING_SHOPS = range(10_000, 20_000)
"""Shops of the starter policy's warm start; all smaller numbers are target shops that it never sees."""
DOLLARS = range(15, 100, 5)


@dataclass(frozen=True)
class Shop:
    """The conventions of one shop.

    Attributes:
        number: what they are drawn from.
        marks: the word in titles by attribute.
        labels: by group, the size label of each of `SIZES`.
        mark_order: the attributes in the order in which the catalogue's slots have them.
        label_order: by group, the labels in the order in which pages print them.
    """

    number: int
    marks: Mapping[str, str]
    labels: Mapping[str, tuple[str, ...]]
    mark_order: tuple[str, ...]
    label_order: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Slot:
    """What all shops have in common of one product: `marks` are positions in a shop's `mark_order`."""

    asin: str
    kind: str
    marks: tuple[int, ...]
    price: int
    colours: tuple[str, ...]


@lru_cache(maxsize=256)
def shop(number: int) -> Shop:
    """Return a shop by its number, from which alone its conventions are drawn."""
    rng = generator(number, "webshop", "shop")
    marks = [MARKS[i] for i in rng.permutation(len(MARKS))[: len(ATTRIBUTES)]]
    labels = [LABELS[i] for i in rng.permutation(len(LABELS))]
    by_group = {group: tuple(labels[3 * i : 3 * i + 3]) for i, group in enumerate(GROUPS)}
    return Shop(
        number,
        dict(zip(ATTRIBUTES, marks, strict=True)),
        by_group,
        tuple(list(ATTRIBUTES)[i] for i in rng.permutation(len(ATTRIBUTES))),
        {group: tuple(own[i] for i in rng.permutation(3)) for group, own in by_group.items()},
    )


@lru_cache(maxsize=1)
def slots() -> tuple[Slot, ...]:
    """Return the products that every shop has, shuffled: of a kind one for each mark and each two marks."""
    rng = generator(0, "webshop", "catalogue")
    made = []
    for kind in KINDS:
        own = list(_mark_sets())
        numbers = rng.permutation(len(own)) + 1
        for marks, number in zip(own, numbers, strict=True):
            price = DOLLARS[int(rng.integers(len(DOLLARS)))]
            colours = tuple(COLOURS[i] for i in sorted(rng.permutation(len(COLOURS))[:3]))
            made.append(Slot(f"{kind.upper()}{number}", kind, marks, price, colours))
    return tuple(made[i] for i in rng.permutation(len(made)))


def _mark_sets() -> Iterator[tuple[int, ...]]:
    for size in (1, 2):
        yield from combinations(range(len(ATTRIBUTES)), size)


@lru_cache(maxsize=1)
def _slot_by_asin() -> Mapping[str, Slot]:
    return {slot.asin: slot for slot in slots()}


@lru_cache(maxsize=1)
def _asins() -> tuple[str, ...]:
    return tuple(slot.asin for slot in slots())


def slot_with(own: Shop, kind: str, attributes: tuple[str, ...]) -> Slot:
    """Return the slot of the one product of a kind that has exactly these attributes in a shop."""
    return _slot_by_kind_and_marks()[kind, tuple(sorted(map(own.mark_order.index, attributes)))]


@lru_cache(maxsize=1)
def _slot_by_kind_and_marks() -> Mapping[tuple[str, tuple[int, ...]], Slot]:
    return {(slot.kind, slot.marks): slot for slot in slots()}


def product_in(own: Shop, slot: Slot) -> Product:
    """Return a product as a shop prints it."""
    attributes = tuple(own.mark_order[i] for i in slot.marks)
    group = GROUP_OF[slot.kind]
    labels = own.label_order[group]
    sizes = dict(zip(own.labels[group], SIZES, strict=True))
    first, second, third = (f"{label} is {sizes[label]}" for label in labels)
    return Product(
        asin=slot.asin,
        title=" ".join([*(own.marks[attribute] for attribute in attributes), slot.kind]),
        description=f"Sizes: {first}, {second}, {third}.",
        bullets=(f"Our {slot.kind} of this year.", f"It is {' and '.join(attributes)}."),
        category=group,
        query=slot.kind,
        product_category=f" {CATEGORY_SEPARATOR} ".join(["shop", group, slot.kind]),
        attributes=attributes,
        options={"size": labels, "color": slot.colours},
        prices=(float(slot.price),),
        price=float(slot.price),
    )


@lru_cache(maxsize=64)
def catalogue_of(own_number: int) -> Catalogue:
    """Return the catalogue of a shop; a product is made when it is first looked at."""
    own = shop(own_number)
    places = _places(own)

    @cache
    def product(asin: str) -> Product:
        return product_in(own, _slot_by_asin()[asin])

    @lru_cache(maxsize=4096)
    def find(query: str) -> tuple[str, ...]:
        searched = [places.get(word, word) for word in words(query)]
        return tuple(_asins()[position] for position in best(_index(), searched))

    return Catalogue(_asins(), product, find, named=False)


# The scores of BM25 do not depend on what a word is, only on where it stands. So one index serves all shops:
# in it a mark or a label is the place of its slot, and a shop's words are looked up as the places they take.


_NOWHERE = dict.fromkeys((word.lower() for word in (*MARKS, *LABELS)), "")


def _places(own: Shop) -> Mapping[str, str]:
    """Return which place each of a shop's words takes; a word of other shops takes none and finds nothing."""
    places = dict(_NOWHERE)
    places |= {own.marks[attribute].lower(): f"[mark {i}]" for i, attribute in enumerate(own.mark_order)}
    for group, labels in own.label_order.items():
        places |= {label: f"[{group} {i}]" for i, label in enumerate(labels)}
    return places


@lru_cache(maxsize=1)
def _index() -> Index:
    own = shop(0)
    places = _places(own)
    texts = (words(searched_text(product_in(own, slot))) for slot in slots())
    return build_index([places.get(word, word) for word in text] for text in texts)
