"""The bank's vectors: stored with it, found again by every stage that retrieves, and never mixed up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import SmallRun, inputs_of, learn, small_config

from sdar.envs.household.goals import tasks
from sdar.policy.model import policy_id
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import IntegrityError
from sdar.schemas.keys import content_hash
from sdar.skills.exchange import export_skills
from sdar.skills.files import builtin_folder, builtin_skills, load_files
from sdar.skills.index_files import CARD
from sdar.skills.retirement import restore_skill, retire_skill
from sdar.skills.retrieval import Retriever
from sdar.skills.strategies import STRATEGIES
from sdar.tasks.bank import stage_similarity
from sdar.tasks.registry import STAGES, input_places
from sdar.tasks.stage import read_fields

AS_BEFORE = {
    "embedding": "dfa2328220ccb743e3b70f37961b2a408b7c46d32b1d60a3f6faa74c10fb4ca6",
    "task_type": "c6c3820d6cd244f9baabf3cb140b032312ce113d4711c7974480d90416c68ebe",
    "ucb": "dfa2328220ccb743e3b70f37961b2a408b7c46d32b1d60a3f6faa74c10fb4ca6",
}
"""Hashes of the names and scores for the default panel's goals, from the version without stored vectors."""


def settings(policy: Path, **skills: Any) -> RunConfig:
    return small_config(policy, {"skills": skills})


@pytest.fixture(scope="module")
def by_policy(policy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    config = settings(policy_path, embedder="policy", threshold=-1.0)
    return learn(tmp_path_factory.mktemp("by-policy") / "store", config, 1)


def card(run: SmallRun) -> dict[str, Any]:
    blob = run.store.artifact(run.artifacts[0, "bank"]).blob
    assert blob is not None
    return json.loads((run.store.blob(blob) / CARD).read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("strategy", AS_BEFORE)
def test_stored_vectors_find_what_was_found_before_them(
    finished: SmallRun, tmp_path: Path, strategy: str
) -> None:
    inputs = inputs_of(finished, "retrieve", 1, tmp_path)
    skills = inputs.store.skills(inputs.artifacts["bank"])
    config = inputs.config.skills.model_copy(update={"strategy": strategy})
    retriever = Retriever.from_bank(skills, config, similarity=stage_similarity(inputs, skills))
    found = [
        [(hit.skill.name, hit.score) for hit in retriever.retrieve(task.goal, task.type, 0)]
        for task in tasks(0, "unseen")[:256]
    ]
    assert content_hash(found) == AS_BEFORE[strategy]


def test_the_artifact_says_which_embedder_made_its_vectors(
    finished: SmallRun, by_policy: SmallRun, policy_path: Path
) -> None:
    assert (card(finished)["embedder"], card(finished)["skills"]) == ("tfidf", 26)
    assert card(by_policy) | {"faiss": "", "text": ""} == {
        "embedder": "policy", "fingerprint": policy_id(policy_path), "dimension": 32, "normalised": True,
        "text": "", "skills": 26, "kind": "flat", "faiss": "",
    }  # fmt: skip


def test_the_policy_finds_skills_by_its_own_states(by_policy: SmallRun) -> None:
    contexts = by_policy.store.contexts(by_policy.artifacts[1, "retrieve"])
    scores = [skill.score for context in contexts for skill in context.skills]
    assert scores
    assert all(-1 <= score <= 1 for score in scores)
    assert len(set(scores)) > 1


def test_only_the_policy_as_embedder_is_an_input(policy_path: Path) -> None:
    own, other = settings(policy_path, embedder="policy"), settings(policy_path)
    for stage in ("bank", "retrieve", "judge", "trial", "evaluate_with_skills"):
        assert input_places(own, stage, 1)["embedder"] == (0, "bootstrap")
        assert "embedder" not in input_places(other, stage, 1)
    assert "embedder" not in input_places(
        settings(policy_path, embedder="policy", strategy="full"), "bank", 0
    )


def test_the_key_of_the_bank_holds_the_embedder_where_vectors_are_compared(policy_path: Path) -> None:
    def fields(**skills: Any) -> dict[str, Any]:
        return read_fields(settings(policy_path, **skills), STAGES["bank"])

    assert fields() != fields(embedder="policy")
    assert fields() == fields(strategy="hybrid")
    assert fields(strategy="keyword") == fields(strategy="none", embedder="policy", allow_empty=True)
    assert {name for name, strategy in STRATEGIES.items() if strategy.similar} == {
        "embedding", "hybrid", "task_type", "ucb",
    }  # fmt: skip


def test_vectors_of_another_embedder_are_refused_with_the_command(
    finished: SmallRun, by_policy: SmallRun, tmp_path: Path
) -> None:
    inputs = inputs_of(finished, "retrieve", 1, tmp_path)
    other = inputs_of(by_policy, "retrieve", 1, tmp_path)
    mixed = replace(inputs, config=other.config, blobs=inputs.blobs | {"embedder": other.blobs["embedder"]})
    mixed = replace(mixed, artifacts=inputs.artifacts | {"embedder": inputs.artifacts["policy"]})
    command = "sdar stage bank --round 0 --force --set skills.embedder=policy"
    with pytest.raises(IntegrityError, match=f"made by the embedder 'tfidf'.*`{command}`"):
        STAGES["retrieve"].run(mixed)


def test_other_skills_than_those_of_the_vectors_are_refused(finished: SmallRun, tmp_path: Path) -> None:
    inputs = inputs_of(finished, "retrieve", 1, tmp_path)
    with pytest.raises(IntegrityError, match="cannot be compared: it has fingerprint"):
        stage_similarity(inputs, builtin_skills("household")[1:])


def test_a_bank_without_vectors_is_embedded_when_it_is_read(finished: SmallRun, tmp_path: Path) -> None:
    inputs = inputs_of(finished, "retrieve", 1, tmp_path)
    bare = replace(inputs, blobs={role: blob for role, blob in inputs.blobs.items() if role != "bank"})
    with_vectors, without = STAGES["retrieve"].run(inputs), STAGES["retrieve"].run(bare)
    assert [c.skills for c in without.rows["teacher_context"]] == [  # type: ignore[attr-defined]
        c.skills
        for c in with_vectors.rows["teacher_context"]  # type: ignore[attr-defined]
    ]


def test_a_skill_retired_in_its_folder_is_kept_and_never_retrieved(policy_path: Path, tmp_path: Path) -> None:
    export_skills(load_files(builtin_folder("household")), tmp_path / "bank")
    retire_skill(tmp_path / "bank", "what-cools", "The freezer broke.")
    run = learn(tmp_path / "store", settings(policy_path, path=str(tmp_path / "bank")), 1)
    bank = run.artifacts[0, "bank"]
    assert card(run)["skills"] == 25
    every, active = run.store.skills(bank, retired=True), run.store.skills(bank)
    (gone,) = [skill for skill in every if skill not in active]
    (state,) = [each for each in run.store.skill_states(bank) if each.retired]
    assert (gone.name, state.skill_id, len(every)) == ("what-cools", gone.id, 26)
    assert state.reason == "Retired by hand: The freezer broke."
    used = {one.skill_id for c in run.store.contexts(run.artifacts[1, "retrieve"]) for one in c.skills}
    assert used
    assert gone.id not in used
    # Without the decision the bank is that of the shipped skills, to the byte.
    restore_skill(tmp_path / "bank", "what-cools")
    again = learn(tmp_path / "other", settings(policy_path, path=str(tmp_path / "bank")), 0)
    shipped = learn(tmp_path / "shipped", settings(policy_path), 0)
    assert again.artifacts[0, "bank"] == shipped.artifacts[0, "bank"]
