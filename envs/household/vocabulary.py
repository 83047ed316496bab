"""What every house has in common: things, places, appliances and who can be done what to."""

from __future__ import annotations

CATEGORIES: dict[str, tuple[str, str, str]] = {
    "cups": ("cup", "mug", "glass"),
    "dishes": ("plate", "bowl", "saucer"),
    "cookware": ("pan", "pot", "kettle"),
    "cutlery": ("fork", "knife", "spoon"),
    "fruit": ("apple", "orange", "peach"),
    "vegetables": ("potato", "tomato", "lettuce"),
    "food": ("bread", "egg", "cheese"),
    "reading": ("book", "newspaper", "magazine"),
    "stationery": ("pen", "pencil", "notebook"),
    "toiletries": ("soap", "towel", "sponge"),
    "electronics": ("phone", "remote", "watch"),
    "decorations": ("vase", "candle", "statue"),
}
CATEGORY_OF = {thing: category for category, things in CATEGORIES.items() for thing in things}
THINGS = tuple(CATEGORY_OF)

PLURALS = {thing: thing + "s" for thing in THINGS} | {
    "glass": "glasses",
    "knife": "knives",
    "peach": "peaches",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "lettuce": "lettuces",
    "bread": "breads",
    "cheese": "cheeses",
    "watch": "watches",
}

CLOSED_TYPES = ("cabinet", "drawer")
RECEPTACLE_COUNTS = {
    "cabinet": 4,
    "drawer": 3,
    "shelf": 3,
    "countertop": 2,
    "desk": 1,
    "dresser": 1,
    "sofa": 1,
    "bed": 1,
}
RECEPTACLES = tuple(f"{kind} {n}" for kind, count in RECEPTACLE_COUNTS.items() for n in range(1, count + 1))

APPLIANCES: dict[str, tuple[str, str, str]] = {
    "heat": ("microwave 1", "stove 1", "toaster 1"),
    "cool": ("fridge 1", "freezer 1", "icebox 1"),
    "clean": ("sink 1", "dishwasher 1", "bathtub 1"),
}
FUNCTION_OF = {appliance: function for function, names in APPLIANCES.items() for appliance in names}
LAMPS = ("desklamp 1", "floorlamp 1", "nightlamp 1")
LAMP_PLACES = ("desk 1", "dresser 1", "sofa 1", "bed 1", "shelf 1", "countertop 1")

FAMILIES = (
    "pick_and_place",
    "look_in_light",
    "clean_and_place",
    "heat_and_place",
    "cool_and_place",
    "pick_two",
)
FUNCTION_OF_FAMILY = {"clean_and_place": "clean", "heat_and_place": "heat", "cool_and_place": "cool"}
EDIBLE = ("fruit", "vegetables", "food")
CATEGORIES_OF_FAMILY: dict[str, tuple[str, ...]] = {
    "pick_and_place": tuple(CATEGORIES),
    "look_in_light": ("reading", "stationery", "electronics", "decorations"),
    "clean_and_place": ("cups", "dishes", "cookware", "cutlery", "fruit", "vegetables", "toiletries"),
    "heat_and_place": ("cups", "dishes", "cookware", *EDIBLE),
    "cool_and_place": ("cups", "dishes", "cookware", *EDIBLE),
    "pick_two": tuple(CATEGORIES),
}


def kind(name: str) -> str:
    """Return the type of a numbered name: `cabinet 3` gives `cabinet`."""
    return name.rsplit(" ", 1)[0]


def preposition(receptacle_type: str) -> str:
    """Return `in` for closed receptacles, `on` for surfaces."""
    return "in" if receptacle_type in CLOSED_TYPES else "on"
