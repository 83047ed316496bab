"""Makes a starter policy by warm start, and measures it in worlds that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdar.envs.demonstration import Demonstrates, Demonstration, HasOthers
from sdar.envs.registry import environment_factory, environment_kind
from sdar.policy.dialogue import StarterDialogue
from sdar.policy.model import Policy, load_policy, new_model, save_policy
from sdar.policy.tokenizer import train_tokenizer
from sdar.policy.warmstart import Lesson, WarmStartProgress, warm_start
from sdar.rl.statistics import wilson_interval
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import Skill
from sdar.schemas.seeds import PANEL_SEED, derive_seed
from sdar.skills.files import parse_skill
from sdar.tasks.bank import read_skills
from sdar.tasks.demonstrations import encode_demonstration, texts
from sdar.tasks.evaluate import play_panel
from sdar.tasks.retrieve import skill_blocks

TOKENIZER_DEMONSTRATIONS = 6000
TASKS_PER_OTHER = 32
"""Tasks of each other world on which a starter is measured."""


def demonstrating(config: RunConfig) -> Demonstrates:
    """Return the configured environment if a starter policy can be made for it.

    Raises:
        ConfigError: it has no demonstrations.
    """
    world = environment_factory(config.env.name)(config.env)
    if isinstance(world, Demonstrates):
        return world
    raise ConfigError(
        f"there is no warm start for environment {config.env.name!r}: it shows no demonstrations. Allowed: "
        "--set policy.path=FOLDER with a policy, or an environment with a method `demonstration`, see "
        "docs/environments.md"
    )


def make_starter(folder: Path, config: RunConfig, report: Callable[[WarmStartProgress], None]) -> None:
    """Train a starter policy on an environment's demonstrations and write it to a folder.

    Args:
        folder: where the policy goes.
        config: `env`, `policy.max_tokens` and `warmstart` are read; `warmstart.seed` decides demonstrations,
            tokenizer and initial weights.
        report: called after every optimiser step.

    Raises:
        ConfigError: the environment has no demonstrations.
    """
    world, names = demonstrating(config), environment_kind(config.env.name).names
    settings, limit = config.warmstart, config.policy.max_tokens
    seed = settings.seed

    def show(name: str, index: int) -> Demonstration:
        return world.demonstration(index, derive_seed(seed, name), settings.skill_share)

    samples = (text for i in range(TOKENIZER_DEMONSTRATIONS) for text in texts(show("tokenizer", i)))
    tokenizer = train_tokenizer(samples, settings.vocabulary, names)
    dialogue = StarterDialogue(tokenizer)
    model = new_model(
        tokenizer.get_vocab_size(),
        derive_seed(seed, "weights"),
        settings.hidden,
        settings.layers,
        settings.heads,
        limit,
    )

    def batch(step: int) -> list[Lesson]:
        first = step * settings.batch
        return [
            encode_demonstration(dialogue, show("training", first + i), limit, settings.prompt_weight)
            for i in range(settings.batch)
        ]

    warm_start(model, batch, settings, report)
    save_policy(folder, model, dialogue)


@dataclass(frozen=True)
class _Measured:
    """Worlds whose tasks are counted together: configuration, number of tasks and bank of each."""

    label: str
    worlds: Sequence[tuple[RunConfig, int, Sequence[Skill]]]


def measure_starter(folder: Path, config: RunConfig) -> list[dict[str, float | str]]:
    """Return the starter's success with and without retrieved skills, each with its 95 % interval.

    Measured on the environment's panel with the configured bank, and on a few tasks of each of its other
    worlds, where it has some, with their own skills. None of them was in the warm start.

    Args:
        folder: the starter policy.
        config: `env`, `policy`, `rollout`, `skills` and `evaluation` are read.
    """
    policy = load_policy(folder, config.policy.device)
    return [row for measured in _measured(config) for row in _rows(policy, measured)]


def _measured(config: RunConfig) -> Iterator[_Measured]:
    yield _Measured("panel", [(config, config.evaluation.panel_size, read_skills(config))])
    world = environment_factory(config.env.name)(config.env)
    others = world.others() if isinstance(world, HasOthers) else []
    if others:
        banks = [[_skill(name, text) for name, text in other.skills.items()] for other in others]
        envs = [config.env.model_copy(update=dict(other.settings)) for other in others]
        configs = [config.model_copy(update={"env": env}) for env in envs]
        worlds = [(each, TASKS_PER_OTHER, bank) for each, bank in zip(configs, banks, strict=True)]
        yield _Measured(f"{len(others)} other worlds", worlds)


def _skill(name: str, text: str) -> Skill:
    return parse_skill(text, Path(name) / "SKILL.md")


def _rows(policy: Policy, measured: _Measured) -> Iterator[dict[str, float | str]]:
    has_skills = any(bank for _, _, bank in measured.worlds)
    for with_skills in (False, True) if has_skills else (False,):
        wins = [
            won
            for config, count, bank in measured.worlds
            for won in _outcomes(policy, config, count, bank if with_skills else ())
        ]
        interval = wilson_interval(sum(wins), len(wins))
        yield {
            "tasks_of": measured.label,
            "skills": "with" if with_skills else "without",
            "tasks": len(wins),
            "success": sum(wins) / len(wins),
            "low": interval.low,
            "high": interval.high,
        }


def _outcomes(policy: Policy, config: RunConfig, count: int, bank: Sequence[Skill]) -> list[bool]:
    env, blocks = config.env, dict[str, str]()
    tasks = list(environment_factory(env.name)(env).tasks(env.panel_split))[:count]
    if bank:
        found = skill_blocks(tasks, bank, config.skills, policy.dialogue, PANEL_SEED)
        blocks = {task_id: block.text for task_id, block in found.items()}
    return [episode.success for episode in play_panel(config, policy, tasks, blocks)]
