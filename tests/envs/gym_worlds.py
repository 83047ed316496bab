"""A small text game with the Gymnasium API: walk to the treasure along a corridor."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class Corridor(gymnasium.Env[str, str]):
    """Observations and actions are text; `info` lists what can be done."""

    observation_space = gymnasium.spaces.Text(100)
    action_space = gymnasium.spaces.Text(20)

    def __init__(self, length: int = 5) -> None:
        self.length = length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Any]:
        super().reset(seed=seed)
        self.place, self.treasure = 2, int(self.np_random.choice([0, self.length - 1]))
        return f"You are in room {self.place}.", self.info()

    def step(self, action: str) -> tuple[str, float, bool, bool, Any]:
        self.place += {"go west": -1, "go east": 1}[action]
        found = self.place == self.treasure
        text = "The treasure!" if found else f"You are in room {self.place}."
        return text, float(found), found, False, self.info() | {"success": found}

    def info(self) -> dict[str, Any]:
        moves = {"go west": self.place > 0, "go east": self.place < self.length - 1}
        return {"admissible_commands": [move for move, possible in moves.items() if possible]}


class Dial(gymnasium.Env[dict[str, Any], int]):
    """Observations are dictionaries, actions are numbered from 1, and their names come with `info`."""

    observation_space = gymnasium.spaces.Dict({"shown": gymnasium.spaces.Discrete(9)})
    action_space = gymnasium.spaces.Discrete(2, start=np.int64(1))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], Any]:
        super().reset(seed=seed)
        self.shown = 0
        return {"shown": 0, "wanted": 2}, {"action_names": ["up", "reset"]}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, Any]:
        self.shown = self.shown + 1 if action == 1 else 0
        return (
            {"shown": self.shown, "wanted": 2},
            0.5,
            self.shown == 2,
            False,
            {"action_names": ["up", "reset"]},
        )


gymnasium.register("sdar/Corridor-v0", Corridor, disable_env_checker=True)
gymnasium.register("sdar/Dial-v0", Dial, max_episode_steps=3)
