# %% [markdown]
# # A reward of your own
#
# The household pays 1 for a goal that is reached, however long it took. Here a step costs something, so of
# two successes the shorter one is worth more. A reward is a function of an episode, which has the turns with
# their observations and actions, and of its task.
#
# `python examples/own_reward.py [STORE]` runs it for two short rounds, to show how it is done. They prove
# nothing: for that take away the small settings, and compare over seeds.

# %%
from __future__ import annotations

import sys

import sdar
from sdar.schemas.records import Episode, TaskSpec

STORE = sys.argv[1] if len(sys.argv) > 1 else "sdar-store-reward"


# %%
def brisk(episode: Episode, task: TaskSpec) -> float:
    """1 for a success, less 0.03 for every turn, and less 0.1 for every one that was no action."""
    invalid = sum(not turn.valid for turn in episode.turns)
    return float(episode.success) - 0.03 * len(episode.turns) - 0.1 * invalid


# %% [markdown]
# It is named, not passed: the store keeps the name and a hash of this file with every stage that it entered,
# so that a changed reward is computed anew and an unchanged one is not. In a project of yours it would stand
# in a module, and `sdar run --set reward.function=my_package.rewards:brisk` takes it too.

# %%
small = {"rollout.tasks": 4, "evaluation.panel_size": 8, "evaluation.with_skills": False, "policy.threads": 1}
result = sdar.improve({"reward.function": f"{__name__}:brisk", **small}, store=STORE, rounds=2)

# %% [markdown]
# Success stays the environment's word. The episodes' returns are what `brisk` gave.

# %%
store = sdar.open_store(result.store)
for row in store.episodes(round=1).select(["task_type", "success", "episode_return"]).to_pylist():
    print(f"{row['task_type']:<20} {'solved' if row['success'] else 'failed'} {row['episode_return']:+.2f}")
print(store.sql("SELECT round, mean_return, mean_turns FROM round_summary WHERE round > 0").to_pylist())
