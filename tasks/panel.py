"""Stage `panel`: the frozen tasks that every policy of every run is evaluated on."""

from __future__ import annotations

from sdar.envs.registry import environment_factory
from sdar.schemas.errors import ConfigError
from sdar.tasks.stage import Stage, StageInputs, StageOutput


def run(inputs: StageInputs) -> StageOutput:
    """Store the first `panel_size` tasks of the panel split; no seed enters, so all runs share the panel."""
    env, size = inputs.config.env, inputs.config.evaluation.panel_size
    if env.panel_split == env.train_split:
        raise ConfigError(
            f"env.panel_split and env.train_split are both {env.panel_split!r}; the panel must not be "
            "trained on. Set env.panel_split=unseen"
        )
    tasks = environment_factory(env.name)(env).tasks(env.panel_split)
    if len(tasks) < size:
        raise ConfigError(
            f"evaluation.panel_size is {size}, but split {env.panel_split!r} has {len(tasks)} tasks; "
            f"set evaluation.panel_size={len(tasks)} or less"
        )
    return StageOutput(
        kind="panel",
        rows={"panel": list(tasks[:size])},
        summary={"tasks": float(size), "split": env.panel_split},
    )


STAGE = Stage("panel", 1, ("env", "evaluation.panel_size"), run, seeded=False)
