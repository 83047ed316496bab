"""The rows that an episode is for the model: all of it in one, or a window with one row per turn.

An episode keeps its ids once. What the policy read before a turn is a prompt (skills, task), then the
observations and actions from some turn on: both context policies are slices of the kept ids, so no text is
encoded a second time and the ids of an action are those that were sampled.

In a chat format a window begins with the observation's text: what stands between it and the answer before
belongs to that answer. The head ends where such a text may follow, so a window is a conversation of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdar.policy.dialogue import Dialogue
from sdar.policy.scoring import Row
from sdar.schemas.records import Episode, Turn


def history_length(context_policy: str) -> int | None:
    """Return how many earlier turns a window keeps; None for a whole conversation."""
    return int(context_policy.removeprefix("window:")) if context_policy != "conversation" else None


@dataclass(frozen=True)
class Cuts:
    """Where an episode can be cut: tokens of the first observation, and of the seam after each turn."""

    first_observation: int
    seams: tuple[int, ...]


def cuts(episode: Episode, dialogue: Dialogue) -> Cuts:
    """Return where an episode can be cut; one that broke before its first turn has no observation."""
    return Cuts(
        len(dialogue.observation(episode.turns[0].observation)) if episode.turns else 0,
        tuple(len(dialogue.seam(episode.token_ids[t.start : t.end].tolist())) for t in episode.turns),
    )


def window_start(seam_ends: Sequence[int], turn: int, history: int, first: int) -> int:
    """Return where the window of a turn begins in the episode's ids.

    Args:
        seam_ends: end of the seam after each earlier action, at least of those before the turn.
        turn: 0 for the first.
        history: turns that the window keeps before this one.
        first: where the first observation begins.
    """
    oldest = max(turn - history, 0)
    return seam_ends[oldest - 1] if oldest else first


def episode_rows(episode: Episode, prompt: NDArray[np.int32], places: Cuts) -> list[Row]:
    """Return the rows of an episode, whose scored tokens are all its action tokens in order.

    Args:
        episode: with its context policy.
        prompt: [P], what stands before the first action: the student's prompt or the teacher's.
        places: where the episode can be cut; the first observation is the end of the prompt.
    """
    history = history_length(episode.context_policy)
    if history is None:
        return [_conversation(episode, prompt)]
    head = prompt[: len(prompt) - places.first_observation]
    return [_window(episode, head, turn, history, places) for turn in episode.turns]


def _conversation(episode: Episode, prompt: NDArray[np.int32]) -> Row:
    body = episode.token_ids[episode.prompt_length :]
    positions = np.flatnonzero(episode.action_mask) + (len(prompt) - episode.prompt_length)
    return Row(np.concatenate([prompt, body]), positions.astype(np.int32))


def _window(episode: Episode, head: NDArray[np.int32], turn: Turn, history: int, places: Cuts) -> Row:
    ends = [earlier.end + seam for earlier, seam in zip(episode.turns, places.seams, strict=True)]
    start = window_start(ends, turn.index, history, episode.prompt_length - places.first_observation)
    positions = np.arange(turn.start, turn.end) - start + len(head)
    return Row(np.concatenate([head, episode.token_ids[start : turn.end]]), positions.astype(np.int32))
