"""Stage `distill`: the next bank, with skills that the agent wrote and without those that hurt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sdar.policy.sampler import TransformersSampler
from sdar.schemas.config import DistillConfig
from sdar.schemas.lineage import Summary
from sdar.schemas.records import BankVersion, Skill, SkillTrial
from sdar.skills.context import skill_line
from sdar.skills.evidence import phrasebook
from sdar.skills.files import make_skill
from sdar.skills.text import match_text
from sdar.skills.writers import LESSON, Candidate, write_templates, write_with_policy
from sdar.tasks.bank import stage_embedder, write_vectors
from sdar.tasks.material import Book, Material, open_book, read_material, trial_record
from sdar.tasks.recheck import recheck
from sdar.tasks.stage import Stage, StageInputs, StageOutput
from sdar.tasks.tryout import Question, Tryout, bank_lifts, told_wins, try_out

LEAST_EPISODES = 3
"""`distill.trial: gap`: fewer held-out successful episodes decide nothing."""


def judge_candidate(tryout: Tryout, config: DistillConfig) -> tuple[bool, str]:
    """Say whether a new skill is admitted, and why, in one sentence."""
    numbers = tryout.numbers()
    if config.trial == "play":
        if not tryout.outcomes:
            return False, "No held-out task finds it."
        better = tryout.played() == "better"
        return better, f"The teacher solves {told_wins(tryout)}{'' if better else ': no proven rise'}."
    if len(tryout.successes) < LEAST_EPISODES:
        return (
            False,
            f"Only {len(tryout.successes)} held-out successes find it, {LEAST_EPISODES} are needed.",
        )
    low, mean = float(numbers["lift_low"] or 0.0), float(numbers["lift_success"] or 0.0)
    lost = numbers.get("lift_failure")
    if low <= 0:
        return False, f"The gap of held-out successful episodes changes by {mean:.3g}: no proven rise."
    if lost is not None and lost > mean:
        return (
            False,
            f"The gap of held-out failures rises more ({lost:.3g}) than that of successes ({mean:.3g}).",
        )
    return True, f"The gap of held-out successful episodes rises by {mean:.3g}."


def write(inputs: StageInputs, material: Material) -> list[Candidate]:
    """Return the new skills that the configured writer proposes."""
    config, sources = inputs.config, material.sources()
    if config.distill.writer == "template":
        book = phrasebook(config.env.name)
        return write_templates(sources, material.goals(), book, config.env.name, config.distill.support)
    if config.distill.writer == "policy":
        policy, most = inputs.policy(), config.distill.max_tokens
        latest = [episode for episode in sources if episode.success][-config.distill.candidates :]
        return write_with_policy(
            latest,
            material.goals(),
            TransformersSampler(policy, most),
            policy.dialogue,
            config.env.name,
            config.policy.max_tokens,
            most,
        )
    return []


def twins(inputs: StageInputs, book: Book, skills: Sequence[Skill]) -> list[Skill | None]:
    """Return for each new skill the one of the bank, retired or not, that says the same, if any.

    Two skills are the same if their bodies are but for white space and case, or if names and bodies have a
    cosine similarity of `distill.duplicate` or more under the bank's embedder.
    """
    same = {_folded(old): old for old in book.skills}
    if not book.skills or not skills:
        return [None for _ in skills]
    told = [each.model_copy(update={"description": each.body}) for each in (*book.skills, *skills)]
    vectors = stage_embedder(inputs, told).embed([match_text(each) for each in told])
    cosines = vectors[len(book.skills) :] @ vectors[: len(book.skills)].T
    near = [
        book.skills[int(row.argmax())] if row.max() >= inputs.config.distill.duplicate else None
        for row in cosines
    ]
    return [same.get(_folded(skill)) or like for skill, like in zip(skills, near, strict=True)]


def _folded(skill: Skill) -> str:
    return skill_line(skill.body).casefold()


def merge(
    inputs: StageInputs, book: Book, candidates: Sequence[Candidate]
) -> tuple[Book, list[Candidate], list[SkillTrial]]:
    """Give the evidence of duplicates to the skills that they repeat; return the rest, and their trials."""
    new: list[Candidate] = []
    trials: list[SkillTrial] = []
    known = twins(inputs, book, [candidate.skill for candidate in candidates])
    for candidate, old in zip(candidates, known, strict=True):
        if old is None:
            alike = [at for at, each in enumerate(new) if _folded(each.skill) == _folded(candidate.skill)]
            if alike:
                new[alike[0]] = _joined(new[alike[0]], candidate)
            else:
                new.append(candidate)
            continue
        if old.id == candidate.skill.id or old.id in {trial.skill_id for trial in trials}:
            continue
        evidence = tuple(sorted({*book.state(old).evidence, *candidate.skill.parents}))
        book = book.change(old, evidence=evidence)
        if book.state(old).retired:
            trials.append(
                trial_record(candidate, "refused", f"It says the same as {old.name}, which is retired.")
            )
        else:
            trials.append(
                trial_record(
                    candidate, "merged", f"It says the same as {old.name}, which has its evidence now."
                )
            )
    return book, new, trials


def admit(
    inputs: StageInputs, material: Material, book: Book, candidates: Sequence[Candidate]
) -> tuple[Book, list[SkillTrial]]:
    """Try new skills, each against the bank as it is, and take in those that raise the teacher.

    One that was refused the last time is tried again only with more evidence, or after the bank has changed;
    those never tried come first.
    """
    last = inputs.store.skill_trials(inputs.artifacts["bank"])
    refused = {trial.body: trial for trial in last if trial.verdict == "refused"}
    same_bank = not any(trial.verdict in ("admitted", "retired") for trial in last)
    settled = {
        each.skill.body
        for each in candidates
        if same_bank and each.skill.body in refused and each.support <= refused[each.skill.body].support
    }
    trials = [refused[body] for body in sorted(settled)]
    fresh = sorted(
        (each for each in candidates if each.skill.body not in settled),
        key=lambda each: each.skill.body in refused,
    )
    fresh = [_versioned(book, each) for each in fresh[: inputs.config.distill.candidates]]
    bank = book.active()
    questions = [
        Question(each.skill, [*(s for s in bank if s.name != each.skill.name), each.skill], bank)
        for each in fresh
    ]
    for each, tryout in zip(fresh, try_out(inputs, material, questions), strict=True):
        admitted, reason = judge_candidate(tryout, inputs.config.distill)
        trials.append(trial_record(each, "admitted" if admitted else "refused", reason, tryout.numbers()))
        book = book.add(each.skill) if admitted else book
    return book, trials


def _joined(first: Candidate, second: Candidate) -> Candidate:
    """Return two candidates of one body as the first with the evidence of both."""
    fields = first.skill.model_dump(exclude={"id"}) | {
        name: sorted({*getattr(first.skill, name), *getattr(second.skill, name)})
        for name in ("task_types", "parents")
    }
    counts = (first.support + second.support, first.contradictions + second.contradictions)
    return Candidate(make_skill(**fields), *counts)


def _versioned(book: Book, candidate: Candidate) -> Candidate:
    """Return a candidate as the next version of the skill whose name it has, if there is one."""
    versions = [old.version for old in book.skills if old.name == candidate.skill.name]
    if not versions:
        return candidate
    fields = candidate.skill.model_dump(exclude={"id", "version"})
    return replace(candidate, skill=make_skill(**fields, version=max(versions) + 1))


def run(inputs: StageInputs) -> StageOutput:
    """Store the next bank: skills and their states, what was tried and how it went, and the lifts."""
    parent = inputs.artifacts["bank"]
    material, states = read_material(inputs), inputs.store.skill_states(parent)
    book = open_book(inputs.store.skills(parent, retired=True), states, inputs.config.distill)
    lifts = bank_lifts(inputs, material, book)
    book, trials = recheck(inputs, material, book, lifts)
    written = write(inputs, material)
    # Lessons come second: one that only repeats a fact has nothing to add to a bank with the fact in it.
    for lessons in (False, True):
        some = [each for each in written if (each.skill.source == LESSON) == lessons]
        book, new, merged = merge(inputs, book, some)
        book, tried = admit(inputs, material, book, new)
        trials += [*merged, *tried]
    trials = list({trial.skill_id: trial for trial in trials}.values())
    retired = len(book.skills) - len(book.active())
    version = BankVersion(parent=parent, round=inputs.round, skills=len(book.skills), retired=retired)
    rows = {
        "skill": book.skills,
        "skill_state": [book.state(skill) for skill in book.skills],
        "skill_trial": trials,
        "skill_lift": lifts,
        "bank_version": [version],
    }
    return StageOutput("bank", rows, _summary(book, trials, retired), write_vectors(inputs, book.active()))


def _summary(book: Book, trials: Sequence[SkillTrial], retired: int) -> Summary:
    counts = {
        verdict: float(sum(trial.verdict == verdict for trial in trials))
        for verdict in ("admitted", "refused", "merged")
    }
    newly = float(sum(trial.verdict == "retired" for trial in trials))
    return {
        **counts,
        "newly_retired": newly,
        "skills": float(len(book.skills) - retired),
        "retired": float(retired),
    }


STAGE = Stage(
    "distill",
    2,
    (
        "env", "skills", "rollout", "policy.max_tokens", "sdar.teacher", "distill.writer",
        "distill.support", "distill.max_tokens", "distill.candidates", "distill.held_out", "distill.trial",
        "distill.trial_tasks", "distill.duplicate", "distill.lift_sample", "distill.recheck",
        "distill.retire", "distill.restore",
    ),
    run,
)  # fmt: skip
