"""What stage `distill` works with: the training episodes of a few rounds, and the bank as it changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sdar.schemas.config import DistillConfig, RunConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.records import Episode, Skill, SkillState, SkillTrial, TaskSpec, TeacherContext
from sdar.schemas.seeds import derive_seed
from sdar.skills.retirement import BY_HAND
from sdar.skills.writers import Candidate
from sdar.tasks.stage import StageInputs

EPISODES, CONTEXTS, SELECTION = "episodes_", "contexts_", "selection_"
"""Roles of a round's artifacts, before the number of the round."""
SPLIT_SEED = 20_260_607
"""Decides which tasks are held out: the same for all runs, so that a task never changes sides."""


@dataclass(frozen=True)
class Material:
    """Training episodes of a few rounds in order, their tasks by id, and their contexts by episode id.

    `kept` are the ids of the episodes that were selected to learn from; all where nothing was selected.
    """

    episodes: Sequence[Episode]
    tasks: Mapping[str, TaskSpec]
    contexts: Mapping[str, TeacherContext]
    kept: frozenset[str]
    share: float

    def goals(self) -> dict[str, str]:
        """Return the goals by task id."""
        return {task.id: task.goal for task in self.tasks.values()}

    def sources(self) -> list[Episode]:
        """Return the episodes from which skills may be written."""
        return [e for e in self.episodes if e.id in self.kept and not held_out(e.task_id, self.share)]

    def held_out(self) -> list[Episode]:
        """Return the episodes on which skills are tried; none of them is a source."""
        return [e for e in self.episodes if held_out(e.task_id, self.share)]


@dataclass(frozen=True)
class Book:
    """A bank on the way to its next version: all skills in order, and their states by skill id."""

    skills: tuple[Skill, ...]
    states: Mapping[str, SkillState] = field(default_factory=dict)

    def active(self) -> list[Skill]:
        """Return the skills that are retrieved."""
        return [skill for skill in self.skills if not self.state(skill).retired]

    def state(self, skill: Skill) -> SkillState:
        """Return what is known of a skill."""
        unknown = SkillState(skill_id=skill.id, evidence=skill.parents, retired=False, reason="")
        return self.states.get(skill.id, unknown)

    def change(self, skill: Skill, **changes: object) -> Book:
        """Return the book with another state of one skill."""
        state = self.state(skill).model_copy(update=changes)
        return replace(self, states={**self.states, skill.id: state})

    def retire(self, skill: Skill, reason: str) -> Book:
        """Return the book with a skill retired."""
        return self.change(skill, retired=True, reason=reason)

    def add(self, skill: Skill) -> Book:
        """Return the book with a new skill; an active one of its name gives way to it."""
        book = self
        for old in self.active():
            if old.name == skill.name:
                book = book.retire(old, f"Replaced by version {skill.version}.")
        return replace(book, skills=(*book.skills, skill)).change(skill)


def held_out(task_id: str, share: float) -> bool:
    """Say whether a task is kept for trials; `share` of all tasks are, in (0, 1)."""
    return derive_seed(SPLIT_SEED, task_id) < share * 2**63


def read_material(inputs: StageInputs) -> Material:
    """Return the episodes of the rounds whose artifacts the stage was given.

    Raises:
        CheckFailedError: an episode is not of a training task; evaluation must not feed the bank.
    """
    store, config = inputs.store, inputs.config
    episodes: list[Episode] = []
    tasks: dict[str, TaskSpec] = {}
    contexts: dict[str, TeacherContext] = {}
    left_out: set[str] = set()
    for number in range(inputs.round + 1):
        if f"{EPISODES}{number}" not in inputs.artifacts:
            continue
        collected = inputs.artifacts[f"{EPISODES}{number}"]
        episodes += store.episodes(collected)
        tasks |= {task.id: task for task in store.tasks(collected)}
        contexts |= {c.episode_id: c for c in store.contexts(inputs.artifacts[f"{CONTEXTS}{number}"])}
        if f"{SELECTION}{number}" in inputs.artifacts:
            selected = store.selections(inputs.artifacts[f"{SELECTION}{number}"])
            left_out |= {each.episode_id for each in selected if not each.kept}
    check_training(tasks.values(), config)
    kept = frozenset(episode.id for episode in episodes) - left_out
    return Material(episodes, tasks, contexts, kept, config.distill.held_out)


def check_training(tasks: Iterable[TaskSpec], config: RunConfig) -> None:
    """Check that all tasks are of the training split, and that this is not the panel's.

    Raises:
        CheckFailedError: one is not.
    """
    split, panel = config.env.train_split, config.env.panel_split
    strange = next((task for task in tasks if task.split != split or split == panel), None)
    if strange is not None:
        raise CheckFailedError(
            f"skills may be written from training tasks only (env.train_split {split!r}, which must differ "
            f"from env.panel_split {panel!r}), found {strange.id} of split {strange.split!r}. "
            "Turn distilling off with --set distill.every=0, or name two splits."
        )


def open_book(skills: Sequence[Skill], states: Sequence[SkillState], config: DistillConfig) -> Book:
    """Return the bank as it is before anything is tried: stored states, then what the user decided.

    `distill.restore` brings the latest retired skill of a name back where none of that name is active.
    """
    book = Book(tuple(skills), {state.skill_id: state for state in states})
    for name in names(config.restore):
        mine = [skill for skill in book.skills if skill.name == name]
        if mine and not any(skill in book.active() for skill in mine):
            book = book.change(mine[-1], retired=False, reason="Restored: distill.restore names it.")
    reasons = retired_by_hand(config.retire)
    for skill in book.active():
        if skill.name in reasons:
            book = book.retire(skill, f"{BY_HAND}{reasons[skill.name]}")
    return book


def retired_by_hand(text: str) -> dict[str, str]:
    """Return why the skills that `distill.retire` names are retired, by name.

    Args:
        text: names with commas; a group of them may have a reason after a colon, and groups have semicolons
            between them: `what-cools: The freezer broke.; home-of-cup, home-of-pan`.
    """
    reasons: dict[str, str] = {}
    for group in text.split(";"):
        listed, _, reason = group.partition(":")
        told = " ".join(reason.split()) or "distill.retire names it."
        reasons |= dict.fromkeys(names(listed), told)
    return reasons


def retire_setting(reasons: Mapping[str, str]) -> str:
    """Return what `distill.retire` must be for these reasons by name; see `retired_by_hand`."""
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


def names(text: str) -> list[str]:
    """Return the names in a text with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def trial_record(
    candidate: Candidate,
    verdict: Literal["admitted", "refused", "merged", "kept", "retired"],
    reason: str,
    numbers: Mapping[str, float | int | None] | None = None,
) -> SkillTrial:
    """Return what is stored of a trial.

    Args:
        candidate: the skill, and how many episodes say the same and something else.
        verdict: what came of it.
        reason: why, in one sentence.
        numbers: what was measured, by the names in `SkillTrial`.
    """
    skill = candidate.skill
    return SkillTrial.model_validate(
        {
            **skill.model_dump(include={"name", "description", "task_types", "body", "source", "parents"}),
            "skill_id": skill.id,
            "support": candidate.support,
            "contradictions": candidate.contradictions,
            "verdict": verdict,
            "reason": reason,
            **(numbers or {}),
        }
    )
