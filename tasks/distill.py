"""Stage `distill`: the next bank, with skills that the agent wrote and without those that hurt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from sdar.policy.sampler import TransformersSampler
from sdar.schemas.config import DistillConfig
from sdar.schemas.lineage import Summary
from sdar.schemas.records import BankVersion, Skill, SkillLift, SkillTrial
from sdar.skills.context import skill_line
from sdar.skills.evidence import phrasebook
from sdar.skills.files import make_skill
from sdar.skills.writers import LESSON, Candidate, write_templates, write_with_policy
from sdar.tasks.bank import stage_embedder, write_vectors
from sdar.tasks.material import Book, Material, names, open_book, read_material
from sdar.tasks.stage import Stage, StageInputs, StageOutput
from sdar.tasks.tryout import Question, Tryout, bank_lifts, try_out

LEAST_EPISODES = 3
"""`distill.trial: gap`: fewer held-out successful episodes decide nothing."""


def judge_candidate(tryout: Tryout, config: DistillConfig) -> tuple[bool, str]:
    """Say whether a new skill is admitted, and why, in one sentence."""
    numbers = tryout.numbers()
    if config.trial == "play":
        wins = _wins(numbers)
        if not tryout.outcomes:
            return False, "No held-out task finds it."
        better = tryout.played() == "better"
        return better, f"The teacher solves {wins} with it{'' if better else ': no proven rise'}."
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


def judge_again(tryout: Tryout, lift: SkillLift, config: DistillConfig) -> tuple[bool, str]:
    """Say whether a skill of the bank is retired, and why, in one sentence.

    Where it was played, a lift that is surely below 0 is not enough: the skill must not have won anything.
    """
    numbers = tryout.numbers()
    below = lift.high is not None and lift.high < 0
    lifted = f"its lift is {lift.lift:.3g}{', surely below 0' if below else ''}"
    if config.trial == "gap":
        return below, f"{lifted.capitalize()}{'' if below else ': no proven harm'}."
    won = numbers.get("difference")
    worse = tryout.played() == "worse" or (below and won is not None and won <= 0)
    return (
        worse,
        f"The teacher solves {_wins(numbers)} with it, {lifted}{'' if worse else ': no proven harm'}.",
    )


def _wins(numbers: Mapping[str, float | int | None]) -> str:
    with_, without, tasks = (numbers[name] for name in ("wins_with", "wins_without", "tasks"))
    return f"{with_} instead of {without} of {tasks} held-out tasks"


def recheck(
    inputs: StageInputs, material: Material, book: Book, lifts: Sequence[SkillLift]
) -> tuple[Book, list[SkillTrial]]:
    """Try the skills of the lowest lift again, each against the bank without it; retire those that hurt."""
    config = inputs.config.distill
    spared = names(config.restore)
    active = {skill.id: skill for skill in book.active() if skill.name not in spared}
    suspects = [
        each for each in sorted(lifts, key=lambda each: (each.lift, each.skill_id)) if each.skill_id in active
    ]
    suspects = suspects[: config.recheck]
    questions = [
        Question(active[each.skill_id], book.active(), [s for s in book.active() if s.id != each.skill_id])
        for each in suspects
    ]
    trials = []
    for lift, question, tryout in zip(suspects, questions, try_out(inputs, material, questions), strict=True):
        worse, reason = judge_again(tryout, lift, config)
        support = len(book.state(question.skill).evidence)
        trials.append(
            _trial(Candidate(question.skill, support), "retired" if worse else "kept", reason, tryout)
        )
        book = book.retire(question.skill, f"Round {inputs.round}: {reason}") if worse else book
    return book, trials


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


def twin(inputs: StageInputs, book: Book, skill: Skill) -> Skill | None:
    """Return the skill of the bank, retired or not, that says the same as a new one, if any.

    Two skills are the same if their bodies are but for white space and case, or if names and bodies have a
    cosine similarity of `distill.duplicate` or more under the bank's embedder.
    """
    same = [old for old in book.skills if _folded(old) == _folded(skill)]
    if same or not book.skills:
        return same[-1] if same else None
    told = [each.model_copy(update={"description": each.body}) for each in (*book.skills, skill)]
    embedder = stage_embedder(inputs, told)
    vectors = embedder.embed([f"{each.name} {each.body}" for each in told])
    cosines = vectors[:-1] @ vectors[-1]
    best = int(cosines.argmax())
    return book.skills[best] if cosines[best] >= inputs.config.distill.duplicate else None


def _folded(skill: Skill) -> str:
    return skill_line(skill.body).casefold()


def merge(
    inputs: StageInputs, book: Book, candidates: Sequence[Candidate]
) -> tuple[Book, list[Candidate], list[SkillTrial]]:
    """Give the evidence of duplicates to the skills that they repeat; return the rest, and their trials."""
    new: list[Candidate] = []
    trials: list[SkillTrial] = []
    for candidate in candidates:
        old = twin(inputs, book, candidate.skill)
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
            trials.append(_trial(candidate, "refused", f"It says the same as {old.name}, which is retired."))
        else:
            trials.append(
                _trial(candidate, "merged", f"It says the same as {old.name}, which has its evidence now.")
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
        trials.append(_trial(each, "admitted" if admitted else "refused", reason, tryout))
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


def _trial(
    candidate: Candidate,
    verdict: Literal["admitted", "refused", "merged", "kept", "retired"],
    reason: str,
    tryout: Tryout | None = None,
) -> SkillTrial:
    skill = candidate.skill
    return SkillTrial.model_validate(
        {
            **skill.model_dump(include={"name", "description", "task_types", "body", "source", "parents"}),
            "skill_id": skill.id,
            "support": candidate.support,
            "contradictions": candidate.contradictions,
            "verdict": verdict,
            "reason": reason,
            **(tryout.numbers() if tryout else {}),
        }
    )


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
    1,
    (
        "env", "skills", "rollout", "policy.max_tokens", "sdar.teacher", "distill.writer",
        "distill.support", "distill.max_tokens", "distill.candidates", "distill.held_out", "distill.trial",
        "distill.trial_tasks", "distill.duplicate", "distill.lift_sample", "distill.recheck",
        "distill.retire", "distill.restore",
    ),
    run,
)  # fmt: skip
