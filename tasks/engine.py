"""The engine of a run: checked before anything is computed, and opened for each batch of episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdar.policy.model import Policy, policy_folder
from sdar.policy.sampler import Sampler, StreamingSampler, TransformersSampler
from sdar.rl.divergences import needs_vocabulary
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError

VLLM = "vllm"


def open_sampler(config: RunConfig, policy: Policy) -> Sampler | StreamingSampler:
    """Return what samples a policy's actions, as `rollout.engine` says.

    Raises:
        EnvironmentMissingError: the engine is not installed.
        ConfigError: it cannot run the policy.
    """
    most = config.rollout.max_action_tokens
    if config.rollout.engine != VLLM:
        return TransformersSampler(policy, most)
    from sdar.policy.vllm_engine import VllmSampler, check_vllm

    check_vllm(config.policy.device, _head_size(policy.model.config))
    return VllmSampler(policy, most, config.policy.max_tokens, config.policy.engine_memory)


def check_engine(config: RunConfig) -> None:
    """Check before a run that its engine is there, and can do what the configuration asks of it.

    Raises:
        EnvironmentMissingError: the engine is not installed.
        ConfigError: it cannot run the policy, or cannot score for the configured divergence or temperature.
        InputError: the policy's folder is none.
    """
    if config.policy.scorer == VLLM:
        _check_scorer(config)
    elif config.rollout.engine != VLLM:
        return
    from sdar.policy.vllm_engine import check_vllm

    check_vllm(config.policy.device, _configured_head_size(config))


def _check_scorer(config: RunConfig) -> None:
    remedy = "Next: --set policy.scorer=transformers"
    if needs_vocabulary(config.sdar):
        raise ConfigError(
            "policy.scorer is vllm, which tells the log-prob of each token of an action and no other, but "
            f"sdar.divergence={config.sdar.divergence} with sdar.gate={config.sdar.gate} needs those of the "
            "whole vocabulary. Allowed: the divergences sampled, sampled_reverse_kl and k3 with other gates "
            f"than centred_gap. {remedy}"
        )
    if config.rollout.temperature != 1:
        raise ConfigError(
            "policy.scorer is vllm, which scores given tokens at temperature 1 only, but rollout.temperature "
            f"is {config.rollout.temperature:g}. {remedy}"
        )


def _configured_head_size(config: RunConfig) -> int | None:
    """Return the size of the attention heads of policy 0; None where a stored run lost its folder."""
    path = config.policy.path
    if path == "bootstrap":
        return config.warmstart.hidden // config.warmstart.heads
    if path != "starter" and not Path(path).is_dir():
        return None
    from transformers import AutoConfig

    return _head_size(AutoConfig.from_pretrained(policy_folder(path), local_files_only=True))


def _head_size(config: Any) -> int:
    own = getattr(config, "head_dim", None)
    return int(own or config.hidden_size // config.num_attention_heads)
