"""Stage `bootstrap`: policy 0, either the shipped starter, a folder, or a fresh warm start."""

from __future__ import annotations

import shutil

from sdar.policy.model import load_policy, policy_folder, policy_id
from sdar.schemas.config import RunConfig
from sdar.schemas.lineage import TokenPiece
from sdar.schemas.records import PolicyRecord
from sdar.tasks.stage import Stage, StageInputs, StageOutput
from sdar.tasks.starter import make_starter

FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)


def run(inputs: StageInputs) -> StageOutput:
    """Store policy 0 with its tokenizer's vocabulary."""
    config, folder = inputs.config, inputs.scratch
    if config.policy.path == "bootstrap":
        make_starter(folder, config, lambda progress: None)
    else:
        source = policy_folder(config.policy.path)
        for name in FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
    policy = load_policy(folder, config.policy.device)
    record = PolicyRecord(
        id=policy_id(folder),
        parent=None,
        method="bootstrap",
        round=0,
        tokenizer_hash=policy.dialogue.fingerprint,
        parameters=policy.parameters,
    )
    pieces = [
        TokenPiece(tokenizer_hash=record.tokenizer_hash, token_id=i, text=text)
        for i, text in enumerate(policy.dialogue.pieces())
    ]
    return StageOutput(
        kind="policy",
        rows={"policy": [record], "token_piece": pieces},
        summary={"policy": record.id, "parameters": float(record.parameters)},
        folder=folder,
    )


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Return the content of the policy folder, so that other weights under the same path are noticed."""
    if config.policy.path == "bootstrap":
        return {}
    return {"policy.content": policy_id(policy_folder(config.policy.path))}


STAGE = Stage(
    "bootstrap",
    1,
    ("policy.path", "policy.max_tokens", "warmstart", "env"),
    run,
    seeded=False,
    fingerprint=fingerprint,
)
