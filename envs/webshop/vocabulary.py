"""The words of generated shops: what is sold, what customers ask for, and what shops call it."""

from __future__ import annotations

GROUPS: dict[str, tuple[str, str, str, str]] = {
    "clothes": ("shirt", "jacket", "dress", "coat"),
    "footwear": ("shoe", "boot", "sandal", "slipper"),
    "luggage": ("bag", "case", "basket", "backpack"),
    "textiles": ("rug", "curtain", "blanket", "pillow"),
    "furniture": ("table", "chair", "desk", "ottoman"),
    "household": ("bottle", "brush", "candle", "lamp"),
}
"""Kinds of product by group; in one shop the same size labels hold for all of a group."""

KINDS = tuple(kind for kinds in GROUPS.values() for kind in kinds)
GROUP_OF = {kind: group for group, kinds in GROUPS.items() for kind in kinds}

ATTRIBUTES: dict[str, str] = {
    "machine washable": r"machine[- ]wash(?:able)?",
    "easy clean": r"eas(?:y|ily) (?:to )?clean(?:ed)?",
    "heavy duty": r"heavy[- ]duty",
    "water resistant": r"water[- ]?(?:resistant|proof)",
    "eco friendly": r"eco[- ]?friendly",
    "long lasting": r"long[- ]lasting",
    "high quality": r"high[- ]quality",
    "light weight": r"light[- ]?weight",
    "non slip": r"(?:non|anti)[- ]?slip",
}
"""Attributes that any kind can have, frequent in WebShop's instructions, each with how people write it."""

SIZES = ("small", "medium", "large")
COLOURS = ("black", "white", "blue", "pink", "red", "grey")

MARKS = (
    *("Ablon", "Belmar", "Brisca", "Calvo", "Cendra", "Corvin", "Dalmo", "Delphi", "Ecohide", "Elvano"),
    *("Farlo", "Fendal", "Galmo", "Gilda", "Halvar", "Hexon", "Indra", "Jorvik", "Kalmar", "Kestrel"),
    *("Lumora", "Lyndal", "Marlo", "Mistral", "Nordvik", "Novara", "Orlan", "Ostara", "Pavlo", "Quilla"),
    *("Rondel", "Rubicon", "Sandor", "Selmor", "Tarvo", "Tessaly", "Ulmo", "Verdano", "Wexford", "Zephyr"),
)
"""Words that titles have instead of an attribute; which one means what differs from shop to shop."""

LABELS = tuple(f"{letter}{digit}" for letter in "bgkprv" for digit in range(2, 10))
"""Size labels; which one is which size of which group differs from shop to shop."""

FAMILIES = ("plain", "coloured", "sized", "paired")
"""Types of generated goals: an attribute; with a colour; with a size; two attributes."""
HUMAN = "human"
"""Type of goals whose instruction people wrote."""
