"""A generated shop as WebShop's data files, for other programs and to look at."""

from __future__ import annotations

from typing import Any

from sdar.envs.webshop.goals import shop_tasks
from sdar.envs.webshop.shop import catalogue_of


def shop_files(number: int) -> dict[str, Any]:
    """Return the JSON content of a shop's data files by file name, as `files.py` reads them.

    The instructions are the training tasks' goals, without the price limits, which WebShop draws when it
    reads them.
    """
    catalogue = catalogue_of(number)
    products = [catalogue.product(asin) for asin in catalogue.asins]
    items = [
        {
            "asin": product.asin,
            "name": product.title,
            "full_description": product.description,
            "small_description": list(product.bullets),
            "pricing": f"${product.price:.2f}",
            "category": product.category,
            "query": product.query,
            "product_category": product.product_category,
            "images": [""],
            "customization_options": {
                name: [{"value": value, "image": None} for value in values]
                for name, values in product.options.items()
            },
        }
        for product in products
    ]
    known = {product.asin: {"attributes": list(product.attributes)} for product in products}
    return {
        "items_shuffle.json": items,
        "items_ins_v2.json": known,
        "items_human_ins.json": _instructions(number),
    }


def _instructions(number: int) -> dict[str, list[dict[str, Any]]]:
    told: dict[str, list[dict[str, Any]]] = {}
    for task in shop_tasks(number, "train"):
        told.setdefault(task.payload["asin"], []).append(
            {
                "asin": task.payload["asin"],
                "instruction": task.goal.split(", and price lower than ")[0],
                "instruction_attributes": task.payload["attributes"],
                "instruction_options": task.payload["options"],
            }
        )
    return told
