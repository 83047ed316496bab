"""`sdar skills search`: what a goal finds, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdar.flows.commands.options import EnvOption, FileOption, JsonOption, SetOption
from sdar.flows.commands.skills_bank import (
    NOTHING_THERE,
    BankOption,
    bank_skills,
    settings,
    token_counter,
)
from sdar.flows.output import print_json
from sdar.schemas.config import RunConfig, SkillsConfig
from sdar.schemas.records import Skill

if TYPE_CHECKING:
    from sdar.skills.explain import Explanation
    from sdar.skills.retrieval import RetrievedSkillHit

_REMEDIES = {
    "embedding": "Lower skills.threshold, or add a skill.",
    "ucb": "Lower skills.threshold, or add a skill.",
    "keyword": "Use words of the descriptions that `sdar skills list` shows, or add a skill.",
    "hybrid": "Lower skills.threshold, or use words of the descriptions that `sdar skills list` shows.",
    "task_type": "Name one of the types that `sdar skills list` shows with --task-type, or add a skill.",
    "full": "Add a skill.",
    "random": "Add a skill.",
    "none": "The strategy none never finds one; choose another with --set skills.strategy=embedding.",
}


def search(
    goal: Annotated[str, typer.Argument(help="A goal as a task states it.")],
    task_type: Annotated[str, typer.Option(help="Type of the task, for the strategy task_type.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="What the strategy random draws by.")] = 0,
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Show which skills a goal finds, best first, and why: shared terms, their weights, tokens, budget."""
    chosen = settings(bank, config, env, set_)
    skills = bank_skills(chosen)
    rows = _rows(chosen, skills, goal, task_type, seed)
    if json_:
        print_json(rows)
        return
    rule = _rule(chosen.skills)
    if not rows:
        remedy = _REMEDIES[chosen.skills.strategy] if skills else NOTHING_THERE
        typer.echo(f"This goal finds no skill ({rule}). {remedy}")
        return
    from sdar.skills.strategies import STRATEGIES

    typer.echo(f"Score: {STRATEGIES[chosen.skills.strategy].score} ({rule}):")
    typer.echo("\n".join(_lines(row, chosen.skills.budget) for row in rows))
    used = [row for row in rows if row["fits"]]
    tokens = sum(row["tokens"] for row in used)
    typer.echo(f"{len(used)} of {len(rows)} in the teacher's prompt, {tokens} tokens.")


def _rows(
    config: RunConfig, skills: Sequence[Skill], goal: str, task_type: str, seed: int
) -> list[dict[str, Any]]:
    from sdar.skills.explain import explain
    from sdar.skills.retrieval import Retriever
    from sdar.skills.strategies import Query
    from sdar.tasks.bank import configured_similarity

    similarity = configured_similarity(config, skills)
    retriever = Retriever.from_bank(skills, config.skills, similarity=similarity)
    hits = retriever.retrieve(goal, task_type, seed)
    reasons = explain(hits, skills, Query(goal, task_type, seed), config.skills, similarity)
    tokens = _tokens(hits, goal, config)
    return [_row(hit, reason, *tokens[hit.skill.id]) for hit, reason in zip(hits, reasons, strict=True)]


def _row(hit: RetrievedSkillHit, reason: Explanation, tokens: int, fits: bool) -> dict[str, Any]:
    return {
        "rank": hit.rank,
        "score": round(hit.score, 4),
        "skill": hit.skill.name,
        "shared": reason.shared,
        "weights": {part: _rounded(terms) for part, terms in reason.weights.items()},
        "ranks": reason.ranks,
        "tokens": tokens,
        "fits": fits,
        "generic": not hit.skill.task_types,
        "body": hit.skill.body,
    }


def _tokens(hits: Sequence[RetrievedSkillHit], goal: str, config: RunConfig) -> dict[str, tuple[int, bool]]:
    """Return the tokens of each hit and whether it is in the block, by skill id."""
    from sdar.skills.context import build_context, skill_line

    _, count = token_counter(config)
    lenient = config.skills.model_copy(update={"allow_empty": True, "allow_generic": True})
    used = {skill.skill_id: skill.tokens for skill in build_context(hits, goal, lenient, count).used}
    return {
        hit.skill.id: (used.get(hit.skill.id) or count(skill_line(hit.skill.body)), hit.skill.id in used)
        for hit in hits
    }


def _rule(config: SkillsConfig) -> str:
    from sdar.skills.strategies import STRATEGIES

    strategy = STRATEGIES[config.strategy]
    limits = [f"{name} {getattr(config, name)}" for name in strategy.settings]
    if strategy.similar:
        limits.append(f"embedder {config.embedder}")
    return ", ".join([f"strategy {config.strategy}", *limits])


def _lines(row: Mapping[str, Any], budget: int) -> str:
    fits = "in the prompt" if row["fits"] else f"left out, does not fit the budget of {budget}"
    general = "general; " if row["generic"] else ""
    head = f"{row['rank']}  {row['score']:.4f}  {row['skill']}  {general}{row['tokens']} tokens, {fits}"
    return "\n".join([head, *(f"   {line}" for line in (*_reasons(row), row["body"]))])


def _reasons(row: Mapping[str, Any]) -> list[str]:
    if row["ranks"]:
        return [
            f"{part}: {f'rank {rank}' if rank else 'not found'}{_terms(row['weights'].get(part, {}), ', ')}"
            for part, rank in row["ranks"].items()
        ]
    weighted = next((terms for terms in row["weights"].values() if terms), None)
    if weighted:
        return [f"shares: {_terms(weighted)}"]
    return [f"shares: {', '.join(row['shared']) or 'nothing'}"]


def _terms(weights: Mapping[str, float], before: str = "") -> str:
    return before + ", ".join(f"{term} {weight:.2f}" for term, weight in weights.items()) if weights else ""


def _rounded(terms: Mapping[str, float]) -> dict[str, float]:
    return {term: round(weight, 4) for term, weight in terms.items()}
