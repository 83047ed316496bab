"""The skill block of a teacher's prompt: whole skills in rank order, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdar.schemas.config import SkillsConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.records import RetrievedSkill
from sdar.skills.retrieval import RetrievedSkillHit


@dataclass(frozen=True)
class SkillBlock:
    """The block and its audit.

    `tokens_used` counts the block's text, newlines included; `tokens_cut` is what the skipped skills
    would have added to it. `generic` says that it holds skills, and that none of them names a task type.
    """

    text: str
    used: tuple[RetrievedSkill, ...]
    tokens_used: int
    tokens_cut: int
    generic: bool


def build_context(
    hits: Sequence[RetrievedSkillHit], goal: str, config: SkillsConfig, count_tokens: Callable[[str], int]
) -> SkillBlock:
    """Return the skill block of one task: one line per skill, none cut in the middle.

    Args:
        hits: the retrieved skills in rank order.
        goal: the task's goal, for the error message.
        config: `budget` in tokens, `allow_empty` and `allow_generic`.
        count_tokens: number of tokens of a text under the policy's tokenizer.

    Raises:
        CheckFailedError: the block is empty or holds general skills only, and the configuration does not
            allow it.
    """
    special = False
    used: list[RetrievedSkill] = []
    text, spent, cut = "", 0, 0
    for hit in hits:
        # The whole block is counted, because a tokenizer may merge across the border of two lines.
        longer = "\n".join(filter(None, (text, skill_line(hit.skill.body))))
        total = count_tokens(longer)
        cost = total - spent
        if total > config.budget:
            cut += cost
            continue
        used.append(RetrievedSkill(skill_id=hit.skill.id, score=hit.score, rank=hit.rank, tokens=cost))
        text, spent, special = longer, total, special or bool(hit.skill.task_types)
    if not used and not config.allow_empty:
        raise _empty(hits, goal, config)
    generic = bool(used) and not special
    if generic and not config.allow_generic:
        raise _generic(hits, {skill.skill_id for skill in used}, goal, config)
    return SkillBlock(text, tuple(used), spent, cut, generic)


def skill_line(body: str) -> str:
    """Return a body with every run of white space folded to one space, so that a line is a skill."""
    return " ".join(body.split())


def _empty(hits: Sequence[RetrievedSkillHit], goal: str, config: SkillsConfig) -> CheckFailedError:
    setting = f"strategy {config.strategy!r}, threshold {config.threshold}, budget {config.budget}"
    if hits:
        found = f"{len(hits)} skill(s) were found, but none fits the budget"
        remedy = "Raise skills.budget"
    else:
        found = "no skill was found"
        remedy = f"Lower skills.threshold, or add a skill and try `sdar skills search {goal!r}`"
    return CheckFailedError(
        f"empty skill block for the goal {goal!r}: {found} ({setting}). "
        f"{remedy}; set skills.allow_empty=true to accept such episodes."
    )


def _generic(
    hits: Sequence[RetrievedSkillHit], used: set[str], goal: str, config: SkillsConfig
) -> CheckFailedError:
    names = ", ".join(hit.skill.name for hit in hits if hit.skill.id in used)
    left_out = [hit.skill.name for hit in hits if hit.skill.id not in used and hit.skill.task_types]
    remedy = (
        f"Raise skills.budget, now {config.budget}: {', '.join(left_out)} did not fit"
        if left_out
        else "Add a skill for this kind of task, or name the types under metadata.task_types of these"
    )
    return CheckFailedError(
        f"generic skill block for the goal {goal!r}: {names} name no task type "
        f"(strategy {config.strategy!r}). "
        f"{remedy}; see `sdar skills search {goal!r}`. Set skills.allow_generic=true to accept such episodes."
    )
