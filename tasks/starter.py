"""Makes a starter policy by warm start, and measures it on houses that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sdar.envs.household.demonstrations import Demonstration, demonstrate
from sdar.envs.household.handbook import handbook
from sdar.envs.household.house import house
from sdar.envs.registry import environment_factory
from sdar.policy.dialogue import Dialogue
from sdar.policy.model import Policy, load_policy, new_model, save_policy
from sdar.policy.tokenizer import train_tokenizer
from sdar.policy.warmstart import Lesson, WarmStartProgress, warm_start
from sdar.rl.statistics import wilson_interval
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import Skill, TaskSpec
from sdar.schemas.seeds import derive_seed
from sdar.skills.files import builtin_skills, parse_skill
from sdar.tasks.demonstrations import encode_demonstration, texts
from sdar.tasks.evaluate import PANEL_SEED, play_panel
from sdar.tasks.retrieve import skill_blocks

TOKENIZER_DEMONSTRATIONS = 6000
MEASURED_HOUSES = range(1, 9)
"""Target houses besides the default one on which a starter is measured."""
TASKS_PER_HOUSE = 32


def make_starter(folder: Path, config: RunConfig, report: Callable[[WarmStartProgress], None]) -> None:
    """Train a starter policy on demonstrations from training houses and write it to a folder.

    Args:
        folder: where the policy goes.
        config: `env`, `policy.max_tokens` and `warmstart` are read; `warmstart.seed` decides demonstrations,
            tokenizer and initial weights.
        report: called after every optimiser step.

    Raises:
        ConfigError: the environment has no demonstrations.
    """
    if config.env.name != "household":
        raise ConfigError(
            f"there is no warm start for environment {config.env.name!r}; allowed: household. "
            "Give policy.path a policy folder instead."
        )
    settings, limit = config.warmstart, config.policy.max_tokens
    seed = settings.seed

    def show(name: str, index: int) -> Demonstration:
        return demonstrate(index, derive_seed(seed, name), config.env.max_steps, settings.skill_share)

    samples = (text for i in range(TOKENIZER_DEMONSTRATIONS) for text in texts(show("tokenizer", i)))
    tokenizer = train_tokenizer(samples, settings.vocabulary)
    dialogue = Dialogue(tokenizer)
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
            encode_demonstration(dialogue, show("training", first + i), limit) for i in range(settings.batch)
        ]

    warm_start(model, batch, settings.steps, settings.learning_rate, report)
    save_policy(folder, model, tokenizer)


def measure_starter(folder: Path, config: RunConfig) -> list[dict[str, float | str]]:
    """Return the starter's success with and without retrieved skills, each with its 95 % interval.

    Measured on the panel of the default house with the built-in bank, and on a few tasks of each of eight
    other target houses with their handbooks. None of these houses was in the warm start.

    Args:
        folder: the starter policy.
        config: `env`, `skills` and `evaluation` are read.
    """
    policy = load_policy(folder, config.policy.device)
    default = _tasks(config, 0)[: config.evaluation.panel_size]
    others = [(_tasks(config, number)[:TASKS_PER_HOUSE], _bank(number)) for number in MEASURED_HOUSES]
    rows = []
    for label, houses in (
        ("default house", [(default, builtin_skills("household"))]),
        (f"houses {MEASURED_HOUSES.start}-{MEASURED_HOUSES.stop - 1}", others),
    ):
        for with_skills in (False, True):
            wins = [
                won
                for tasks, bank in houses
                for won in _outcomes(policy, config, tasks, bank if with_skills else ())
            ]
            interval = wilson_interval(sum(wins), len(wins))
            rows.append(
                {
                    "houses": label,
                    "skills": "with" if with_skills else "without",
                    "tasks": len(wins),
                    "success": sum(wins) / len(wins),
                    "low": interval.low,
                    "high": interval.high,
                }
            )
    return rows


def _tasks(config: RunConfig, number: int) -> list[TaskSpec]:
    env = config.env.model_copy(update={"house": number})
    return list(environment_factory(env.name)(env).tasks(env.panel_split))


def _bank(number: int) -> list[Skill]:
    return [parse_skill(text, Path(name) / "SKILL.md") for name, text in handbook(house(number)).items()]


def _outcomes(
    policy: Policy, config: RunConfig, tasks: Sequence[TaskSpec], bank: Sequence[Skill]
) -> list[bool]:
    blocks = {}
    if bank:
        found = skill_blocks(tasks, bank, config.skills, policy.dialogue, PANEL_SEED)
        blocks = {task_id: block.text for task_id, block in found.items()}
    return [episode.success for episode in play_panel(config, policy, tasks, blocks)]
