"""Search, pages and clicks of the shop, on a catalogue of twelve products made by hand."""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.envs.webshop.files import catalogue_from
from sdar.envs.webshop.pages import NOTHING, START, answered, compact_page, full_page
from sdar.envs.webshop.products import Goal, Product
from sdar.envs.webshop.search import best, build_index, words
from sdar.envs.webshop.session import Session, act, clickable


def item(number: int, title: str, options: dict[str, tuple[str, ...]] | None = None) -> Product:
    prices = (10.0, 12.5) if number == 2 else (float(number),)
    return Product(
        asin=f"B{number:02}",
        title=title,
        description="Nice.",
        bullets=("New.", "Soft to the touch."),
        category="garden",
        query="rugs",
        product_category="Home",
        attributes=("soft",),
        options=options or {},
        prices=prices,
        price=prices[0],
    )


OPTIONS = {"size": ("s", "m"), "color": ("red", "blue")}
ITEMS = [item(1, "Wool Rug", OPTIONS), *(item(number, f"Rug {number}") for number in range(2, 13))]
GOAL = Goal("B01", "i need a soft rug", "human", ("soft",), ("m", "red"), 20.0)


def session(page_size: int = 10) -> Session:
    return Session(catalogue_from(ITEMS), GOAL, page_size)


def after(*actions: str, page_size: int = 10) -> Session:
    state = session(page_size)
    for action in actions:
        assert act(state, action), action
    return state


def test_full_pages_read_as_the_original_has_them() -> None:
    head = "Instruction: [SEP] i need a soft rug [SEP] "
    assert full_page(session()) == f"WebShop [SEP] {head}Search"
    assert full_page(after("search[wool]")) == (
        f"{head}Back to Search [SEP] Page 1 (Total results: 1) [SEP] Next > "
        "[SEP] B01 [SEP] Wool Rug [SEP] $1.0"
    )
    assert full_page(after("search[rug]", "click[Next >]")) == (
        f"{head}Back to Search [SEP] Page 2 (Total results: 12) [SEP] < Prev [SEP] Next > "
        "[SEP] B12 [SEP] Rug 12 [SEP] $12.0 [SEP] B01 [SEP] Wool Rug [SEP] $1.0"
    )
    item_page = (
        f"{head}Back to Search [SEP] < Prev [SEP] size [SEP] s [SEP] m [SEP] color [SEP] red [SEP] blue "
        "[SEP] Wool Rug [SEP] Price: $1.0 [SEP] Rating: N.A. [SEP] Description [SEP] Features "
        "[SEP] Reviews [SEP] Attributes [SEP] Buy Now"
    )
    assert full_page(after("search[wool]", "click[B01]")) == item_page
    tab = after("search[wool]", "click[b01]", "click[Features]")
    assert full_page(tab) == f"{head}Back to Search [SEP] < Prev [SEP] New. [SEP] Soft to the touch."
    assert act(tab, "click[< Prev]")
    assert full_page(tab) == item_page
    attributes = full_page(after("search[wool]", "click[b01]", "click[attributes]"))
    assert attributes == f"{head}Back to Search [SEP] < Prev [SEP] soft [SEP] garden [SEP] rugs [SEP] Home"
    bought = full_page(after("search[wool]", "click[b01]", "click[m]", "click[buy now]"))
    assert bought == f"Thank you for shopping with us! [SEP] Your score (min 0.0, max 1.0) [SEP] {3 / 4}"
    assert "$10.0 to $12.5" in full_page(after("search[rug 2]"))


def test_compact_pages_are_short() -> None:
    assert compact_page(session(5)) == START
    two = after("search[rug]", "click[next >]", "click[next >]", page_size=5)
    assert compact_page(two) == "Page 3:\nb12 Rug 12 $12\nb01 Wool Rug $1"
    assert compact_page(after("search[teapot]", page_size=5)) == "Page 1: nothing."
    chosen = after("search[wool]", "click[b01]", "click[red]", page_size=5)
    assert compact_page(chosen) == "b01 Wool Rug $1\nsize: s, m\ncolor: red, blue\nchosen: red"
    assert compact_page(after("search[wool]", "click[b01]", "click[attributes]")) == "soft"
    assert compact_page(after("search[wool]", "click[b01]", "click[description]")) == "Nice."
    assert compact_page(after("search[wool]", "click[b01]", "click[reviews]")) == "Nothing is here."
    assert compact_page(after("search[wool]", "click[b01]", "click[buy now]")) == "You bought b01."


def test_what_is_no_action_is_answered() -> None:
    state = after("search[wool]")
    assert answered(state, False, "compact") == NOTHING
    assert answered(state, False, "full") == full_page(state)


def test_the_last_choice_of_an_option_counts_and_the_tabs_keep_it() -> None:
    state = after("search[wool]", "click[b01]", "click[s]", "click[red]", "click[reviews]", "click[< prev]")
    assert state.chosen == {"size": "s", "color": "red"}
    assert act(state, "click[m]")
    assert state.chosen == {"size": "m", "color": "red"}
    assert act(state, "click[buy now]")
    assert state.reward is not None
    assert state.reward.total == 1.0


def test_going_back_forgets_the_options_and_going_to_the_search_everything() -> None:
    state = after("search[rug]", "click[next >]", "click[b01]", "click[m]", "click[< prev]")
    assert (state.page, state.number, state.chosen, state.product) == ("results", 2, {}, None)
    assert act(state, "click[< prev]")
    assert (state.number, len(state.shown)) == (1, 10)
    assert act(state, "click[back to search]")
    assert (state.page, state.found) == ("search", ())
    assert clickable(state) == []


def test_a_search_works_on_every_page_and_next_leads_past_the_end() -> None:
    state = after("search[rug]", "click[b02]", "click[features]", "search[wool]")
    assert (state.page, state.found) == ("results", ("B01",))
    assert act(state, "click[next >]")
    assert (state.number, state.shown) == (2, ())
    assert act(state, "click[< prev]")
    assert state.shown == ("B01",)


@pytest.mark.parametrize(
    "action",
    [
        "click[buy now]",  # not on a results page
        "click[b99]",
        "click[< prev]",  # there is no page before the first
        "click[search]",
        "click[m]",
        "click[]",
        "search[]",
        "search wool",
        "Click[b01]",
        "buy[b01]",
        "please click[b01]",
    ],
)
def test_what_a_page_does_not_offer_changes_nothing(action: str) -> None:
    state = after("search[rug wool]")
    before = copy.copy(state)
    assert not act(state, action)
    assert state == before


def test_bm25_by_hand() -> None:
    """Texts of 2, 1 and 3 words: `rug` is in two, ln(1 + 1.5 / 2.5), `wool` in one, ln(1 + 2.5 / 1.5)."""
    texts = [words("Wool Rugs"), words("rug"), words("the red tea pot")]
    assert texts == [["wool", "rug"], ["rug"], ["red", "tea", "pot"]]
    index = build_index(texts)
    rug, wool = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)
    mean, short = 1.9 / (1 + 0.9), 1.9 / (1 + 0.9 * (0.6 + 0.4 / 2))
    assert index.postings["rug"].scores == pytest.approx([rug * mean, rug * short], rel=1e-6)
    assert index.postings["wool"].scores == pytest.approx([wool * mean], rel=1e-6)
    assert best(index, ["rug"]) == [1, 0]
    assert best(index, ["rug", "wool"]) == [0, 1]
    assert best(index, ["rug", "tea"], limit=2) == [2, 1]
    assert best(index, ["lamp"]) == []


@pytest.mark.parametrize(
    ("text", "folded"),
    [("rugs", "rug"), ("dresses", "dress"), ("brushes", "brush"), ("cherries", "cherry"), ("glass", "glass")],
)
def test_plurals_are_folded(text: str, folded: str) -> None:
    assert words(text) == [folded]


actions = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["search[rug]", "search[wool]", "click[b01]", "click[next >]", "click[< prev]"]),
    st.sampled_from(["click[m]", "click[attributes]", "click[back to search]", "click[buy now]"]),
)


@settings(max_examples=60)
@given(st.lists(actions, max_size=12))
def test_a_visit_never_breaks_and_what_is_offered_works(taken: list[str]) -> None:
    state = session()
    for action in taken:
        offered = {f"click[{target}]" for target in clickable(state)}
        before = copy.deepcopy(compact_page(state))
        valid = act(state, action)
        if action.startswith("click["):
            assert valid == (action in offered)
        if not valid:
            assert compact_page(state) == before
        assert full_page(state)
        if state.reward is not None:
            break
    for target in clickable(state):
        again = copy.copy(state)
        again.chosen = dict(state.chosen)
        assert act(again, f"click[{target}]")
