"""A whole run with the vllm engine; run with `pytest -m vllm` where an extra is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import SmallRun, run_all, small_config
from tiny_policy import MAX_TOKENS, dialogue

from sdar.policy.model import new_model, save_policy
from sdar.policy.vllm_engine import close_engine
from sdar.schemas.config import RunConfig

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1800),  # the import alone takes minutes on a busy machine
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _engine_ends() -> Iterator[None]:
    yield
    close_engine()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Random weights with heads of 32, whose rounds are sampled and whose teacher is scored by vLLM."""
    folder, words = tmp_path_factory.mktemp("vllm") / "policy", dialogue()
    model = new_model(words.tokenizer.get_vocab_size(), 3, hidden=64, layers=2, heads=2, context=MAX_TOKENS)
    save_policy(folder, model, words)
    return small_config(
        folder,
        {
            "policy": {"scorer": "vllm", "engine_memory": 0.25},
            "rollout": {"engine": "vllm"},
            "sdar": {"divergence": "sampled", "gate": "gap", "teacher": "frozen"},
        },
    )


def scores(run: SmallRun) -> list[dict[str, float | str]]:
    return [dict(report.summary) for report in run.reports if report.stage == "score"]


def test_a_run_passes_its_checks_and_can_be_repeated(config: RunConfig, tmp_path: Path) -> None:
    run = run_all(tmp_path / "first", config)
    stages = [report.stage for report in run.reports]
    assert stages.count("collect") == 2
    assert stages.count("update") == 2
    episodes = run.store.episodes(run.artifacts[2, "collect"])
    assert {episode.engine for episode in episodes} == {"vllm"}
    assert all(0 < float(each["logprob_difference"]) < 5e-5 for each in scores(run))
    close_engine()
    again = run_all(tmp_path / "again", config)
    assert again.artifacts == run.artifacts

    close_engine()
    other = config.model_copy(update={"policy": config.policy.model_copy(update={"scorer": "transformers"})})
    plain = run_all(tmp_path / "plain", other)
    assert plain.artifacts[1, "collect"] == run.artifacts[1, "collect"]
    assert float(scores(plain)[0]["gap"]) == pytest.approx(float(scores(run)[0]["gap"]), abs=1e-5)
