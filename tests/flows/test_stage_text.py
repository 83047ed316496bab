"""What `sdar stage` says of the stages that it leaves stale."""

from __future__ import annotations

from sdar.flows.commands.stage import _places
from sdar.tasks.staleness import StageState


def _stale(*places: tuple[int, str]) -> list[StageState]:
    return [StageState(round=number, stage=name, condition="stale") for number, name in places]


def test_stale_stages_are_told_together_by_their_rounds() -> None:
    places = [(3, "update"), *((number, name) for number in (4, 5, 6) for name in ("collect", "update"))]
    states = _stale(*places, (4, "evaluate"), (6, "evaluate"), (4, "decide"), (6, "decide"))
    assert _places(states) == "update of rounds 3-6; collect of rounds 4-6; evaluate, decide of rounds 4, 6"
    assert _places(_stale((4, "score"))) == "score of round 4"
    assert _places([]) == "nothing"
