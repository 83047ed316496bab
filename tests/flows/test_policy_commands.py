"""`sdar policy export` and `import`: a policy leaves a store and comes back as the same policy."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from chat_models import CONTEXT, save_chat_model
from small_runs import SmallRun, learn, small_config

from sdar.flows import cli
from sdar.policy.model import load_policy, policy_id


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """One round of a chat model in the household, without an evaluation."""
    place = tmp_path_factory.mktemp("policies")
    changes = {
        "policy": {"max_tokens": CONTEXT},
        "rollout": {"max_action_tokens": 6},
        "env": {"max_steps": 2},
    }
    config = small_config(save_chat_model(place / "model"), changes)
    return learn(place / "store", config, 1)


@pytest.fixture
def sdar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sdar", *map(str, arguments)])
        code = cli.execute(sys.argv[1:])
        return code, *capsys.readouterr()

    return call


def test_a_policy_leaves_the_store_and_comes_back(made: SmallRun, tmp_path: Path, sdar) -> None:
    store, out, other = made.store.path, tmp_path / "out", tmp_path / "other"
    expected = made.store.policy(made.artifacts[1, "update"]).id
    code, text, error = sdar("policy", "export", "last", "--to", out, "--store", store)
    assert code == 0
    assert "Warning: transformers reads tokenizer.json as a Qwen2Tokenizer" in error  # the tests' own is none
    assert f"Wrote policy {expected[:12]} of run {made.session.run_id}, round 1, to {out}." in text
    assert f"vllm serve {out}" in text
    assert policy_id(out) == expected
    settings = ("--set", f"policy.max_tokens={CONTEXT}", "--json")
    code, text, error = sdar("policy", "import", out, "--env", "household", *settings, "--store", other)
    assert (code, error) == (0, "")
    assert json.loads(text)["policy"] == expected
    code, text, _ = sdar("policy", "list", "--format", "json", "--store", other)
    [row] = json.loads(text)
    assert (row["id"], row["round"]) == (expected, 0)
    again = load_policy(Path(row["folder"])).model
    ids = torch.arange(9)[None]
    with torch.inference_mode():
        assert again(input_ids=ids).logits.equal(load_policy(out).model(input_ids=ids).logits)


def test_damaged_weights_are_not_exported(made: SmallRun, tmp_path: Path, sdar) -> None:
    store, out = tmp_path / "store", tmp_path / "out"
    shutil.copytree(made.store.path, store)
    _, text, _ = sdar("policy", "list", "--format", "json", "--store", store)
    last = next(row for row in json.loads(text) if row["round"] == 1)
    os.truncate(Path(last["folder"], "model.safetensors"), 1000)
    code, _, error = sdar("policy", "export", last["id"], "--to", out, "--store", store)
    assert code == 5
    assert "differ from those that were stored" in error
    assert not out.exists()


def test_a_bfloat16_folder_stays_bfloat16(made: SmallRun, tmp_path: Path, sdar) -> None:
    model = tmp_path / "half"
    save_chat_model(model)
    load_policy(model).model.to(torch.bfloat16).save_pretrained(model)
    code, text, _ = sdar(
        "policy", "import", model, "--set", f"policy.max_tokens={CONTEXT}", "--store", tmp_path / "store"
    )
    assert code == 0
    assert "--set policy.dtype=bfloat16" in text


def test_which_policy(made: SmallRun, tmp_path: Path, sdar) -> None:
    store, first = made.store.path, made.store.policy(made.artifacts[0, "bootstrap"]).id
    code, text, _ = sdar(
        "policy", "export", first[:10], "--to", tmp_path / "a", "--run", made.session.run_id,
        "--store", store, "--json",
    )  # fmt: skip
    found = json.loads(text)
    assert code == 0
    assert (found["policy"], found["written"], found["round"]) == (first, first, 0)
    for wanted in ("best", "", "zzz"):
        code, _, error = sdar("policy", "export", wanted, "--to", tmp_path / "b", "--store", store)
        assert code == 2
        assert "allowed: best (after an evaluation), last, or the beginning of one id" in error
    code, _, error = sdar("policy", "export", "last", "--to", tmp_path / "a", "--store", store)
    assert code == 2
    assert "is not empty" in error


def test_import_takes_a_folder_or_a_source(tmp_path: Path, sdar) -> None:
    for arguments in ([], ["folder", "--from", "smollm2"], ["folder", "--out", "x"], ["--from", "smollm2"]):
        code, _, error = sdar("policy", "import", *arguments, "--store", tmp_path / "store")
        assert code == 2
        assert "give a FOLDER to put into the store, or --from and --out" in error
    code, _, error = sdar("policy", "import", tmp_path, "--store", tmp_path / "store")
    assert code == 2
    assert "has no config.json" in error
