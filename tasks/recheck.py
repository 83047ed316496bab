"""Second trials: which skills of a bank are suspected, and which of them hurt the teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from sdar.schemas.config import DistillConfig
from sdar.schemas.records import BankVersion, Skill, SkillLift, SkillTrial
from sdar.skills.writers import Candidate
from sdar.storage import Store
from sdar.tasks.material import Book, Material, names, trial_record
from sdar.tasks.stage import StageInputs
from sdar.tasks.tryout import CONFIDENCE, Question, Tryout, play_out, told_wins, try_out

SCREENED = 3
"""How many suspects are screened for each that is tried in full, and by what its tasks are divided for that:
harm of a few turns shows on a third of the tasks, and most skills of a bank do not hurt."""


LEAST_TASKS = 12
"""Fewer held-out tasks, all trials taken together, retire nothing by turns."""


@dataclass(frozen=True)
class Harm:
    """Turns that a skill costs the teacher, over all its trials: the mean of `tasks` paired differences.

    `low` and `high` are its 99 % Student-t interval; a failure counts as the most turns an episode may have.
    """

    tasks: int
    mean: float
    low: float
    high: float


def recheck(
    inputs: StageInputs, material: Material, book: Book, lifts: Sequence[SkillLift]
) -> tuple[Book, list[SkillTrial]]:
    """Try suspected skills again, each against the bank without it; retire those that hurt.

    Suspects are screened on a few held-out tasks, and those that cost the teacher most turns there are tried
    on more. Only then is judged, over all tasks: a skill that screening cleared too early is tried later.
    """
    config, lift = inputs.config.distill, {each.skill_id: each for each in lifts}
    past = past_trials(inputs.store, inputs.artifacts["bank"])
    suspects = find_suspects(inputs, material, book, lift, past)
    if config.trial == "gap":
        return _judge(inputs, book, suspects, try_out(inputs, material, suspects), lift, past)
    few = max(config.trial_tasks // SCREENED, 2)
    screened = list(zip(suspects, play_out(inputs, suspects, few), strict=True))
    worst = sorted(screened, key=lambda each: -each[1].harm())[: config.recheck]
    doubtful = [each for each in worst if each[1].harm() > 0]
    trials = [_screened(book, q.skill, tryout) for q, tryout in screened if (q, tryout) not in doubtful]
    tried = try_out(inputs, material, [question for question, _ in doubtful], few)
    both = [first.joined(second) for (_, first), second in zip(doubtful, tried, strict=True)]
    book, decided = _judge(inputs, book, [question for question, _ in doubtful], both, lift, past)
    return book, [*decided, *trials]


def find_suspects(
    inputs: StageInputs,
    material: Material,
    book: Book,
    lift: Mapping[str, SkillLift],
    past: Mapping[str, Sequence[SkillTrial]],
) -> list[Question]:
    """Return the skills to try, each with the bank as it is and the bank without it, most suspected first.

    Of the skills that the last rounds used, those never tried come first, by lift. The others follow by the
    turns that they may cost at worst: the upper end of the interval over their trials. Where nothing is
    played, only skills with a lift are tried, by lift. What `distill.restore` names is spared.
    """
    config, spared = inputs.config.distill, names(inputs.config.distill.restore)
    used = {one.skill_id for context in material.contexts.values() for one in context.skills}
    active = [skill for skill in book.active() if skill.id in used and skill.name not in spared]

    def suspicion(skill: Skill) -> tuple[bool, float, str]:
        if skill.id in past and config.trial == "play":
            known = harm(past[skill.id])
            return True, -known.high if known else 0.0, skill.id
        return False, lift[skill.id].lift if skill.id in lift else -math.inf, skill.id

    if config.trial == "gap":
        active = [skill for skill in active if skill.id in lift]
    most = config.recheck * (1 if config.trial == "gap" else SCREENED)
    bank = book.active()
    return [
        Question(skill, bank, [other for other in bank if other.id != skill.id])
        for skill in sorted(active, key=suspicion)[:most]
    ]


def past_trials(store: Store, bank: str) -> dict[str, list[SkillTrial]]:
    """Return the trials of each skill, by id, that led to a bank and to those that it was made from."""
    found: dict[str, list[SkillTrial]] = {}
    parents: list[BankVersion] = [BankVersion(parent=bank, round=0, skills=0, retired=0)]
    while parents:
        bank = parents[0].parent
        for trial in store.skill_trials(bank):
            found.setdefault(trial.skill_id, []).append(trial)
        parents = store.rows(bank, "bank_version")
    return found


def harm(past: Sequence[SkillTrial], tryout: Tryout | None = None) -> Harm | None:
    """Return the harm of a skill over its trials, and over one that is not stored yet; None without tasks.

    A stored trial has the mean and the interval of its differences, from which their squares follow.
    """
    count, total, squares = 0, 0.0, 0.0
    for before, after in tryout.turns if tryout else ():
        count, total, squares = count + 1, total + after - before, squares + (after - before) ** 2
    for trial in past:
        if trial.turns_low is None or trial.turns_high is None:
            continue
        tasks, mean = trial.tasks, (trial.turns_low + trial.turns_high) / 2
        error = (trial.turns_high - mean) / float(stdtrit(tasks - 1, 0.5 + CONFIDENCE / 2))
        count, total = count + tasks, total + tasks * mean
        squares += error**2 * tasks * (tasks - 1) + tasks * mean**2
    if count < 2:
        return None
    mean = total / count
    variance = max(squares - count * mean**2, 0.0) / (count - 1)
    half = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * math.sqrt(variance / count)
    return Harm(count, mean, mean - half, mean + half)


def judge_again(
    tryout: Tryout, lift: SkillLift | None, config: DistillConfig, past: Sequence[SkillTrial] = ()
) -> tuple[bool, str]:
    """Say whether a skill of the bank is retired, and why, in one sentence.

    Where it was played, what it does to the teacher decides: surely fewer wins, or surely more turns over all
    its trials. Otherwise its lift does, where that is surely below 0.
    """
    if config.trial == "gap":
        below = lift is not None and lift.high is not None and lift.high < 0
        surely = ", surely below 0" if below else ": no proven harm"
        return below, f"Its lift is {lift.lift:.3g}{surely}." if lift else "It has no lift: no proven harm."
    known = harm(past, tryout)
    slower = known is not None and known.tasks >= LEAST_TASKS and known.low > 0
    worse = tryout.played() == "worse" or slower
    cost = (
        f"over {known.tasks} tasks it costs {known.mean:+.3g} turns [{known.low:+.3g}, {known.high:+.3g}]"
        if known
        else "its cost is unknown"
    )
    return worse, f"The teacher solves {told_wins(tryout)}; {cost}{'' if worse else ': no proven harm'}."


def _judge(
    inputs: StageInputs,
    book: Book,
    questions: Sequence[Question],
    tryouts: Sequence[Tryout],
    lift: Mapping[str, SkillLift],
    past: Mapping[str, Sequence[SkillTrial]],
) -> tuple[Book, list[SkillTrial]]:
    trials = []
    for question, tryout in zip(questions, tryouts, strict=True):
        skill = question.skill
        worse, reason = judge_again(tryout, lift.get(skill.id), inputs.config.distill, past.get(skill.id, ()))
        candidate = Candidate(skill, len(book.state(skill).evidence))
        trials.append(trial_record(candidate, "retired" if worse else "kept", reason, tryout.numbers()))
        book = book.retire(skill, f"Round {inputs.round}: {reason}") if worse else book
    return book, trials


def _screened(book: Book, skill: Skill, tryout: Tryout) -> SkillTrial:
    if tryout.outcomes:
        reason = f"Screened: the teacher solves {told_wins(tryout)}, in {tryout.harm():+.3g} turns."
    else:
        reason = "Screened: no held-out task finds it."
    return trial_record(Candidate(skill, len(book.state(skill).evidence)), "kept", reason, tryout.numbers())
