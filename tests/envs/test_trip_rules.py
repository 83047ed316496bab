"""Trips by hand: calls and their faults, bookings, and what the end says about them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.envs.trip.calls import TOOLS, BadCall, Call, call_text, read_call
from sdar.envs.trip.casebook import HotelChoice, hotel_choices
from sdar.envs.trip.game import Game, admissible, new_game, on_offer, shortcomings, step
from sdar.envs.trip.goals import make_task
from sdar.schemas.records import TaskSpec

FINISH = call_text("trip.finish")
# The default company: its Berlin office, Kontor, is in Harbour, its partner Corvex in Castle; Ada flies
# Norda, sleeps at Carlton and eats vegan.
TO_BERLIN = [call_text("flights.search", city="Berlin"), call_text("book", name="Norda")]
HARBOUR = [call_text("hotels.search", district="Harbour"), call_text("book", name="Carlton")]
CASTLE = [call_text("hotels.search", district="Castle"), call_text("book", name="Carlton")]


def _task(family: str, seed: int = 4) -> TaskSpec:
    return make_task(0, family, "Berlin", "Ada", "train", seed)


def _game(family: str, seed: int = 4) -> Game:
    task = _task(family, seed)
    return new_game(task, task.seed, 16)


def _say(game: Game, *actions: str) -> str:
    return [step(game, action).observation for action in actions][-1]


def _outcome(game: Game, *actions: str) -> tuple[str, bool]:
    result = [step(game, action) for action in actions][-1]
    assert result.done
    assert result.reward == float(result.success)
    return result.observation, result.success


def test_goals_in_words() -> None:
    assert _task("day").goal == "a day trip to Berlin for Ada"
    assert _task("overnight", 5).goal == "Ada stays a night in Berlin near the office"
    assert (
        _task("three_days").goal
        == "three days in Berlin for Ada, a night near the office and a night near Corvex"
    )


@pytest.mark.parametrize(
    ("family", "actions"),
    [
        ("day", TO_BERLIN),
        ("overnight", [*TO_BERLIN, *HARBOUR]),
        ("partner", [*TO_BERLIN, *CASTLE]),
        ("three_days", [*TO_BERLIN, *HARBOUR, *CASTLE]),
        ("three_days", [*CASTLE, *HARBOUR, *TO_BERLIN]),
    ],
)
def test_the_right_bookings_make_a_trip(family: str, actions: list[str]) -> None:
    assert _outcome(_game(family), *actions, FINISH) == ("The trip is planned.", True)


def test_a_hotel_in_the_wrong_district_fails_the_trip_only_at_its_end() -> None:
    game = _game("overnight")
    assert _say(game, *TO_BERLIN, *CASTLE) == "Booked Carlton in Castle."
    assert _outcome(game, FINISH) == ("The trip fails: no hotel near Kontor.", False)


def test_a_later_booking_takes_the_place_of_the_oldest() -> None:
    assert _outcome(_game("overnight"), *TO_BERLIN, *CASTLE, *HARBOUR, FINISH)[1]
    assert not _outcome(_game("overnight"), *TO_BERLIN, *HARBOUR, *CASTLE, FINISH)[1]
    market = [call_text("hotels.search", district="Market"), call_text("book", name="Carlton")]
    assert _outcome(_game("three_days"), *TO_BERLIN, *market, *HARBOUR, *CASTLE, FINISH)[1]
    assert _outcome(_game("three_days"), *TO_BERLIN, *HARBOUR, *CASTLE, *market, FINISH) == (
        "The trip fails: no hotel near Kontor.",
        False,
    )


def test_everything_that_is_wrong_is_said() -> None:
    game = _game("dinner")
    other = next(name for name in game.offers.flights["Oslo"] if name != "Norda")
    _say(game, call_text("flights.search", city="Oslo"), call_text("book", name=other))
    wrong = game.offers.restaurants["Market"]["halal"]
    _say(game, call_text("restaurants.search", district="Market"), call_text("book", name=wrong))
    assert _outcome(game, FINISH)[0] == (
        f"The trip fails: the flight goes to Oslo, Ada does not fly {other}, no hotel near Kontor, "
        f"the dinner is not near Kontor, Ada does not eat at {wrong}."
    )
    assert shortcomings(_game("dinner")) == ["no flight", "no hotel near Kontor", "no dinner"]


def test_dinner_has_to_be_near_and_of_the_right_food() -> None:
    game = _game("dinner")
    table = game.offers.restaurants["Harbour"]["vegan"]
    said = _say(game, *TO_BERLIN, *HARBOUR, call_text("restaurants.search", district="Harbour"))
    assert said.startswith("Harbour near Kontor: ")
    assert f"vegan {table}" in said
    assert _say(game, call_text("book", name=table)) == f"Booked {table} in Harbour."
    assert _outcome(game, FINISH)[1]


def test_other_hotels_are_refused_and_not_booked() -> None:
    game = _game("overnight")
    _say(game, HARBOUR[0])
    other = next(name for name in game.offers.hotels["Harbour"] if name != "Carlton")
    assert _say(game, call_text("book", name=other)) == f"Ada refuses {other}."
    assert game.hotels == []
    assert game.refused == {other}


def test_what_a_trip_does_not_need_is_not_booked() -> None:
    game = _game("day")
    assert _say(game, *HARBOUR) == "This trip needs no hotel."
    table = game.offers.restaurants["Harbour"]["vegan"]
    search = call_text("restaurants.search", district="Harbour")
    assert _say(game, search, call_text("book", name=table)) == "This trip needs no dinner."
    assert (game.hotels, game.dinner) == ([], None)


def test_looking_things_up() -> None:
    assert _say(_game("overnight"), call_text("profile.read")) == "Ada flies Norda and eats vegan."
    assert _say(_game("overnight"), call_text("calendar.list")) == "Meeting at Kontor."
    assert _say(_game("partner"), call_text("calendar.list")) == "Meeting at Corvex."
    assert _say(_game("three_days"), call_text("calendar.list")) == "Meeting at Kontor and at Corvex."
    assert _say(_game("overnight"), HARBOUR[0]).startswith("Harbour near Kontor: ")
    assert _say(_game("overnight"), CASTLE[0]).startswith("Castle near Corvex: ")


def test_a_changed_meeting_is_at_one_of_two_places() -> None:
    places = set()
    for seed in range(20):
        game = _game("changed", seed)
        said = _say(game, call_text("calendar.list"))
        where = {"Meeting at Kontor.": HARBOUR, "Meeting at Corvex.": CASTLE}[said]
        assert _outcome(game, *TO_BERLIN, *where, FINISH)[1]
        places.add(said)
    assert len(places) == 2


def test_only_what_was_listed_last_can_be_booked() -> None:
    game = _game("overnight")
    result = step(game, call_text("book", name="Carlton"))
    assert (result.observation, result.valid) == ("Not on offer, search first.", False)
    _say(game, HARBOUR[0], call_text("hotels.search", district="Market"))
    assert _say(game, call_text("book", name="Carlton")) == "Booked Carlton in Market."
    assert set(on_offer(game).values()) == {"Market"}


def test_a_trip_that_is_not_finished_in_time_fails() -> None:
    task = _task("day")
    game = new_game(task, task.seed, 3)
    assert _outcome(game, *TO_BERLIN, call_text("calendar.list")) == (
        "Meeting at Kontor. The trip fails: not finished in time.",
        False,
    )
    assert _outcome(new_game(task, task.seed, 3), *TO_BERLIN, FINISH) == ("The trip is planned.", True)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("hotels in Harbour", ("not a JSON object",)),
        ("[1]", ("not a JSON object",)),
        ("[" * 100_000, ("not a JSON object",)),
        ('{"district":"Harbour"}', ('no "tool"',)),
        ('{"tool":7}', ('"tool" must be text, not a number',)),
        ('{"tool":"hotel.search"}', ('unknown tool "hotel.search", did you mean hotels.search?',)),
        ('{"tool":"xyzzy"}', (f'unknown tool "xyzzy", tools are {", ".join(TOOLS)}',)),
        ('{"tool":"trip.finish","now":true}', ('unknown argument "now"',)),
        ('{"tool":"book","name":["Astor"]}', ("name must be text, not a list",)),
        ('{"tool":"book","name":null}', ("name must be text, not null",)),
        ('{"tool":"flights.search","district":3}', ("missing argument city", 'unknown argument "district"')),
        (
            '{"tool":"flights.search","city":"Atlantis","day":1}',
            (
                'city "Atlantis" must be one of Berlin, Dublin, Lyon, Oslo, Porto, Prague, Turin, Vienna',
                'unknown argument "day"',
            ),
        ),
    ],
)
def test_every_fault_of_a_call_is_named_at_once(text: str, faults: tuple[str, ...]) -> None:
    assert read_call(text) == BadCall(faults)
    result = step(_game("day"), text)
    assert (result.observation, result.valid) == (f"Faulty call: {'; '.join(faults)}.", False)


def test_long_faulty_texts_are_cut_short() -> None:
    answer = step(_game("day"), json.dumps({"tool": "x" * 5000})).observation
    assert len(answer) < 200


def test_spaces_in_a_call_do_not_matter() -> None:
    assert read_call(' { "tool" : "book", "name": "Astor" } ') == Call("book", {"name": "Astor"})
    assert call_text("book", name="Astor") == '{"tool":"book","name":"Astor"}'


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists)
    | st.dictionaries(
        st.sampled_from(["tool", "name", "city", "district"]) | st.text(),
        st.sampled_from([*TOOLS, "Berlin", "Harbour"]) | st.none() | st.integers() | st.text(),
    )
)
def test_any_json_is_answered(value: object) -> None:
    call = read_call(json.dumps(value))
    assert call.faults if isinstance(call, BadCall) else set(call.arguments) == set(TOOLS[call.tool])
    result = step(_game("dinner"), json.dumps(value))
    assert result.observation
    assert not result.success


@given(st.sampled_from(["day", "dinner", "three_days"]), st.lists(st.integers(0, 10**6), max_size=15))
def test_admissible_calls_are_valid_and_no_search_tells_who_travels(family: str, picks: list[int]) -> None:
    game = _game(family)
    for number in picks:
        options = [action for action in admissible(game) if action != FINISH]
        result = step(game, options[number % len(options)])
        assert result.valid
        assert not result.done
    assert all("Norda" in names for names in game.offers.flights.values())
    assert all("Carlton" in names for names in game.offers.hotels.values())


def test_the_casebook_finds_the_turn_that_chose_the_hotel() -> None:
    actions = [*TO_BERLIN, *CASTLE, "nonsense", HARBOUR[0], call_text("calendar.list"), HARBOUR[1], FINISH]
    assert hotel_choices(_task("overnight"), actions, 16) == [
        HotelChoice(2, 3, "Carlton", "Castle", right=False, kept=False),
        HotelChoice(5, 7, "Carlton", "Harbour", right=True, kept=True),
    ]
    assert hotel_choices(_task("day"), [*TO_BERLIN, *HARBOUR, FINISH], 16) == []
    nights = hotel_choices(_task("three_days"), [*CASTLE, *HARBOUR], 16)
    assert [(choice.right, choice.kept) for choice in nights] == [(True, True), (True, True)]
