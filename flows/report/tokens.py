"""Episodes as heat maps: each token's colour, its gate, and which of the teacher's skills names it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdar.flows.report.texts import DASH, SPACE, known, number
from sdar.schemas.records import StopReason
from sdar.tasks.report_data import CLEAR_GAP
from sdar.tasks.report_episodes import ShownEpisode

Row = dict[str, Any]

MOST_TOKENS = 600
"""Tokens of one episode on the page; with more, the page of a long run would be slow to open."""
MOST_CHARACTERS = 1500
"""Characters of one observation on the page."""
STEPS = (0.1, CLEAR_GAP, 1.5)
"""Nats at which the colour of a token gets stronger, on either side of 0."""


@dataclass(frozen=True)
class Token:
    """A token: its style class, its gate in per cent, and its values as text.

    `named` holds the places, from 0, of the skills of the episode that name a token which the teacher clearly
    endorsed; `skills` their names and `marks` their numbers, from 1.
    """

    text: str
    kind: str
    width: int
    gap: str
    gate: str
    student: str
    teacher: str
    named: tuple[int, ...]
    skills: str
    marks: str


@dataclass(frozen=True)
class Turn:
    """A turn: what the policy saw, and the tokens of its action; `action` where no token was scored."""

    number: int
    observation: str
    action: str
    note: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Skill:
    """A skill that the teacher read for the episode."""

    name: str
    body: str
    score: str


@dataclass(frozen=True)
class HeatMap:
    """An episode as the page shows it; `left_out` counts the turns that the page has no room for."""

    identity: str
    title: str
    why: str
    goal: str
    outcome: str
    summary: str
    succeeded: bool
    turns: tuple[Turn, ...]
    skills: tuple[Skill, ...]
    left_out: int


def heat_map(shown: ShownEpisode) -> HeatMap:
    """Return an episode as the page shows it."""
    about, turns = shown.about, _fitting(shown.turns)
    scored = [token for turn in shown.turns for token in turn["tokens"] if known(token["gap"])]
    clear = [sum(sign * token["gap"] > CLEAR_GAP for token in scored) for sign in (1, -1)]
    return HeatMap(
        identity=about["id"],
        title=f"Round {about['round']}, {about['task_type']}",
        why=shown.why,
        goal=about["goal"] or about["task_id"],
        outcome=f"{StopReason(about['stop_reason']).sentence} {about['error'] or ''}".strip(),
        summary=f"{clear[0]} of {len(scored)} tokens clearly endorsed, {clear[1]} clearly rejected",
        succeeded=bool(about["success"]),
        turns=tuple(_turn(turn, shown.skills) for turn in turns),
        skills=tuple(Skill(row["name"], row["body"], number(row["score"], ".2f")) for row in shown.skills),
        left_out=len(shown.turns) - len(turns),
    )


def _fitting(turns: Sequence[Row]) -> list[Row]:
    """Return the turns from the first on that fit onto the page together, at least one."""
    fitting: list[Row] = []
    count = 0
    for turn in turns:
        count += len(turn["tokens"])
        if fitting and count > MOST_TOKENS:
            break
        fitting.append({**turn, "tokens": turn["tokens"][:MOST_TOKENS]})
    return fitting


def _turn(turn: Row, skills: Sequence[Row]) -> Turn:
    text = turn["observation"]
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]}…"
    words = _words([token["token"] for token in turn["tokens"]])
    tokens = tuple(_token(token, word, skills) for token, word in zip(turn["tokens"], words, strict=True))
    notes = [] if turn["valid"] else ["not understood"]
    notes += [f"reward {turn['reward']:g}"] if turn["reward"] else []
    return Turn(turn["turn"], text, turn["action"], ", ".join(notes), tokens)


def _words(texts: Sequence[str]) -> list[str]:
    """Return for each token the whole words that it is a part of, without what surrounds them."""
    whole = "".join(texts)
    places: list[tuple[int, int]] = []
    found: list[str] = []
    for text in texts:
        start = places[-1][1] if places else 0
        places.append((start, start + len(text)))
    for start, end in places:
        if not whole[start:end].strip():
            found.append("")
            continue
        while start > 0 and whole[start - 1].isalnum() and whole[start].isalnum():
            start -= 1
        while end < len(whole) and whole[end].isalnum() and whole[end - 1].isalnum():
            end += 1
        found.append(re.sub(r"^\W+|\W+$", "", whole[start:end]).lower())
    return found


def _token(token: Row, word: str, skills: Sequence[Row]) -> Token:
    gap = token["gap"]
    named = naming(word, [row["body"] for row in skills]) if known(gap) and gap > CLEAR_GAP else ()
    gate = token["gate"] if known(token["gate"]) else None
    return Token(
        text=token["token"].replace("\n", "⏎") or "∅",
        kind=_kind(gap),
        width=round(100 * min(max(gate or 0.0, 0.0), 1.0)),
        gap=number(gap, "+.2f"),
        gate=number(gate, ".2f"),
        student=_probability(token["student"]),
        teacher=_probability(token["teacher"]),
        named=named,
        skills=", ".join(skills[place]["name"] for place in named),
        marks=" ".join(str(place + 1) for place in named),
    )


def naming(word: str, bodies: Sequence[str]) -> tuple[int, ...]:
    """Return the places of the texts that name a word or, if none does, a part of it without digits.

    This compares words, no more: which skill moved the teacher was not measured.

    Args:
        word: in small letters; several words with spaces between them are one name, such as `drawer 2`.
        bodies: texts of skills.
    """
    parts = [part for part in re.findall(r"[^\W\d_]+", word) if len(part) > 2]
    if not parts:
        return ()
    for wanted in ([word], parts):
        pattern = re.compile("|".join(rf"\b{re.escape(each)}\b" for each in wanted), re.I)
        found = tuple(place for place, body in enumerate(bodies) if pattern.search(body))
        if found:
            return found
    return ()


def _kind(gap: float | None) -> str:
    """Return the style class of a gap: `e1` to `e3` endorsed, `r1` to `r3` rejected, nothing around 0."""
    if not known(gap) or gap is None:
        return ""
    strength = sum(abs(gap) > step for step in STEPS)
    return f"{'e' if gap > 0 else 'r'}{strength}" if strength else ""


def _probability(logprob: float | None) -> str:
    if logprob is None or not known(logprob):
        return DASH
    share = 100 * math.exp(min(logprob, 0.0))
    return f"{share:.1f}{SPACE}%" if share >= 0.1 else f"<{SPACE}0.1{SPACE}%"
