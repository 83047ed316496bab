"""Does a skill raise the teacher? Tried on held-out training tasks that it plays, and on episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sdar.envs.registry import environment_factory
from sdar.policy.rows import episode_rows
from sdar.rl.statistics import PairedDifference, mean_interval, paired_bootstrap
from sdar.schemas.records import Episode, Skill, SkillLift, TaskSpec
from sdar.schemas.seeds import derive_seed, generator
from sdar.skills.context import SkillBlock, skill_line
from sdar.skills.similarity import embed_bank
from sdar.skills.text import match_text, words
from sdar.skills.usefulness import skill_lift
from sdar.tasks.bank import needs_vectors, stage_embedder
from sdar.tasks.collect import play
from sdar.tasks.material import Book, Material, held_out
from sdar.tasks.retrieve import first_observation, skill_blocks, teacher_prompt
from sdar.tasks.rollout import Assignment
from sdar.tasks.score import score_episodes, teacher_policy
from sdar.tasks.stage import StageInputs

Retrieval = Callable[[Sequence[TaskSpec]], dict[str, SkillBlock]]
"""The skill blocks of tasks, by task id."""
Told = tuple[str, str]
"""A task or an episode by id, and the text of the skill block that the teacher reads."""


@dataclass(frozen=True)
class Question:
    """A skill, and the two banks whose difference it is."""

    skill: Skill
    having: Sequence[Skill]
    lacking: Sequence[Skill]


@dataclass(frozen=True)
class Tryout:
    """What was measured, see `SkillTrial`: `outcomes` are (without, with) by task, lifts are in nats."""

    outcomes: tuple[tuple[bool, bool], ...]
    successes: tuple[float, ...]
    failures: tuple[float, ...]
    seed: int

    def numbers(self) -> dict[str, float | int | None]:
        """Return the numbers of the trial by their names in `SkillTrial`; what has no value is absent."""
        found: dict[str, float | int | None] = {
            "tasks": len(self.outcomes), "wins_with": sum(after for _, after in self.outcomes),
            "wins_without": sum(before for before, _ in self.outcomes), "successes": len(self.successes),
            "failures": len(self.failures),
        }  # fmt: skip
        if self.outcomes:
            paired = self._paired()
            found |= {"difference": paired.difference, "low": paired.low, "high": paired.high}
        if self.successes:
            mean = mean_interval(self.successes)
            found |= {"lift_success": mean.mean, "lift_low": mean.low, "lift_high": mean.high}
        if self.failures:
            found["lift_failure"] = float(np.mean(self.failures))
        return found

    def played(self) -> str:
        """Return the verdict of the paired bootstrap, `not distinguishable` where nothing was played."""
        if not self.outcomes:
            return "not distinguishable"
        return self._paired().verdict

    def _paired(self) -> PairedDifference:
        before, after = zip(*self.outcomes, strict=True)
        return paired_bootstrap(before, after, self.seed)


def retrieval(inputs: StageInputs, skills: Sequence[Skill]) -> Retrieval:
    """Return what gives tasks their blocks from a bank; empty and generic blocks are let through."""
    config, dialogue = inputs.config, inputs.policy().dialogue
    lenient = config.skills.model_copy(update={"allow_empty": True, "allow_generic": True})
    near = embed_bank(skills, stage_embedder(inputs, skills)) if skills and needs_vectors(config) else None
    return lambda tasks: skill_blocks(tasks, skills, lenient, dialogue, inputs.seed, similarity=near)


def try_out(inputs: StageInputs, material: Material, questions: Sequence[Question]) -> list[Tryout]:
    """Measure what each of some skills changes.

    On tasks: those of the training split that are held out, of the skill's types, and whose block holds the
    skill; the teacher plays each with the one bank and with the other, and with the same random numbers. On
    episodes: the held-out ones of the last rounds for which the same is true.
    """
    config = inputs.config
    split = environment_factory(config.env.name)(config.env).tasks(config.env.train_split)
    tasks = [task for task in split if held_out(task.id, config.distill.held_out)]
    lacking = {tuple(q.lacking): retrieval(inputs, q.lacking) for q in questions}
    told = []
    for question in questions:
        mine, other = retrieval(inputs, question.having), lacking[tuple(question.lacking)]
        played = _tasks(inputs, tasks, question.skill, mine) if config.distill.trial == "play" else []
        episodes = [e for e in material.held_out() if _concerns(question.skill, e.task_type)]
        met = _holding(
            question.skill, mine, [material.tasks[id_] for id_ in {e.task_id: 0 for e in episodes}]
        )
        own = [episode for episode in episodes if episode.task_id in {task.id for task in met}]
        sample = _sample(inputs, own, question.skill)
        told.append((_pairs(played, mine, other), _episode_pairs(sample, material, mine, other)))
    wins = _play(
        inputs, {task.id: task for task in tasks}, [p for played, _ in told for pair in played for p in pair]
    )
    logprobs = mean_logprobs(
        inputs, material, [pair for _, scored in told for both in scored for pair in both]
    )
    success = {episode.id: episode.success for episode in material.episodes}
    return [
        _tryout(inputs, q, *parts, wins, logprobs, success) for q, parts in zip(questions, told, strict=True)
    ]


def _tryout(
    inputs: StageInputs,
    question: Question,
    played: Sequence[tuple[Told, Told]],
    scored: Sequence[tuple[Told, Told]],
    wins: Mapping[Told, bool],
    logprobs: Mapping[Told, float],
    success: Mapping[str, bool],
) -> Tryout:
    lifts = [(success[after[0]], logprobs[after] - logprobs[before]) for before, after in scored]
    return Tryout(
        tuple((wins[before], wins[after]) for before, after in played),
        tuple(lift for won, lift in lifts if won),
        tuple(lift for won, lift in lifts if not won),
        derive_seed(inputs.seed, "trial", question.skill.id),
    )


def _concerns(skill: Skill, task_type: str) -> bool:
    return not skill.task_types or task_type in skill.task_types


def _holding(skill: Skill, blocks: Retrieval, tasks: Sequence[TaskSpec]) -> list[TaskSpec]:
    found = blocks(tasks)
    return [task for task in tasks if skill.id in {used.skill_id for used in found[task.id].used}]


def _tasks(inputs: StageInputs, tasks: Sequence[TaskSpec], skill: Skill, blocks: Retrieval) -> list[TaskSpec]:
    """Return tasks to try a skill on, drawn at random; those that share a word with it come first."""
    own, wanted = [task for task in tasks if _concerns(skill, task.type)], inputs.config.distill.trial_tasks
    order = generator(inputs.seed, "trial", skill.id).permutation(len(own))
    text = set(words(match_text(skill)))
    drawn = sorted((own[i] for i in order), key=lambda task: text.isdisjoint(words(task.goal)))
    found: list[TaskSpec] = []
    for start in range(0, len(drawn), 4 * wanted):
        found += _holding(skill, blocks, drawn[start : start + 4 * wanted])
        if len(found) >= wanted:
            break
    return found[:wanted]


def _pairs(tasks: Sequence[TaskSpec], mine: Retrieval, other: Retrieval) -> list[tuple[Told, Told]]:
    before, after = other(tasks), mine(tasks)
    return [((task.id, before[task.id].text), (task.id, after[task.id].text)) for task in tasks]


def _episode_pairs(
    episodes: Sequence[Episode], material: Material, mine: Retrieval, other: Retrieval
) -> list[tuple[Told, Told]]:
    tasks = [material.tasks[id_] for id_ in {episode.task_id: 0 for episode in episodes}]
    before, after = other(tasks), mine(tasks)
    return [((e.id, before[e.task_id].text), (e.id, after[e.task_id].text)) for e in episodes]


def _sample(inputs: StageInputs, episodes: Sequence[Episode], skill: Skill) -> list[Episode]:
    """Return at most `lift_sample` successful and as many failed episodes that have actions."""
    usable = [episode for episode in episodes if episode.action_mask.any()]
    order = generator(inputs.seed, "lift", skill.id).permutation(len(usable))
    drawn = [usable[i] for i in order]
    most = inputs.config.distill.lift_sample
    won, lost = [e for e in drawn if e.success], [e for e in drawn if not e.success]
    return [*won[:most], *lost[:most]]


def _play(inputs: StageInputs, tasks: Mapping[str, TaskSpec], told: Sequence[Told]) -> dict[Told, bool]:
    """Let the teacher play each task under each block once, with random numbers of the task alone."""
    config, policy = inputs.config, teacher_policy(inputs, inputs.config.sdar.teacher)
    unique = list(dict.fromkeys(told))
    assignments = [
        Assignment(tasks[task_id], place, 0, derive_seed(inputs.seed, task_id), text)
        for place, (task_id, text) in enumerate(unique)
    ]
    # As many at a time as a round collects: what fits into memory there fits here.
    size = config.rollout.tasks * config.rollout.group_size
    won = [
        episode.success
        for start in range(0, len(assignments), size)
        for episode in play(config, policy, assignments[start : start + size], config.rollout.temperature)
    ]
    return dict(zip(unique, won, strict=True))


def mean_logprobs(inputs: StageInputs, material: Material, told: Sequence[Told]) -> dict[Told, float]:
    """Return the teacher's mean log-prob of the action tokens of episodes under skill blocks, in nats."""
    dialogue, unique = inputs.policy().dialogue, list(dict.fromkeys(told))
    episodes = {episode.id: episode for episode in material.episodes}
    rows = []
    for episode_id, text in unique:
        episode = episodes[episode_id]
        prompt = teacher_prompt(episode, material.tasks[episode.task_id].goal, text, dialogue)
        rows.append(episode_rows(episode, prompt, first_observation(episode, dialogue)))
    policy = teacher_policy(inputs, inputs.config.sdar.teacher)
    scores = score_episodes(policy, rows, inputs.config.rollout.temperature, keep_hidden=False)
    means = [float(score.logprobs.mean(dtype=np.float64)) for score in scores]
    return dict(zip(unique, means, strict=True))


def bank_lifts(inputs: StageInputs, material: Material, book: Book) -> list[SkillLift]:
    """Return the counterfactual lifts of the active skills that episodes of both outcomes were given.

    The teacher scores each sampled episode with the block that it had, and with that block less the one
    skill; nothing takes its place.
    """
    bodies = {skill.id: skill_line(skill.body) for skill in book.skills}
    sampled: dict[str, list[tuple[Episode, Told, Told]]] = {}
    for skill in book.active():
        users = [e for e in material.episodes if skill.id in _used(material, e)]
        sampled[skill.id] = [
            (e, (e.id, _block(material, e, bodies)), (e.id, _block(material, e, bodies, skill.id)))
            for e in _sample(inputs, users, skill)
        ]
    told = [one for drawn in sampled.values() for _, *both in drawn for one in both]
    logprobs = mean_logprobs(inputs, material, told)
    lifts = []
    for skill_id, drawn in sampled.items():
        won = [logprobs[full] - logprobs[less] for episode, full, less in drawn if episode.success]
        lost = [logprobs[full] - logprobs[less] for episode, full, less in drawn if not episode.success]
        if won and lost:
            lifts.append(skill_lift(skill_id, won, lost))
    return lifts


def _used(material: Material, episode: Episode) -> list[str]:
    return [used.skill_id for used in material.contexts[episode.id].skills]


def _block(material: Material, episode: Episode, bodies: Mapping[str, str], less: str = "") -> str:
    return "\n".join(bodies[skill_id] for skill_id in _used(material, episode) if skill_id != less)
