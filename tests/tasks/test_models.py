"""Rounds in bfloat16 and with an adapter: what is stored, and that an interruption changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_models import CONTEXT, chat, random_model
from small_runs import LEARNING, SmallRun, inputs_of, learn, small_config, start
from test_memory import short_of_memory

from sdar.policy.model import load_model, load_policy, load_weights, policy_id, save_policy, stored_dtype
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import EnvironmentMissingError
from sdar.storage import read_references
from sdar.tasks.registry import STAGES
from sdar.tasks.stage import BASE
from sdar.tasks.trained import OPTIMISER

PEFT = find_spec("peft") is not None
needs_peft = pytest.mark.skipif(not PEFT, reason="needs peft: pip install 'sdar[lora]'")
BFLOAT16: dict[str, dict[str, Any]] = {
    "policy": {"dtype": "bfloat16", "gradient_checkpointing": True},
    "sdar": {"teacher": "ema"},
    "update": {"learning_rate": 1e-4},
}
ADAPTER: dict[str, dict[str, Any]] = {
    "policy": {"lora": {"rank": 4}, "gradient_checkpointing": True},
    "sdar": {"teacher": "ema"},
}
KINDS = {
    "bfloat16": BFLOAT16,
    "adapter": ADAPTER,
    "adapter, bfloat16": {**ADAPTER, "policy": {"lora": {"rank": 4}, "dtype": "bfloat16"}},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 model of random weights with tied embeddings, as the small ones of that family have."""
    folder = tmp_path_factory.mktemp("models") / "model"
    net = random_model("qwen3")
    net.config.tie_word_embeddings = True
    net.tie_weights()
    save_policy(folder, net, chat())
    return folder


def settings(model: Path, changes: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    merged: dict[str, dict[str, Any]] = {
        "policy": {"max_tokens": CONTEXT},
        "rollout": {"max_action_tokens": 8},
        "env": {"max_steps": 2},
    }
    for section, values in changes.items():
        merged[section] = {**merged.get(section, {}), **values}
    return small_config(model, merged)


@pytest.fixture(
    scope="module", params=[pytest.param(k, marks=[needs_peft] * k.startswith("a")) for k in KINDS]
)
def run(request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return learn(tmp_path_factory.mktemp("run") / "store", settings(model, KINDS[request.param]), 2)


def folder(run: SmallRun, number: int) -> Path:
    blob = run.store.artifact(run.artifacts[(number, "update") if number else (0, "bootstrap")]).blob
    assert blob is not None
    return run.store.blob(blob)


def test_a_resumed_run_ends_with_the_same_bits(run: SmallRun, tmp_path: Path) -> None:
    config = run.session.config
    learn(tmp_path / "store", config, 1)  # and then the process ends
    store, session = start(tmp_path / "store", config, resume="latest")
    with store.writer("test"):
        again = [session.execute(stage, 2) for stage in session.plan(2) if stage in LEARNING]
    assert {(2, report.stage): report.artifact_id for report in again}.items() <= run.artifacts.items()
    assert not any(report.reused for report in again)


def test_the_store_is_whole_and_policies_have_the_ids_of_their_files(run: SmallRun) -> None:
    assert run.store.verify() == []
    ids = []
    for number in range(3):
        place = folder(run, number)
        base = read_references(place).get(BASE)
        artifact = run.artifacts[(number, "update") if number else (0, "bootstrap")]
        ids.append(run.store.policy(artifact).id)
        assert ids[-1] == policy_id(place, run.store.blob(base) if base else None)
    assert len(set(ids)) == 3


def test_what_is_sampled_is_what_is_learnt(run: SmallRun) -> None:
    for number in (1, 2):
        summary = run.store.artifact(run.artifacts[number, "score"]).summary
        limit = 1e-4 if run.session.config.policy.dtype == "float32" else 0.5
        assert 0 < float(summary["logprob_difference"]) < limit


def test_bfloat16_weights_are_rounded_masters(run: SmallRun) -> None:
    if run.session.config.policy != settings(Path(run.session.config.policy.path), BFLOAT16).policy:
        pytest.skip("the adapter is its own float32 weights")
    for number in range(3):
        assert stored_dtype(folder(run, number)) == torch.bfloat16
    kept = load_weights(folder(run, 2) / OPTIMISER)
    weights = list(load_model(folder(run, 2)).parameters())
    masters = [kept[f"{index}.master"] for index in range(len(weights))]
    assert all(master.to(torch.bfloat16).equal(w) for master, w in zip(masters, weights, strict=True))
    assert any(not master.equal(w.float()) for master, w in zip(masters, weights, strict=True))
    # The average of 0.95 of the first policy and 0.05 of the second moves by less than bfloat16 can tell.
    assert stored_dtype(folder(run, 1) / "ema") == torch.float32
    first, average = load_model(folder(run, 0)), load_model(folder(run, 1) / "ema")
    after = [load_weights(folder(run, 1) / OPTIMISER)[f"{i}.master"] for i in range(len(weights))]
    for old, mean, new in zip(first.parameters(), average.parameters(), after, strict=True):
        torch.testing.assert_close(mean.data, 0.95 * old.data.float() + 0.05 * new, atol=1e-6, rtol=0)


def test_policies_after_the_first_are_an_adapter_alone(run: SmallRun) -> None:
    if not run.session.config.policy.lora.rank:
        pytest.skip("all weights are trained")
    first = folder(run, 0)
    assert (first / "model.safetensors").is_file()
    for number in (1, 2):
        names = {path.relative_to(folder(run, number)).as_posix() for path in folder(run, number).rglob("*")}
        assert names == {
            "adapter",
            "adapter/adapter_config.json",
            "adapter/adapter_model.safetensors",
            "ema",
            "ema/adapter",
            "ema/adapter/adapter_config.json",
            "ema/adapter/adapter_model.safetensors",
            "optimiser.safetensors",
            "references.json",
        }
        assert read_references(folder(run, number)) == {BASE: first.name}
    before, after = load_policy(first), load_policy(folder(run, 2), base=first)
    moved = [not a.equal(b) for a, b in zip(before.model.parameters(), after.model.parameters(), strict=True)]
    assert 0 < sum(moved) < len(moved)  # embeddings and norms stay
    assert (
        run.session.shelf.get(run.artifacts[2, "update"], folder(run, 2).name).parameters == after.parameters
    )


def test_a_prune_keeps_the_base_of_an_adapter(run: SmallRun, tmp_path: Path) -> None:
    if not run.session.config.policy.lora.rank:
        pytest.skip("all weights are trained")
    with run.store.writer("test"):
        run.session.finish("done")
        report = run.store.prune(("last",), dry_run=True)
    reasons = {use.blob: use.reasons for use in report.kept}
    assert reasons[folder(run, 0).name] == (f"needed by {folder(run, 2).name[:12]}",)
    assert folder(run, 1).name in {use.blob for use in report.removed}


def test_an_update_that_runs_out_of_memory_goes_on_in_smaller_passes(
    finished: SmallRun, tmp_path: Path
) -> None:
    given = inputs_of(finished, "update", 1, tmp_path)
    longest = max(len(e.token_ids) for e in finished.store.episodes(finished.artifacts[1, "collect"]))
    decoder = given.policy().model.get_decoder()  # the update trains a copy, with its hooks
    decoder.register_forward_pre_hook(short_of_memory(longest), with_kwargs=True)
    output = STAGES["update"].run(given)
    assert "The device ran out of memory" in str(output.summary["warnings"])
    assert "policy.token_budget=" in str(output.summary["warnings"])
    undisturbed = finished.store.updates(finished.artifacts[1, "update"])
    for mine, other in zip(output.rows["update_step"], undisturbed, strict=True):
        assert mine.loss == pytest.approx(other.loss, abs=1e-4)  # type: ignore[attr-defined]
        assert mine.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-2)  # type: ignore[attr-defined]


def test_without_peft_a_run_with_an_adapter_says_what_to_install(
    policy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentMissingError, match=r"pip install 'sdar\[lora\]'"):
        learn(tmp_path / "store", small_config(policy_path, {"policy": {"lora": {"rank": 2}}}), 1)
