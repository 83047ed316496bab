"""What is known of the trip environment before it is made."""

from __future__ import annotations

from sdar.envs.base import QUICK_WARM_START, EnvironmentFactory, EnvironmentKind
from sdar.envs.trip.vocabulary import NAMES


def _load() -> EnvironmentFactory:
    from sdar.envs.trip.environment import Trip

    return Trip.from_config


KIND = EnvironmentKind(
    "trip",
    "Business trips of a company, planned with JSON tool calls; what was booked wrong shows at the end.",
    _load,
    settings={
        **QUICK_WARM_START,
        "warmstart.steps": 1200,
        # Forty facts to learn from a few mentions each. Before that a student that no longer looks things up,
        # as its teacher need not, solves less than at first.
        "update.epochs": 3,
        "stop.floor": 0.02,
        "policy.path": "bootstrap",
        "policy.max_tokens": 768,
        "env.max_steps": 16,
        "env.panel_split": "unseen",
        "rollout.max_action_tokens": 16,
        "skills.budget": 160,
    },
    options={"company": 0},
    names=rf"\b(?:{'|'.join(NAMES)})\b",
)
