# %% [markdown]
# # An environment of your own
#
# A storeroom with eight shelves. Every kind of thing has its shelf; nobody tells the agent which, and it may
# look twice. Eight skills know. What follows makes the world, its skills and a small model that can read, and
# lets the model learn where things are. The world itself is the second cell.
#
# `python examples/own_environment.py [STORE]` does it all.

# %%
from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import sdar
from sdar.envs.base import Demonstrator, EnvironmentKind, StepResult
from sdar.envs.demonstration import DemonstratedTurn, Demonstration
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import generator

STORE = Path(sys.argv[1] if len(sys.argv) > 1 else "sdar-store-storeroom")

# %% The world
COLOURS = ("red", "blue", "green", "white", "black", "grey", "brown", "pink", "gold", "plain", "old", "new")
THINGS = ("cups", "lamps", "ropes", "bells", "masks", "tents", "maps", "drums")
LOOKS = tuple(f"look on shelf {number}" for number in range(1, 9))
HERE = dict(zip(THINGS, (4, 7, 2, 1, 8, 6, 3, 5), strict=True))  # hidden; only the skills tell it
PAIRS = [(colour, thing) for colour in COLOURS for thing in THINGS]


class Storeroom:
    name = "storeroom"

    def __init__(self, shelf: dict[str, int]) -> None:
        self.shelf, self.thing, self.done = shelf, "", True

    def splits(self) -> Sequence[str]:
        return ("train", "unseen")

    def tasks(self, split: str) -> Sequence[TaskSpec]:  # every third pair is never trained on
        held_out = [(i % 3 == 0, pair) for i, pair in enumerate(PAIRS)]
        return [self.task(split, *pair) for unseen, pair in held_out if unseen == (split == "unseen")]

    def task(self, split: str, colour: str, thing: str) -> TaskSpec:
        goal, own = f"fetch the {colour} {thing}", {"thing": thing}
        name = f"{split}-{colour}-{thing}"
        return TaskSpec(
            id=name, environment=self.name, split=split, type="fetch", goal=goal, seed=0, payload=own
        )

    def reset(self, task: TaskSpec, seed: int) -> str:
        self.thing, self.done = task.payload["thing"], False
        return "you are in the storeroom"

    def step(self, action: str) -> StepResult:
        self.done, valid = action == self.next_action(), action in LOOKS
        seen = f"{'the' if self.done else 'no'} {self.thing} are {action[5:]}" if valid else "nothing happens"
        return StepResult(seen, float(self.done), self.done, success=self.done, valid=valid)

    def actions(self) -> Sequence[str] | None:
        return LOOKS

    def expert(self) -> Demonstrator | None:
        return self

    def next_action(self) -> str:
        return LOOKS[self.shelf[self.thing] - 1]

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        rng = generator(seed, "storeroom", index)
        world = Storeroom({thing: int(rng.integers(1, 9)) for thing in THINGS})  # not the one above
        task, told = world.task("none", *PAIRS[rng.integers(len(PAIRS))]), rng.random() < skill_share
        observation, turns = world.reset(task, 0), []
        for look in [world.next_action()] if told else [str(look) for look in rng.permutation(LOOKS)[:2]]:
            turns.append(DemonstratedTurn(observation, look, learn=True))
            observation = world.step(look).observation
            if world.done:
                break
        others = [thing for thing in rng.permutation(THINGS) if thing != world.thing][:3]
        facts = [f"The {thing} are kept on shelf {world.shelf[thing]}." for thing in [world.thing, *others]]
        return Demonstration("\n".join(rng.permutation(facts)) if told else "", task.goal, tuple(turns))


# %% [markdown]
# Its knowledge is a folder of skills, one file per fact.

# %%
SKILL = """---
name: home-of-{thing}
description: Where the {thing} are kept.
metadata:
  environment: storeroom
  task_types: [fetch]
---
The {thing} are kept on shelf {shelf}.
"""
for thing, shelf in HERE.items():
    folder = STORE.with_name(f"{STORE.name}-skills") / f"home-of-{thing}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_text(SKILL.format(thing=thing, shelf=shelf))

# %% [markdown]
# Registering makes it known by name. `settings` are what suits this world: the warm start makes a tiny model
# that has read about other storerooms than this one, so it can read a skill and knows no shelf.

# %%
sdar.register_environment(
    EnvironmentKind(
        "storeroom",
        "Fetch things from eight shelves; which thing lies where is hidden.",
        load=lambda: lambda config: Storeroom(HERE),
        names="|".join([r"shelf \d+", *THINGS]),  # one token each, wherever they stand
        settings={
            "env.max_steps": 2,
            "skills.path": str(STORE.with_name(f"{STORE.name}-skills")),
            "policy.max_tokens": 160,
            "warmstart.steps": 400,
            "warmstart.hidden": 32,
            "warmstart.layers": 2,
            "warmstart.heads": 2,
            "warmstart.vocabulary": 512,
            "warmstart.optimizer": "muon",
            "warmstart.learning_rate": 1e-2,
            "warmstart.prompt_weight": 0.0,
            "rollout.tasks": 32,
            "evaluation.panel_size": 32,
            "evaluation.every": 4,
            "update.learning_rate": 1e-2,
            "update.minibatch": 8,
        },
    )
)

# %%
result = sdar.improve({"env.name": "storeroom", "policy.threads": 1}, store=STORE, rounds=8)
print(result.verdict.sentence)
for measured in result.learning_curve:
    success, interval = f"{measured.success:.0%}", f"[{measured.low:.0%}, {measured.high:.0%}]"
    print(f"round {measured.round}: {success} {interval} without skills")
