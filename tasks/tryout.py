"""Does a skill raise the teacher? Tried on held-out training tasks that it plays, and on episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sdar.envs.registry import environment_factory
from sdar.policy.memory import token_budget
from sdar.policy.rows import cuts, episode_rows
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
from sdar.tasks.retrieve import skill_blocks, teacher_prompt
from sdar.tasks.rollout import Assignment
from sdar.tasks.score import score_episodes, teacher_policy
from sdar.tasks.stage import StageInputs

Retrieval = Callable[[Sequence[TaskSpec]], dict[str, SkillBlock]]
"""The skill blocks of tasks, by task id."""
Told = tuple[str, str]
"""A task or an episode by id, and the text of the skill block that the teacher reads."""
Outcome = tuple[bool, int]
"""Whether an episode succeeded, and its turns; for a failure the most that it may have."""

CONFIDENCE = 0.99
"""Of the interval of turns: a run tries its skills many times, and each time may condemn a harmless one."""


@dataclass(frozen=True)
class Question:
    """A skill, and the two banks whose difference it is."""

    skill: Skill
    having: Sequence[Skill]
    lacking: Sequence[Skill]


@dataclass(frozen=True)
class Tryout:
    """What was measured, see `SkillTrial`: `outcomes` are (without, with) by task, lifts are in nats.

    `turns` are likewise (without, with); a failure counts as the most turns that an episode may have.
    """

    outcomes: tuple[tuple[bool, bool], ...]
    successes: tuple[float, ...]
    failures: tuple[float, ...]
    seed: int
    turns: tuple[tuple[int, int], ...] = ()

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
        if len(self.turns) > 1:
            more = mean_interval([after - before for before, after in self.turns], CONFIDENCE)
            found |= {"turns_low": more.low, "turns_high": more.high}
            means = np.mean(self.turns, axis=0)
            found |= {"turns_without": float(means[0]), "turns_with": float(means[1])}
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

    def harm(self) -> float:
        """Return how many turns more the teacher needs with the skill, in the mean; 0 if none was played."""
        return float(np.mean([after - before for before, after in self.turns])) if self.turns else 0.0

    def joined(self, other: Tryout) -> Tryout:
        """Return this trial and another one of the same skill, on other tasks, as one."""
        return Tryout(
            self.outcomes + other.outcomes,
            self.successes + other.successes,
            self.failures + other.failures,
            self.seed,
            self.turns + other.turns,
        )

    def _paired(self) -> PairedDifference:
        before, after = zip(*self.outcomes, strict=True)
        return paired_bootstrap(before, after, self.seed)


def retrieval(inputs: StageInputs, skills: Sequence[Skill]) -> Retrieval:
    """Return what gives tasks their blocks from a bank; empty and generic blocks are let through."""
    config, dialogue = inputs.config, inputs.policy().dialogue
    lenient = config.skills.model_copy(update={"allow_empty": True, "allow_generic": True})
    near = embed_bank(skills, stage_embedder(inputs, skills)) if skills and needs_vectors(config) else None
    return lambda tasks: skill_blocks(tasks, skills, lenient, dialogue, inputs.seed, similarity=near)


def try_out(
    inputs: StageInputs, material: Material, questions: Sequence[Question], skip: int = 0
) -> list[Tryout]:
    """Measure what each of some skills changes.

    On tasks, see `play_out`, and on episodes: the held-out ones of the last rounds whose block would hold the
    skill with the one bank, scored by the teacher with that block and with the one from the other bank.

    Args:
        inputs: of the stage.
        material: the last rounds.
        questions: the skills, each with its two banks.
        skip: how many of its first tasks a skill was tried on already.
    """
    played = play_out(inputs, questions, inputs.config.distill.trial_tasks, skip)
    blocks = _Blocks(inputs)
    scored = [_scored(inputs, material, q, blocks(q.having), blocks(q.lacking)) for q in questions]
    logprobs = mean_logprobs(inputs, material, [one for pairs in scored for pair in pairs for one in pair])
    success = {episode.id: episode.success for episode in material.episodes}
    tryouts = []
    for tryout, pairs in zip(played, scored, strict=True):
        lifts = [(success[after[0]], logprobs[after] - logprobs[before]) for before, after in pairs]
        won, lost = (tuple(lift for end, lift in lifts if end == wanted) for wanted in (True, False))
        tryouts.append(replace(tryout, successes=won, failures=lost))
    return tryouts


def play_out(inputs: StageInputs, questions: Sequence[Question], count: int, skip: int = 0) -> list[Tryout]:
    """Let the teacher play with and without each of some skills; nothing is played unless `trial` is `play`.

    On tasks of the training split that are held out, of the skill's types, and whose block holds it: the
    teacher plays each with the one bank and with the other, and with the same random numbers.

    Args:
        inputs: of the stage.
        questions: the skills, each with its two banks.
        count: most tasks for a skill.
        skip: how many of its first tasks to leave out, because it was tried on them.
    """
    config, pairs = inputs.config, []
    split = environment_factory(config.env.name)(config.env).tasks(config.env.train_split)
    tasks = [task for task in split if held_out(task.id, config.distill.held_out)]
    blocks = _Blocks(inputs)
    for q in questions if config.distill.trial == "play" else ():
        mine = blocks(q.having)
        drawn = _tasks(inputs, tasks, q.skill, mine, skip + count)[skip:]
        pairs.append(_pairs([(task.id, task) for task in drawn], mine, blocks(q.lacking)))
    told = [one for both in pairs for pair in both for one in pair]
    ends = _play(inputs, {task.id: task for task in tasks}, told)
    return [
        Tryout(
            tuple((ends[before][0], ends[after][0]) for before, after in both),
            (),
            (),
            derive_seed(inputs.seed, "trial", q.skill.id),
            tuple((ends[before][1], ends[after][1]) for before, after in both),
        )
        for q, both in zip(questions, pairs or [[] for _ in questions], strict=True)
    ]


def told_wins(tryout: Tryout) -> str:
    """Return in words how many tasks the teacher solved with the skill and without it."""
    before, after = (sum(ends) for ends in zip(*tryout.outcomes, strict=True)) if tryout.outcomes else (0, 0)
    return f"{after} instead of {before} of {len(tryout.outcomes)} held-out tasks with it"


def _scored(
    inputs: StageInputs, material: Material, question: Question, mine: Retrieval, other: Retrieval
) -> list[tuple[Told, Told]]:
    """Return a sample of held-out episodes whose block holds the skill, under the blocks of both banks."""
    episodes = [e for e in material.held_out() if _concerns(question.skill, e.task_type)]
    tasks = list({e.task_id: material.tasks[e.task_id] for e in episodes}.values())
    met = {task.id for task in _holding(question.skill, mine, tasks)}
    sample = _sample(inputs, [episode for episode in episodes if episode.task_id in met], question.skill)
    return _pairs([(e.id, material.tasks[e.task_id]) for e in sample], mine, other)


@dataclass
class _Blocks:
    """The retrieval of banks that are asked for again and again: each is embedded once."""

    inputs: StageInputs
    made: dict[tuple[str, ...], Retrieval] = field(default_factory=dict)

    def __call__(self, skills: Sequence[Skill]) -> Retrieval:
        ids = tuple(skill.id for skill in skills)
        if ids not in self.made:
            self.made[ids] = retrieval(self.inputs, skills)
        return self.made[ids]


def _concerns(skill: Skill, task_type: str) -> bool:
    return not skill.task_types or task_type in skill.task_types


def _holding(skill: Skill, blocks: Retrieval, tasks: Sequence[TaskSpec]) -> list[TaskSpec]:
    found = blocks(tasks)
    return [task for task in tasks if skill.id in {used.skill_id for used in found[task.id].used}]


def _tasks(
    inputs: StageInputs, tasks: Sequence[TaskSpec], skill: Skill, blocks: Retrieval, wanted: int
) -> list[TaskSpec]:
    """Return tasks to try a skill on, drawn at random; those that share a word with it come first."""
    own = [task for task in tasks if _concerns(skill, task.type)]
    order = generator(inputs.seed, "trial", skill.id).permutation(len(own))
    text = set(words(match_text(skill)))
    drawn = sorted((own[i] for i in order), key=lambda task: text.isdisjoint(words(task.goal)))
    found: list[TaskSpec] = []
    for start in range(0, len(drawn), 4 * wanted):
        found += _holding(skill, blocks, drawn[start : start + 4 * wanted])
        if len(found) >= wanted:
            break
    return found[:wanted]


def _pairs(
    named: Sequence[tuple[str, TaskSpec]], mine: Retrieval, other: Retrieval
) -> list[tuple[Told, Told]]:
    """Return ids of tasks or episodes with the blocks of their tasks, from the other bank and from mine."""
    tasks = list({task.id: task for _, task in named}.values())
    before, after = other(tasks), mine(tasks)
    return [((id_, before[task.id].text), (id_, after[task.id].text)) for id_, task in named]


def _sample(inputs: StageInputs, episodes: Sequence[Episode], skill: Skill) -> list[Episode]:
    """Return at most `lift_sample` successful and as many failed episodes that have actions."""
    usable = [episode for episode in episodes if episode.action_mask.any()]
    order = generator(inputs.seed, "lift", skill.id).permutation(len(usable))
    drawn = [usable[i] for i in order]
    most = inputs.config.distill.lift_sample
    won, lost = [e for e in drawn if e.success], [e for e in drawn if not e.success]
    return [*won[:most], *lost[:most]]


def _play(inputs: StageInputs, tasks: Mapping[str, TaskSpec], told: Sequence[Told]) -> dict[Told, Outcome]:
    """Let the teacher play each task under each block once, with random numbers of the task alone."""
    config, policy = inputs.config, teacher_policy(inputs, inputs.config.sdar.teacher)
    unique = list(dict.fromkeys(told))
    assignments = [
        Assignment(tasks[task_id], place, 0, derive_seed(inputs.seed, task_id), text)
        for place, (task_id, text) in enumerate(unique)
    ]
    # As many at a time as a round collects: what fits into memory there fits here.
    size = config.rollout.tasks * config.rollout.group_size
    ends = [
        (episode.success, len(episode.turns) if episode.success else config.env.max_steps)
        for start in range(0, len(assignments), size)
        for episode in play(config, policy, assignments[start : start + size], config.rollout.temperature)
    ]
    return dict(zip(unique, ends, strict=True))


def mean_logprobs(inputs: StageInputs, material: Material, told: Sequence[Told]) -> dict[Told, float]:
    """Return the teacher's mean log-prob of the action tokens of episodes under skill blocks, in nats."""
    dialogue, unique = inputs.policy().dialogue, list(dict.fromkeys(told))
    episodes = {episode.id: episode for episode in material.episodes}
    rows = []
    for episode_id, text in unique:
        episode = episodes[episode_id]
        prompt = teacher_prompt(episode, material.tasks[episode.task_id].goal, text, dialogue)
        rows.append(episode_rows(episode, prompt, cuts(episode, dialogue)))
    policy = teacher_policy(inputs, inputs.config.sdar.teacher)
    temperature, budget = inputs.config.rollout.temperature, token_budget(inputs.config.policy)
    scores = score_episodes(policy, rows, temperature, keep_hidden=False, budget=budget)
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
