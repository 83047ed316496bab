"""Stage `bank`: the skills that the teacher can be given, read from files and embedded once per run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdar.schemas.config import RunConfig, SkillsConfig
from sdar.schemas.keys import content_hash
from sdar.schemas.records import Skill, SkillState
from sdar.skills.files import builtin_skills, load_skills
from sdar.skills.retirement import BY_HAND, retirements
from sdar.tasks.stage import Stage, StageInputs, StageOutput

if TYPE_CHECKING:
    # At run time these would bring torch and FAISS to commands that only read a bank.
    from sdar.policy.model import Policy
    from sdar.skills.embedding import Embedder
    from sdar.skills.similarity import Similarity

EMBEDDER = "embedder"
"""Role of the policy that embeds, where `skills.embedder` is `policy`: policy 0."""


def read_skills(config: RunConfig, *, retired: bool = False) -> list[Skill]:
    """Return the configured skills: the built-in ones of the environment, none, or those of a folder.

    Args:
        config: with `skills.path`.
        retired: also those that somebody retired, see `read_retirements`.
    """
    if config.skills.path == "empty":
        return []
    if config.skills.path == "builtin":
        return builtin_skills(config.env.name)
    folder = Path(config.skills.path)
    skills = load_skills(folder)
    gone = {} if retired else retirements(folder)
    return [skill for skill in skills if skill.name not in gone]


def read_retirements(config: RunConfig) -> dict[str, str]:
    """Return why skills of the configured bank are retired, by name; only a folder can have such."""
    if config.skills.path in ("empty", "builtin"):
        return {}
    return retirements(Path(config.skills.path))


def needs_vectors(config: RunConfig) -> bool:
    """Say whether the strategy compares vectors; no other one embeds anything."""
    from sdar.skills.strategies import STRATEGIES

    return STRATEGIES[config.skills.strategy].similar


def embedding_policy(config: RunConfig) -> bool:
    """Say whether the skills are embedded by the policy itself."""
    return config.skills.embedder == "policy" and needs_vectors(config)


def stage_embedder(inputs: StageInputs, skills: Sequence[Skill]) -> Embedder:
    """Return the configured embedder inside a run, where `policy` is policy 0."""
    return _open(
        inputs.config.skills,
        skills,
        lambda: (inputs.policy(EMBEDDER), inputs.store.policy(inputs.artifacts[EMBEDDER]).id),
    )


def configured_embedder(config: RunConfig, skills: Sequence[Skill]) -> Embedder:
    """Return the configured embedder outside a run, where `policy` is the one that `policy.path` names."""

    def named() -> tuple[Policy, str]:
        from sdar.policy.model import DTYPES, load_policy, policy_folder, policy_id

        folder, dtype = policy_folder(config.policy.path), DTYPES[config.policy.dtype]
        return load_policy(folder, config.policy.device, dtype=dtype), policy_id(folder)

    return _open(config.skills, skills, named)


def _open(
    config: SkillsConfig, skills: Sequence[Skill], policy: Callable[[], tuple[Policy, str]]
) -> Embedder:
    """Return the configured embedder of a bank; `policy` gives a policy and its id, if one is needed."""
    from sdar.skills.embedding import open_embedder
    from sdar.skills.text import match_text

    own = None
    if config.embedder == "policy":
        from sdar.skills.embedders.policy import PolicyEmbedder

        own = PolicyEmbedder(*policy())
    return open_embedder(config.embedder, [match_text(skill) for skill in skills], own)


def stage_similarity(inputs: StageInputs, skills: Sequence[Skill]) -> Similarity | None:
    """Return what finds the nearest skills of the bank that a stage reads, with the vectors stored with it.

    A bank that was stored without vectors, for a strategy that needs none, is embedded now.

    Args:
        inputs: of a stage that reads the role `bank`.
        skills: all skills of that bank.

    Returns:
        None where the strategy compares no vectors.

    Raises:
        IntegrityError: the stored vectors are another embedder's or of other skills, or are damaged.
    """
    if not skills or not needs_vectors(inputs.config):
        return None
    from sdar.skills.index_files import load_index
    from sdar.skills.similarity import Similarity, embed_bank

    embedder = stage_embedder(inputs, skills)
    if "bank" not in inputs.blobs:
        return embed_bank(skills, embedder)
    rebuild = f"sdar stage bank --round 0 --force --set skills.embedder={inputs.config.skills.embedder}"
    index = load_index(inputs.folder("bank"), embedder, rebuild, [skill.id for skill in skills])
    return Similarity.over(embedder, index, skills)


def configured_similarity(config: RunConfig, skills: Sequence[Skill]) -> Similarity | None:
    """Return what finds the nearest of some skills outside a run; None where the strategy needs none."""
    if not skills or not needs_vectors(config):
        return None
    from sdar.skills.similarity import embed_bank

    return embed_bank(skills, configured_embedder(config, skills))


def write_vectors(inputs: StageInputs, skills: Sequence[Skill]) -> Path | None:
    """Embed a bank and write its index for the store; None where the strategy compares no vectors."""
    if not skills or not needs_vectors(inputs.config):
        return None
    from sdar.skills.index_files import save_index
    from sdar.skills.similarity import embed_bank

    similarity = embed_bank(skills, stage_embedder(inputs, skills))
    save_index(inputs.scratch, similarity.index, similarity.embedder)
    return inputs.scratch


def run(inputs: StageInputs) -> StageOutput:
    """Store the configured skills as bank 0, with the vectors of those that are not retired."""
    skills, gone = read_skills(inputs.config, retired=True), read_retirements(inputs.config)
    active = [skill for skill in skills if skill.name not in gone]
    states = [
        SkillState(skill_id=s.id, evidence=(), retired=s.name in gone, reason=_by_hand(gone.get(s.name)))
        for s in skills
    ]
    return StageOutput(
        kind="bank",
        rows={"skill": skills, **({"skill_state": states} if gone else {})},
        summary={"skills": float(len(active)), **({"retired": float(len(gone))} if gone else {})},
        folder=write_vectors(inputs, active),
    )


def _by_hand(reason: str | None) -> str:
    return "" if reason is None else f"{BY_HAND}{reason}"


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Return the content of the skill files and of the embedder, so that a change of either is noticed."""
    ids, gone = [skill.id for skill in read_skills(config, retired=True)], read_retirements(config)
    content = {"skills.content": content_hash([ids, gone] if gone else ids)}
    if not needs_vectors(config):
        return content
    from sdar.skills.embedding import embedder_content

    name = config.skills.embedder
    return {**content, "skills.embedder": embedder_content(name) or name}


STAGE = Stage("bank", 2, ("skills.path", "env.name"), run, seeded=False, fingerprint=fingerprint)
