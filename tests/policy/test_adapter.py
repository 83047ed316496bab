"""Adapters through peft: they add nothing at first, are stored alone, and give what their sum gives."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from chat_models import ARCHITECTURES, chat, random_model
from transformers import PreTrainedModel

from sdar.policy import adapter
from sdar.policy.model import load_model, load_policy, policy_id, save_policy, stored_dtype
from sdar.schemas.config import LoraConfig
from sdar.schemas.errors import ConfigError, EnvironmentMissingError

installed = pytest.mark.skipif(find_spec("peft") is None, reason="needs peft: pip install 'sdar[lora]'")
IDS = torch.arange(12)[None]


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS, use_cache=False).logits.float()


def test_without_peft_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentMissingError, match=r"pip install 'sdar\[lora\]'"):
        adapter.new_adapter(random_model("llama"), LoraConfig(rank=2), 0)


@installed
@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_is_trained_stored_and_added(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    base, own = tmp_path / "base", tmp_path / "own"
    save_policy(base, random_model(kind).to(dtype), chat())
    assert stored_dtype(base) == dtype
    plain = load_model(base)
    fresh = adapter.new_adapter(load_model(base), LoraConfig(rank=4, alpha=8), seed=3)
    trained = [weight for weight in fresh.parameters() if weight.requires_grad]
    assert {weight.dtype for weight in trained} == {torch.float32}  # its own master weights
    assert len(trained) == 2 * 7 * 2  # two matrices for each of seven linear layers in two blocks
    adapter.save_adapter(own, fresh)
    assert logits(load_policy(own, base=base).model).equal(logits(plain))
    first = policy_id(own, base)
    with torch.no_grad():
        for index, weight in enumerate(trained):
            weight.copy_(torch.linspace(-0.2, 0.2, weight.numel()).reshape(weight.shape).roll(index))
    adapter.save_adapter(own, fresh)
    again = adapter.trainable_adapter(load_model(base), own).get_base_model()
    sum_of_both = load_policy(own, base=base).model
    assert type(sum_of_both) is type(plain)
    assert sum_of_both.dtype == dtype
    assert logits(again).equal(logits(fresh.get_base_model()))
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    assert float((logits(sum_of_both) - logits(again)).abs().max()) < tolerance
    assert float((logits(sum_of_both) - logits(plain)).abs().max()) > 0.1
    assert sorted(path.name for path in own.rglob("*") if path.is_file()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert policy_id(own, base) not in (first, policy_id(base))


@installed
def test_the_bytes_of_a_fresh_adapter_depend_on_the_seed_alone(tmp_path: Path) -> None:
    def content(seed: int, name: str) -> list[bytes]:
        made = adapter.new_adapter(random_model("qwen3"), LoraConfig(rank=2, targets="q_proj, v_proj"), seed)
        adapter.save_adapter(tmp_path / name, made)
        return [path.read_bytes() for path in adapter.adapter_files(tmp_path / name)]

    state = torch.random.get_rng_state()
    first = content(1, "a")
    assert torch.random.get_rng_state().equal(state)
    assert first == content(1, "b")
    assert first[0] == content(2, "c")[0]
    assert first[1] != content(2, "d")[1]
    assert b'"q_proj",\n  "v_proj"' in first[0]


@installed
def test_unknown_layers_are_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'query', which fits no layer .* all-linear, or some of .*q_proj"):
        adapter.new_adapter(random_model("llama"), LoraConfig(rank=2, targets="query"), 0)
