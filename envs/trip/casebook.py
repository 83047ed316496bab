"""Case studies: which turn of an episode chose the hotel, and whether its district was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdar.envs.trip.calls import Call, read_call
from sdar.envs.trip.game import new_game, step
from sdar.schemas.records import TaskSpec


@dataclass(frozen=True)
class HotelChoice:
    """One hotel that an episode booked.

    Attributes:
        searched: index of the turn that chose the district: the search whose list the hotel is from.
        booked: index of the turn that booked it.
        hotel: its name.
        district: where it is.
        right: whether a meeting of the trip is in that district.
        kept: whether no later booking took its place, so that the end of the trip judged it.
    """

    searched: int
    booked: int
    hotel: str
    district: str
    right: bool
    kept: bool


def hotel_choices(task: TaskSpec, actions: Sequence[str], max_steps: int) -> list[HotelChoice]:
    """Return every hotel booking of an episode, first to last.

    Args:
        task: the episode's task.
        actions: the episode's actions, first to last.
        max_steps: `env.max_steps` of the run.
    """
    game = new_game(task, task.seed, max_steps)
    wanted = {meeting.district for meeting in game.meetings}
    searched, found = -1, []
    for turn, action in enumerate(actions):
        call, booked = read_call(action), game.hotels
        step(game, action)
        if isinstance(call, Call) and call.tool == "hotels.search":
            searched = turn
        elif game.hotels is not booked:
            hotel = game.hotels[-1]
            found.append((searched, turn, hotel))
    first_kept = len(found) - len(game.hotels)
    return [
        HotelChoice(search, turn, hotel.name, hotel.where, hotel.where in wanted, number >= first_kept)
        for number, (search, turn, hotel) in enumerate(found)
    ]
