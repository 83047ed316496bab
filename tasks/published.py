"""Published success of the methods, to stand beside what was measured here; another world, another model.

Source: "Self-Distilled Agentic Reinforcement Learning", arXiv 2605.15155: 150 steps of 16 tasks x 8 episodes,
sampled at temperature 0.4. Fixed panels of independent reproductions show smaller gains and sometimes none.
"""

from __future__ import annotations

from collections.abc import Mapping

NOTE = (
    "Published figures are from arXiv 2605.15155: large language models on ALFWorld, Search-QA and WebShop. "
    "They are of another world and another model, so the order of the methods can be compared, not the level."
)
BENCHMARKS = ("ALFWorld", "Search-QA", "WebShop")
MODELS = ("Qwen2.5-3B", "Qwen2.5-7B", "Qwen3-1.7B")

Row = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

PUBLISHED: Mapping[str, Row] = {
    "vanilla": ((21.9, 31.7, 0.8), (12.5, 33.9, 1.6), (12.5, 24.8, 4.7)),
    "skill_prompt": ((28.9, 23.9, 0.8), (23.4, 36.4, 0.8), (9.4, 24.3, 2.3)),
    "opsd": ((28.1, 0.0, 3.1), (32.8, 6.2, 2.3), (14.1, 5.8, 9.3)),
    "grpo": ((75.0, 36.4, 63.3), (81.2, 42.0, 72.6), (46.1, 40.8, 38.3)),
    "skill_grpo": ((60.2, 34.1, 60.9), (69.5, 40.3, 71.9), (21.1, 40.4, 46.1)),
    "grpo_opsd": ((81.2, 44.6, 66.4), (80.4, 47.0, 76.5), (32.0, 42.2, 38.3)),
    "skill_sd": ((73.4, 44.1, 64.0), (85.1, 47.8, 76.5), (52.3, 40.8, 53.9)),
    "rlsd": ((79.7, 43.8, 66.4), (82.0, 49.0, 77.3), (42.2, 40.6, 50.8)),
    "sdar_paper": ((84.4, 43.4, 68.0), (85.9, 49.0, 82.8), (53.9, 41.9, 58.6)),
}
"""Per cent by method, model and benchmark, in the order of `MODELS` and `BENCHMARKS`; without skills at test
time except for `skill_prompt`."""


def published(method: str) -> dict[str, dict[str, float]] | None:
    """Return what was published for a method, in per cent by model and benchmark, or None."""
    rows = PUBLISHED.get(method)
    if rows is None:
        return None
    return {
        model: dict(zip(BENCHMARKS, values, strict=True)) for model, values in zip(MODELS, rows, strict=True)
    }
