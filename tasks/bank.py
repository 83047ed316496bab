"""Stage `bank`: the skills that the teacher can be given, read from files once per run."""

from __future__ import annotations

from pathlib import Path

from sdar.schemas.config import RunConfig
from sdar.schemas.keys import content_hash
from sdar.schemas.records import Skill
from sdar.skills.files import builtin_skills, load_skills
from sdar.tasks.stage import Stage, StageInputs, StageOutput


def read_skills(config: RunConfig) -> list[Skill]:
    """Return the configured skills: the built-in ones of the environment, or those of a folder."""
    if config.skills.path == "builtin":
        return builtin_skills(config.env.name)
    return load_skills(Path(config.skills.path))


def run(inputs: StageInputs) -> StageOutput:
    """Store the configured skills as bank 0."""
    skills = read_skills(inputs.config)
    return StageOutput(kind="bank", rows={"skill": skills}, summary={"skills": float(len(skills))})


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Return the content of the skill files, so that an edited skill is noticed."""
    return {"skills.content": content_hash([skill.id for skill in read_skills(config)])}


STAGE = Stage("bank", 1, ("skills.path", "env.name"), run, seeded=False, fingerprint=fingerprint)
