"""Staleness as data: one stored stage run by hand against what it would be made from now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.schemas.keys import stage_key
from sdar.schemas.lineage import StageRun
from sdar.tasks.stage import SOURCE
from sdar.tasks.staleness import Present, Reason, present_key, stage_state, stage_states

PLACE = (3, "update")
SCORES, POLICY = (3, "score"), (2, "update")
NOW = Present(
    version=2,
    source="s1",
    fields={"sdar": {"gate": "gap", "beta": 5.0}, "method": "sdar"},
    inputs={"scores": "a1", "policy": "p1"},
    makers={"scores": SCORES, "policy": POLICY},
    seed=7,
    files=True,
    schema=(3, 3),
)


def stored(present: Present = NOW, stage: str = "update", number: int = 3, **changes: Any) -> StageRun:
    inputs = {role: found for role, found in present.inputs.items() if found is not None}
    fields: dict[str, Any] = {
        "run_id": "r1", "round": number, "stage": stage, "version": present.version, "inputs": inputs,
        "key": stage_key(stage, present.version, present.fields, inputs, present.seed), "seconds": 1.0,
        "config": dict(present.fields), "started": "", "finished": "", "artifact_id": "made",
        "status": "done", "summary": {SOURCE: present.source},
    }  # fmt: skip
    return StageRun(**{**fields, **changes})


def test_what_was_made_from_the_same_is_fresh() -> None:
    state = stage_state(PLACE, stored(), NOW)
    assert (state.condition, state.reasons, state.warning) == ("fresh", (), "")
    assert (state.key, state.artifact_id) == (present_key("update", NOW), "made")


@pytest.mark.parametrize(
    ("present", "reason"),
    [
        (replace(NOW, version=3), Reason("CODE", "version", 2, 3)),
        (
            replace(NOW, fields={"sdar": {"gate": "entropy", "beta": 5.0}, "method": "sdar"}),
            Reason("CONFIG", "sdar.gate", "gap", "entropy"),
        ),
        (
            replace(NOW, fields={**NOW.fields, "update": {"epochs": 1}}),
            Reason("CONFIG", "update.epochs", None, 1),
        ),
        (replace(NOW, inputs={"scores": "a2", "policy": "p1"}), Reason("INPUT", "scores", "a1", "a2")),
        (replace(NOW, inputs={"scores": "a1"}), Reason("INPUT", "policy", "p1", None)),
        (replace(NOW, schema=(2, 3)), Reason("SCHEMA", "schema version", 2, 3)),
    ],
)
def test_each_cause_is_named_with_both_values(present: Present, reason: Reason) -> None:
    state = stage_state(PLACE, stored(), present)
    assert (state.condition, state.reasons) == ("stale", (reason,))


def test_what_was_never_computed_or_lost_its_files_is_missing() -> None:
    never = stage_state(PLACE, None, NOW)
    assert (never.condition, never.reasons) == ("missing", (Reason("MISSING", "not computed yet"),))
    lost = stage_state(PLACE, stored(), replace(NOW, files=False, version=3))
    assert lost.condition == "missing"
    assert [reason.cause for reason in lost.reasons] == ["CODE", "MISSING"]


def test_another_seed_shows_as_another_key() -> None:
    state = stage_state(PLACE, stored(), replace(NOW, seed=8))
    assert [(reason.cause, reason.what) for reason in state.reasons] == [("CODE", "key")]


def test_changed_source_under_the_same_version_is_a_warning_only() -> None:
    edited = replace(NOW, source="s2")
    state = stage_state(PLACE, stored(), edited)
    assert state.condition == "fresh"
    assert "the source of update changed since, its version is 2 as before" in state.warning
    assert stage_state(PLACE, stored(), replace(edited, version=3)).warning == ""
    assert stage_state(PLACE, stored(summary={}), edited).warning == ""  # of before sources were kept


def test_staleness_spreads_to_what_was_made_from_it_and_no_further() -> None:
    places = [(1, "collect"), (1, "score"), (1, "update"), (2, "collect")]
    made_from = {"score": "collect", "update": "score"}
    present = {
        place: replace(
            NOW,
            version=3 if place == (1, "score") else 2,
            inputs={"in": "x"} if place[1] in made_from else {},
            makers={"in": (1, made_from[place[1]])} if place[1] in made_from else {},
        )
        for place in places
    }
    kept = {place: stored(replace(present[place], version=2), place[1], place[0]) for place in places}
    states = {state.place: state for state in stage_states(places, kept, present.__getitem__)}
    assert {place: state.condition for place, state in states.items()} == {
        (1, "collect"): "fresh",
        (1, "score"): "stale",
        (1, "update"): "stale",
        (2, "collect"): "fresh",
    }
    assert states[1, "update"].reasons == (Reason("INPUT", "in", "x", "stale: score of round 1"),)


@given(st.sets(st.sampled_from(["gate", "beta", "version", "scores", "policy", "seed"])))
def test_a_stage_is_fresh_exactly_when_its_key_is_the_present_one(changed: set[str]) -> None:
    fields = {
        "sdar": {"gate": "half" if "gate" in changed else "gap", "beta": 1.0 if "beta" in changed else 5.0},
        "method": "sdar",
    }
    inputs = {role: "new" if role in changed else old for role, old in NOW.inputs.items()}
    version, seed = NOW.version + ("version" in changed), NOW.seed + ("seed" in changed)
    present = replace(NOW, fields=fields, inputs=inputs, version=version, seed=seed)
    run = stored()
    fresh = stage_state(PLACE, run, present).condition == "fresh"
    assert fresh == (present_key("update", present) == run.key) == (not changed)
