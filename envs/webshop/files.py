"""WebShop's data files: products, their attributes, and the goals in them.

A folder holds `items_shuffle*.json` (a list of products), `items_ins_v2*.json` (by asin: `attributes`, and
for goals made from products `instruction` and `instruction_attributes`) and `items_human_ins.json` (by asin a
list of people's instructions with `instruction`, `instruction_attributes`, `instruction_options`). They are
read as the original does (`web_agent_site/engine/engine.py` and `goal.py`): asins longer than 10 characters
and repeated ones are left out, a product without a price costs 100 dollars, option values become lower case
with ` | ` for `/`, and goals without an attribute are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product as every
from pathlib import Path
from typing import Any

from sdar.envs.webshop.products import Catalogue, Goal, Product, draw_limit, limit_text
from sdar.envs.webshop.search import best, build_index, searched_text, words
from sdar.envs.webshop.vocabulary import HUMAN
from sdar.schemas.errors import InputError
from sdar.schemas.seeds import generator

ITEMS, ATTRIBUTES, INSTRUCTIONS = "items_shuffle*.json", "items_ins_v2*.json", "items_human_ins.json"
TEXTS = "human_goals.json"
MADE = "made"
"""Type of goals that are made from products."""

Json = dict[str, Any]

_NUMBER = re.compile(r"\$\s*([\d,]*\.?\d+)")
_LONGEST_ASIN = 10
_NO_PRICE = 100.0


@dataclass(frozen=True)
class Files:
    """Where the data of a folder lie; `instructions` need not exist."""

    items: Path
    attributes: Path
    instructions: Path


def find_files(data: Path) -> Files | None:
    """Return the files of a folder, or of the folder of an items file; None where there are no items.

    Of several items files the one with the shortest name is taken: `items_shuffle.json`, which has all
    products.

    Raises:
        InputError: there are items and no file of attributes.
    """
    folder = data if data.is_dir() else data.parent
    found = sorted(folder.glob(ITEMS), key=lambda path: (len(path.name), path.name))
    items = data if data in found else next(iter(found), None)
    if items is None or not (data.is_dir() or data == items):
        return None
    same = folder / items.name.replace("items_shuffle", "items_ins_v2")
    others = sorted(folder.glob(ATTRIBUTES), key=lambda path: (len(path.name), path.name))
    attributes = same if same.is_file() else next(iter(others), None)
    if attributes is None:
        raise InputError(
            f"{folder} has {items.name} but no {ATTRIBUTES}, which says what attributes the products have. "
            "Put WebShop's file there, or leave env.data empty for a generated shop."
        )
    return Files(items, attributes, folder / INSTRUCTIONS)


def texts_file(data: Path) -> Path:
    """Return the file of people's instructions that `env.data` names, itself or by its folder."""
    return data / TEXTS if data.is_dir() else data


def data_files(data: Path) -> list[Path]:
    """Return all files that `env.data` names, whether they are there or not."""
    found = find_files(data)
    return [found.items, found.attributes, found.instructions] if found else [texts_file(data)]


def read_products(files: Files) -> list[Product]:
    """Return the products of the files in their order.

    Raises:
        InputError: a file is unreadable or malformed; the message names the file and the product.
    """
    items = _read(files.items, list)
    known = _read(files.attributes, dict)
    products: dict[str, Product] = {}
    for number, item in enumerate(items):
        asin = item.get("asin") if isinstance(item, dict) else None
        if not isinstance(asin, str):
            raise InputError(f"{files.items}: product {number} is no object with an `asin`")
        if asin == "nan" or len(asin) > _LONGEST_ASIN or asin in products:
            continue
        try:
            products[asin] = _product(item, known.get(asin) or {})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{files.items}: product {asin!r} is malformed: {type(error).__name__} {error}. Expected are "
                "name, full_description, small_description, pricing, category, query, product_category and "
                "customization_options as in WebShop's own files."
            ) from error
    return list(products.values())


def _product(item: Json, known: Json) -> Product:
    asin, bullets = item["asin"], item.get("small_description") or []
    prices = _prices(item.get("pricing"))
    low, high = prices[0], prices[-1]
    drawn = float(generator(0, "webshop", "price", asin).uniform(low, high)) if low != high else low
    return Product(
        asin=asin,
        title=item["name"],
        description=item.get("full_description") or "",
        bullets=(bullets,) if isinstance(bullets, str) else tuple(bullets),
        category=item["category"],
        query=item["query"].lower().strip(),
        product_category=item["product_category"],
        attributes=tuple(known.get("attributes") or ("DUMMY_ATTR",)),
        options=_options(item.get("customization_options") or {}),
        prices=prices,
        price=drawn,
    )


def _prices(pricing: str | None) -> tuple[float, ...]:
    found = [float(number.replace(",", "")) for number in _NUMBER.findall(pricing or "")]
    return tuple(found[:2]) or (_NO_PRICE,)


def _options(customization: Mapping[str, list[Json] | None]) -> dict[str, tuple[str, ...]]:
    return {
        name.lower(): tuple(each["value"].strip().replace("/", " | ").lower() for each in contents)
        for name, contents in customization.items()
        if contents is not None
    }


def catalogue_from(products: list[Product]) -> Catalogue:
    """Return the catalogue over products, searched by `search`."""
    by_asin = {product.asin: product for product in products}
    asins = list(by_asin)
    index = build_index(words(searched_text(product)) for product in products)

    @lru_cache(maxsize=4096)
    def find(query: str) -> tuple[str, ...]:
        return tuple(asins[position] for position in best(index, words(query)))

    return Catalogue(asins, by_asin.__getitem__, find)


def human_goals(files: Files, products: list[Product]) -> list[Goal]:
    """Return the goals of people's instructions, in the products' order.

    Raises:
        InputError: the file is missing, unreadable or malformed.
    """
    told = _read(files.instructions, dict)
    goals = []
    for product in products:
        for number, each in enumerate(told.get(product.asin, [])):
            try:
                attributes = tuple(each["instruction_attributes"])
                options = tuple(map(str, each["instruction_options"]))
                text = each["instruction"].strip(".")
            except (KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{files.instructions}: instruction {number} of {product.asin!r} is malformed: {error!r}"
                ) from error
            if attributes:
                limit = draw_limit(product.price, generator(0, "webshop", "limit", product.asin, number))
                goals.append(Goal(product.asin, text + limit_text(limit), HUMAN, attributes, options, limit))
    return goals


def made_goals(files: Files, products: list[Product]) -> list[Goal]:
    """Return the goals made from products that have an instruction: one for each combination of options.

    Raises:
        InputError: the file of attributes is unreadable or malformed.
    """
    known = _read(files.attributes, dict)
    return [goal for product in products for goal in _made(product, known.get(product.asin) or {})]


def _made(product: Product, known: Json) -> Iterator[Goal]:
    instruction, attributes = known.get("instruction"), tuple(known.get("instruction_attributes") or ())
    if not instruction or not attributes:
        return
    # One price limit for all goals of a product, as in the original.
    limit = draw_limit(product.price, generator(0, "webshop", "limit", product.asin))
    names = sorted(product.options)
    for values in every(*(product.options[name] for name in names)):
        options = tuple(zip(names, values, strict=True))
        named = ", and ".join(f"{name}: {value}" for name, value in options)
        text = f"{instruction}{' with ' + named if named else ''}{limit_text(limit)}"
        yield Goal(product.asin, text, MADE, attributes, options, limit)


def read_texts(path: Path) -> list[str]:
    """Return the instructions of a `human_goals.json`: a list of texts.

    Raises:
        InputError: the file is missing, unreadable or malformed.
    """
    texts: list[str] = _read(path, list)
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{path}: expected a list of texts, one instruction each")
    return texts


def _read(path: Path, kind: type) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path}: {error}. Point env.data at a folder with WebShop's files, or leave it "
            "empty for a generated shop."
        ) from error
    if not isinstance(content, kind):
        raise InputError(f"{path} holds a {type(content).__name__}; expected a {kind.__name__}")
    return content
