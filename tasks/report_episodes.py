"""Episodes for the report: which ones are worth a look, and all that is known of their tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sdar.schemas.errors import InputError
from sdar.storage import Store, literal

Row = dict[str, Any]

_CANDIDATES = """
    WITH goals AS (SELECT id, any_value(goal) AS goal FROM task GROUP BY id),
    sums AS (
        SELECT round, episode_id, sum(greatest(gap, 0)) AS endorsed, sum(least(gap, 0)) AS rejected
        FROM token_value WHERE run_id = {run} AND isfinite(gap) GROUP BY ALL)
    SELECT e.round, e.id, e.artifact_id, e.ordinal, e.task_id, e.task_type, e.success, e.stop_reason, e.error,
        g.goal, v.endorsed, v.rejected
    FROM collected_episode e JOIN sums v ON v.round = e.round AND v.episode_id = e.id
    LEFT JOIN goals g ON g.id = e.task_id
    WHERE e.run_id = {run} AND {condition} ORDER BY e.round, e.ordinal"""
_TURNS = """
    SELECT turn, observation, action, valid, reward FROM turn
    WHERE artifact_id = {artifact} AND episode_id = {episode} ORDER BY turn"""
_TOKENS = """
    SELECT turn, position, coalesce(token, '#' || token_id) AS token, student, teacher, gap, gate
    FROM token_gap WHERE run_id = {run} AND round = {round} AND episode_id = {episode} ORDER BY position"""
_SKILLS = """
    SELECT any_value(coalesce(t.name, k.skill_id)) AS name, any_value(t.description) AS description,
        coalesce(any_value(t.body), '') AS body, k.rank, k.score
    FROM stage_run s JOIN context_skill k ON k.artifact_id = s.artifact_id
    LEFT JOIN skill t ON t.id = k.skill_id
    WHERE s.run_id = {run} AND s.round = {round} AND s.stage = 'retrieve' AND k.episode_id = {episode}
    GROUP BY k.rank, k.score, k.ordinal ORDER BY k.rank, k.ordinal"""


@dataclass(frozen=True)
class ShownEpisode:
    """A training episode with what the teacher made of it.

    `why` says in one sentence why it was chosen. `turns` holds in each row the `tokens` of its action with
    student and teacher log-prob, gap and gate; `skills` the name, text, rank and score of each skill that the
    teacher read, best first.
    """

    why: str
    about: Row
    turns: tuple[Row, ...]
    skills: tuple[Row, ...]


def chosen_episodes(
    store: Store, run_id: str, count: int, wanted: Sequence[str] = (), round_number: int | None = None
) -> tuple[ShownEpisode, ...]:
    """Return the episodes that were asked for and, up to `count` in all, those that tell the most.

    Args:
        store: opened for reading.
        run_id: the run.
        count: most episodes that are chosen, at least 0.
        wanted: beginnings of ids of episodes to show in any case.
        round_number: choose from this round only.

    Raises:
        InputError: an id fits no scored episode or several, or the round has none.
    """
    condition = "true" if round_number is None else f"e.round = {round_number}"
    query = _CANDIDATES.format(run=literal(run_id), condition=condition)
    found: list[Row] = store.query(query).to_pylist()
    if not found and (wanted or round_number is not None):
        where = "" if round_number is None else f" in round {round_number}"
        raise InputError(
            f"run {run_id} has no scored episode{where}. "
            f"`sdar episodes list --run {run_id} --store {store.path}` lists its episodes."
        )
    picked = {row["id"]: ("It was asked for.", row) for row in _named(found, wanted, store, run_id)}
    for why, row in _telling(found):
        if len(picked) >= max(count, len(wanted)):
            break
        picked.setdefault(row["id"], (why, row))
    return tuple(_shown(store, run_id, why, row) for why, row in picked.values())


def _named(found: Sequence[Row], wanted: Sequence[str], store: Store, run_id: str) -> Iterator[Row]:
    for beginning in wanted:
        fitting = [row for row in found if row["id"].startswith(beginning)]
        if len({row["id"] for row in fitting}) != 1:
            amount = "several scored episodes" if fitting else "no scored episode"
            raise InputError(
                f"run {run_id} has {amount} with an id that begins with {beginning!r}; allowed: the "
                f"beginning of one id. `sdar episodes list --run {run_id} --store {store.path}` lists them."
            )
        yield fitting[-1]


def _telling(found: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    """Yield episodes that tell something, most of all first, each with the reason; some come twice."""
    if not found:
        return
    yield "The teacher endorsed its tokens most, of all episodes.", _most(found, "endorsed")
    if turned := _turned(found):
        failed, succeeded = turned
        yield f"It failed; an attempt at the same goal in round {succeeded['round']} succeeded.", failed
        yield f"It succeeded; an attempt at the same goal in round {failed['round']} had failed.", succeeded
    last = [row for row in found if row["round"] == found[-1]["round"]]
    first = [row for row in found if row["round"] == found[0]["round"]]
    yield "The teacher endorsed its tokens most, of the last round.", _most(last, "endorsed")
    yield "The teacher endorsed its tokens most, of the first round.", _most(first, "endorsed")
    if solved := [row for row in found if row["success"]]:
        yield "It succeeded against the teacher, who rejected its tokens most.", _least(solved, "rejected")
    for row in sorted(found, key=lambda row: -row["endorsed"]):
        yield "The teacher endorsed its tokens more than those of most others.", row


def _turned(found: Iterable[Row]) -> tuple[Row, Row] | None:
    """Return a failure and a later success at the same goal, as far apart as may be."""
    by_goal: dict[str, list[Row]] = {}
    for row in found:
        by_goal.setdefault(row["goal"] or row["task_id"], []).append(row)
    pairs = [
        (failed, succeeded)
        for rows in by_goal.values()
        for failed in [row for row in rows if not row["success"]][:1]
        for succeeded in [row for row in rows if row["success"] and row["round"] > failed["round"]][-1:]
    ]
    return max(pairs, key=_distance, default=None)


def _distance(pair: tuple[Row, Row]) -> tuple[int, float]:
    failed, succeeded = pair
    return succeeded["round"] - failed["round"], failed["endorsed"]


def _most(rows: Sequence[Row], name: str) -> Row:
    return max(rows, key=lambda row: row[name])


def _least(rows: Sequence[Row], name: str) -> Row:
    return min(rows, key=lambda row: row[name])


def _shown(store: Store, run_id: str, why: str, row: Row) -> ShownEpisode:
    place = {
        "run": literal(run_id),
        "round": row["round"],
        "episode": literal(row["id"]),
        "artifact": literal(row["artifact_id"]),
    }
    tokens: list[Row] = store.query(_TOKENS.format(**place)).to_pylist()
    turns = tuple(
        {**turn, "tokens": [token for token in tokens if token["turn"] == turn["turn"]]}
        for turn in store.query(_TURNS.format(**place)).to_pylist()
    )
    return ShownEpisode(why, row, turns, tuple(store.query(_SKILLS.format(**place)).to_pylist()))
