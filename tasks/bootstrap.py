"""Stage `bootstrap`: policy 0, either the shipped starter, a folder, or a fresh warm start."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from sdar import envs
from sdar.envs.registry import environment_factory, environment_kind
from sdar.policy.adapter import new_adapter, require_peft, save_adapter
from sdar.policy.dialogue import is_chat
from sdar.policy.model import (
    DTYPES,
    INDEX,
    Policy,
    check_model,
    load_model,
    load_policy,
    policy_folder,
    policy_id,
    stored_dtype,
    weight_files,
)
from sdar.policy.prompts import Prompts, read_prompts, save_prompts
from sdar.schemas.config import PolicyConfig, RunConfig
from sdar.schemas.keys import content_hash
from sdar.schemas.lineage import TokenPiece
from sdar.schemas.records import PolicyRecord
from sdar.schemas.seeds import derive_seed
from sdar.tasks.stage import Stage, StageInputs, StageOutput
from sdar.tasks.starter import make_starter

FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
GENERAL = Path(str(envs.__file__)).parent / "prompts"


def prompts(config: RunConfig) -> Prompts:
    """Return what a chat model is told in the run's environment.

    The files lie in a folder `prompts` beside the module that registers the environment, or beside the one
    that defines it. An environment without such a folder has the general prompts.

    Raises:
        InputError: a file of the folder is missing or malformed.
    """
    sources = (environment_kind(config.env.name).load, environment_factory(config.env.name))
    modules = [sys.modules.get(getattr(source, "__module__", "")) for source in sources]
    files = [module.__file__ for module in modules if module is not None and module.__file__]
    folders = [Path(file).parent / "prompts" for file in files]
    own = (folder for folder in folders if folder.is_dir() and folder != GENERAL)
    return read_prompts(next(own, GENERAL), config.policy.action_format)


def run(inputs: StageInputs) -> StageOutput:
    """Store policy 0 with its tokenizer's vocabulary; a chat model gets the prompts of the environment."""
    config, folder = inputs.config, inputs.scratch
    if config.policy.path == "bootstrap":
        make_starter(folder, config, lambda progress: None)
    else:
        source = policy_folder(config.policy.path)
        for name in (*FILES, *weight_files(source), INDEX):
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
    prepare_weights(folder, config.policy)
    policy = _chat_policy(inputs) if is_chat(folder) else load_policy(folder, config.policy.device)
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


def prepare_weights(folder: Path, config: PolicyConfig) -> None:
    """Bring a policy folder to the configured precision, and give it a fresh adapter if one is to be trained.

    Both are from here on properties of the policy: later stages take its weights as they are stored.
    """
    if config.lora.rank:
        require_peft()
    if stored_dtype(folder) != DTYPES[config.dtype]:
        model = load_model(folder, dtype=DTYPES[config.dtype])
        for name in (*weight_files(folder), INDEX):
            (folder / name).unlink(missing_ok=True)
        model.save_pretrained(folder)
    if config.lora.rank:
        seed = derive_seed(0, "adapter")  # as everything in policy 0, alike for all runs
        save_adapter(folder, new_adapter(load_model(folder), config.lora, seed))


def _chat_policy(inputs: StageInputs) -> Policy:
    """Load the chat model in the stage's folder, which from now on is asked as the environment wants."""
    save_prompts(inputs.scratch, prompts(inputs.config))
    policy = load_policy(inputs.scratch, inputs.config.policy.device)
    check_model(policy, inputs.config.policy.max_tokens)
    return policy


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Return the content of the policy folder and of the prompts, so that changed files are noticed."""
    if config.policy.path == "bootstrap":
        return {}
    folder = policy_folder(config.policy.path)
    told = {"policy.prompts": content_hash(asdict(prompts(config)))} if is_chat(folder) else {}
    return {"policy.content": policy_id(folder), **told}


STAGE = Stage(
    "bootstrap",
    2,
    (
        "policy.path",
        "policy.max_tokens",
        "policy.action_format",
        "policy.dtype",
        "policy.lora",
        "warmstart",
        "env",
    ),
    run,
    seeded=False,
    fingerprint=fingerprint,
)
