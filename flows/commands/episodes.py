"""`sdar episodes`: rollouts turn by turn, with what the skills made of each token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdar.flows.commands.options import (
    STORE,
    FormatOption,
    JsonOption,
    OutOption,
    RunOption,
    StoreOption,
    find_run,
    read_store,
)
from sdar.flows.output import print_json, print_table
from sdar.schemas.errors import InputError
from sdar.schemas.records import StopReason

if TYPE_CHECKING:
    from rich.text import Text

    from sdar.storage import Store

episodes_app = typer.Typer(no_args_is_help=True, help="Look at rollouts.")

RoundOption = Annotated[int | None, typer.Option("--round", min=0, help="Only of this round.")]
Played = Literal["collect", "evaluate", "evaluate_with_skills", "trial"]

_EPISODES = """
    WITH goals AS (
        SELECT id, any_value(goal) AS goal FROM (FROM task UNION ALL FROM panel_task) GROUP BY id),
    turns AS (SELECT artifact_id, episode_id, count(*) AS turns FROM turn GROUP BY ALL)
    SELECT s.round, s.stage, e.id, e.success, e.stop_reason, t.turns, e.task_type, g.goal,
        e.artifact_id, e.error
    FROM stage_run s JOIN episode e ON e.artifact_id = s.artifact_id
    LEFT JOIN turns t ON t.artifact_id = e.artifact_id AND t.episode_id = e.id
    LEFT JOIN goals g ON g.id = e.task_id
    WHERE s.run_id = {run} AND {condition}
    ORDER BY s.round DESC, s.rowid DESC, e.ordinal LIMIT {limit}"""
_TURNS = """
    SELECT turn, observation, action, reward, valid FROM turn
    WHERE artifact_id = {artifact} AND episode_id = {episode} ORDER BY turn"""
_TOKENS = """
    SELECT turn, position, token, student, teacher, gap, gate FROM token_gap
    WHERE run_id = {run} AND round = {round} AND episode_id = {episode} ORDER BY position"""
_SKILLS = """
    SELECT skill, score FROM retrieval_audit
    WHERE run_id = {run} AND round = {round} AND episode_id = {episode} AND skill IS NOT NULL ORDER BY rank"""
_CLEAR_GAP = 0.5


@episodes_app.command("list")
def list_episodes(
    run: RunOption = None,
    round_: RoundOption = None,
    stage: Annotated[
        Played | None,
        typer.Option("--stage", help="Only of this stage; `collect` are those whose tokens have gaps."),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those without success.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the latest first.")] = 20,
    form: FormatOption = "table",
    out: OutOption = None,
    store: StoreOption = STORE,
) -> None:
    """List episodes of a run, the latest round first."""
    from sdar.storage import literal

    opened = read_store(store)
    conditions = ["NOT e.success"] if failed else []
    if round_ is not None:
        conditions.append(f"s.round = {round_}")
    if stage is not None:
        conditions.append(f"s.stage = {literal(stage)}")
    condition = " AND ".join(conditions) or "true"
    table = opened.query(
        _EPISODES.format(run=literal(find_run(opened, run).id), condition=condition, limit=limit)
    )
    print_table(table.drop_columns(["artifact_id", "error"]), form, out)


@episodes_app.command()
def show(
    episode: Annotated[str, typer.Argument(help="Id of the episode, or its beginning.")],
    run: RunOption = None,
    round_: RoundOption = None,
    store: StoreOption = STORE,
    json_: JsonOption = False,
) -> None:
    """Show the turns of an episode, and for each token the gap between teacher and student and its gate."""
    opened = read_store(store)
    found = _read(opened, find_run(opened, run).id, episode, round_)
    if json_:
        print_json(found)
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for line in _lines(found):
        console.print(line)


def _read(store: Store, run_id: str, wanted: str, round_number: int | None) -> dict[str, Any]:
    from sdar.storage import literal

    condition = f"starts_with(e.id, {literal(wanted)})"
    if round_number is not None:
        condition += f" AND s.round = {round_number}"
    rows = store.query(_EPISODES.format(run=literal(run_id), condition=condition, limit=2)).to_pylist()
    if not rows or len({row["id"] for row in rows}) > 1:
        amount = "several episodes" if rows else "no episode"
        raise InputError(
            f"run {run_id} has {amount} with an id that begins with {wanted!r}; allowed: the beginning of "
            f"one id. `sdar episodes list --run {run_id} --store {store.path}` lists them."
        )
    found = rows[0]
    place = {
        "run": literal(run_id),
        "round": found["round"],
        "episode": literal(found["id"]),
        "artifact": literal(found.pop("artifact_id")),
    }
    scored = found["stage"] == "collect"
    tokens = store.query(_TOKENS.format(**place)).to_pylist() if scored else []
    turns = [
        {**turn, "tokens": [token for token in tokens if token["turn"] == turn["turn"]]}
        for turn in store.query(_TURNS.format(**place)).to_pylist()
    ]
    skills = store.query(_SKILLS.format(**place)).to_pylist() if scored else []
    return {"run": run_id, **found, "skills": skills, "turns": turns}


def _lines(found: dict[str, Any]) -> list[str | Text]:
    """Return an episode as lines for a terminal; colours are dropped where there is none."""
    from rich.text import Text

    outcome = "success" if found["success"] else "no success"
    lines: list[str | Text] = [
        Text(f"Episode {found['id']} of round {found['round']} ({found['stage']}), {found['task_type']}"),
        Text(f"Goal: {found['goal']}"),
        Text(f"{outcome}. {StopReason(found['stop_reason']).sentence} {found['error'] or ''}".rstrip()),
    ]
    if found["skills"]:
        names = ", ".join(f"{skill['skill']} {skill['score']:.2f}" for skill in found["skills"])
        lines.append(Text(f"Skills of the teacher: {names}"))
    if any(turn["tokens"] for turn in found["turns"]):
        unknown = all(token["gate"] is None for turn in found["turns"] for token in turn["tokens"])
        note = " The gate centred_gap is not stored by token." if unknown else ""
        lines.append(Text(f"Each token: gap (teacher minus student, natural log) and gate.{note}"))
    elif found["stage"] != "collect":
        lines.append(Text("No gaps: the teacher reads episodes of `sdar episodes list --stage collect`."))
    for turn in found["turns"]:
        note = "" if turn["valid"] else "  (not understood)"
        lines += [Text(), Text(f"turn {turn['turn']}  reward {turn['reward']:g}{note}")]
        lines += [Text(f"  < {line}", style="dim") for line in turn["observation"].splitlines()]
        lines.append(Text(f"  > {turn['action'].rstrip()}", style="bold"))
        lines += [_token(token) for token in turn["tokens"]]
    return lines


def _token(token: dict[str, Any]) -> Text:
    """Return the line of one token: green where the skills favour it clearly, red where they reject it."""
    from rich.text import Text

    gap = token["gap"]
    style = "green" if gap > _CLEAR_GAP else "red" if gap < -_CLEAR_GAP else ""
    name = repr(token["token"]) if token["token"] is not None else str(token["position"])
    gate = "-" if token["gate"] is None else f"{token['gate']:.2f}"
    return Text(f"      {name:<16} {gap:+7.3f}  {gate}", style=style)
