"""Stage `select`: which of the round's episodes the update may learn from, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sdar.rl.judging import episode_returns
from sdar.schemas.config import SelectConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.lineage import Summary
from sdar.schemas.records import Episode, Selection, SelfJudgement
from sdar.tasks.stage import Stage, StageInputs, StageOutput

ROUNDING = 1e-9
"""An interpolated quantile may miss the value that it falls on by rounding: that value still passes."""

Rejections = Mapping[str, Mapping[int, str]]
"""By filter, which episodes it rejects (their place in the round) and why."""


def rejections(
    episodes: Sequence[Episode],
    returns: Sequence[float],
    judged: Sequence[SelfJudgement] | None,
    config: SelectConfig,
) -> Rejections:
    """Return what each filter in use rejects.

    Quantiles are over all episodes of the round, interpolated between neighbours; what equals one is kept.

    Args:
        episodes: N episodes.
        returns: [N], what the update learns from.
        judged: their judgements in the same order; needed by `consistency` alone.
        config: the filters.
    """
    found: dict[str, dict[int, str]] = {}
    if config.success:
        found["success"] = {i: "it did not succeed" for i, e in enumerate(episodes) if not e.success}
    if config.return_quantile > 0:
        least = float(np.quantile(np.asarray(returns), config.return_quantile))
        limit = f"{least:.4g}, the {config.return_quantile:g} quantile of the round"
        found["return_quantile"] = {
            i: f"its return {value:.4g} is below {limit}"
            for i, value in enumerate(returns)
            if value < least - ROUNDING
        }
    if config.length_quantile < 1:
        turns = [len(episode.turns) for episode in episodes]
        most = float(np.quantile(turns, config.length_quantile))
        limit = f"{most:.4g}, the {config.length_quantile:g} quantile of the round"
        found["length_quantile"] = {
            i: f"its {value} turns are more than {limit}"
            for i, value in enumerate(turns)
            if value > most + ROUNDING
        }
    if config.consistency > 0:
        found["consistency"] = {
            i: f"only {each.consistency:.4g} of its judgements agree, less than {config.consistency:g}"
            for i, each in enumerate(judged or ())
            if each.consistency < config.consistency - ROUNDING
        }
    return found


def selections(episodes: Sequence[Episode], rejected: Rejections) -> list[Selection]:
    """Return one selection per episode; its reason is one sentence with all that speaks against it.

    Raises:
        CheckFailedError: no episode is kept; the message names the filter that rejects most.
    """
    reasons = [[why[i] for why in rejected.values() if i in why] for i in range(len(episodes))]
    if all(reasons):
        raise CheckFailedError(_nothing_left(len(episodes), rejected))
    return [
        Selection(episode_id=episode.id, kept=not why, reason=_sentence(why))
        for episode, why in zip(episodes, reasons, strict=True)
    ]


def kept_indices(selected: Sequence[Selection], episodes: Sequence[Episode]) -> list[int]:
    """Return the places of the kept episodes, in the order of `episodes`.

    Args:
        selected: one selection for each episode, in any order.
        episodes: the episodes that were selected from.
    """
    kept = {each.episode_id: each.kept for each in selected}
    return [i for i, episode in enumerate(episodes) if kept[episode.id]]


def run(inputs: StageInputs) -> StageOutput:
    """Store one selection per episode."""
    config, store = inputs.config, inputs.store
    episodes = store.episodes(inputs.artifacts["episodes"])
    judged = store.judgements(inputs.artifacts["judgements"]) if "judgements" in inputs.artifacts else None
    returns = episode_returns(
        [episode.episode_return for episode in episodes],
        [each.score for each in judged] if judged is not None else None,
        config.reward,
    )
    rejected = rejections(episodes, returns, judged, config.select)
    selected = selections(episodes, rejected)
    kept = sum(each.kept for each in selected)
    summary: Summary = {"kept": float(kept), "share": kept / len(episodes)}
    counts = {f"rejected_{name}": float(len(why)) for name, why in rejected.items()}
    return StageOutput(kind="selection", rows={"selection": selected}, summary={**summary, **counts})


def _sentence(why: Sequence[str]) -> str:
    text = " and ".join(why)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _nothing_left(episodes: int, rejected: Rejections) -> str:
    counts = ", ".join(f"select.{name} {len(why)}" for name, why in rejected.items())
    hardest = max(rejected, key=lambda name: len(rejected[name]))
    default = str(SelectConfig.model_fields[hardest].default).lower()
    return (
        f"the filters leave none of the round's {episodes} episodes to learn from; rejected by {counts}. "
        f"Relax select.{hardest}, whose default {default} keeps all: "
        f"sdar stage score --round N --set select.{hardest}={default} --downstream"
    )


STAGE = Stage("select", 1, ("select", "reward.source", "reward.self_weight"), run, seeded=False)
