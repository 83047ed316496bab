"""The records of a study: which arms are compared over which seeds, and which run belongs to each pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sdar.schemas.config import RunConfig
from sdar.schemas.records import Record


class Arm(Record):
    """One way of training that is compared with others.

    `settings` are the `path=value` texts that the arm adds to its method; `config` is the whole configuration
    as JSON values, without the seed.
    """

    label: str
    method: str
    settings: tuple[str, ...]
    config: dict[str, Any]

    def run_config(self, seed: int) -> RunConfig:
        """Return the configuration of the arm's run with this seed."""
        return RunConfig.model_validate({**self.config, "seed": seed})


class StudyDefinition(Record):
    """What a study computes; two studies with equal definitions have equal results."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]

    @property
    def rounds(self) -> int:
        """Rounds of the longest arm: the round at which all arms are compared."""
        return max(int(arm.config["stop"]["rounds"]) for arm in self.arms)


class Member(Record):
    """One run of a study: an arm with a seed."""

    arm: str
    seed: int
    run_id: str


class StudyRecord(Record):
    """A study as the store keeps it; `created` is an ISO 8601 time, `command` what the user typed."""

    name: str
    created: str
    command: str
    definition: StudyDefinition
    members: tuple[Member, ...]

    def pairs(self) -> Iterator[tuple[Arm, Member]]:
        """Yield every run with its arm, arm after arm."""
        arms = {arm.label: arm for arm in self.definition.arms}
        for member in self.members:
            yield arms[member.arm], member
