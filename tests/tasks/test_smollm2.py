"""A true pretrained chat model goes through a whole round: needs `sdar[smollm]` and its weights.

The round in ALFWorld's own engine is marked `alfworld`, the others `slow`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from small_runs import SmallRun, learn, small_config

from sdar.envs.registry import environment_config
from sdar.policy.chat import ChatDialogue
from sdar.policy.model import load_policy
from sdar.policy.sampler import TransformersSampler
from sdar.policy.smollm2 import PACKAGE, READERS, import_smollm2, smollm2_folder
from sdar.schemas.errors import EnvironmentMissingError

MISSING = [name for name in (PACKAGE, *READERS) if find_spec(name) is None]
installed = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
engine = pytest.mark.skipif(find_spec("alfworld") is None, reason="not installed: alfworld")


@pytest.mark.skipif(not MISSING, reason="everything is installed")
def test_what_is_missing_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(
        EnvironmentMissingError, match=rf"{MISSING[0]}.* not installed\. Next: pip install 'sdar"
    ):
        smollm2_folder()


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smollm2") / "policy"
    import_smollm2(folder)
    return folder


@installed
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_imported_model_answers_a_question(smollm2: Path) -> None:
    policy = load_policy(smollm2)
    assert policy.parameters == 134_515_008
    words = policy.dialogue
    assert isinstance(words, ChatDialogue)
    prompt = words.prompt("What is the capital of France?", "Answer with one word.")
    [answer] = TransformersSampler(policy, 12).start(np.zeros((1, 12)), 0.0).act([0], [prompt])
    assert "Paris" in words.decode(answer.ids)


@installed
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "world",
    [
        pytest.param("household", marks=pytest.mark.slow),
        pytest.param("search_qa", marks=pytest.mark.slow),
        pytest.param("alfworld", marks=[pytest.mark.alfworld, engine]),
    ],
)
def test_one_round(smollm2: Path, tmp_path: Path, world: str) -> None:
    changes = {
        "env": {**environment_config(world).model_dump(), "max_steps": 3},
        "policy": {"max_tokens": 1536},
        "rollout": {"tasks": 1, "group_size": 2, "max_action_tokens": 12},
        "update": {"learning_rate": 1e-5, "minibatch": 2},
    }
    run = learn(tmp_path / "store", small_config(smollm2, changes), 1)
    episodes = run.store.episodes(run.artifacts[1, "collect"])
    assert [episode.task_id.startswith(world) for episode in episodes] == [True, True]
    scores = run.store.scores(run.artifacts[1, "score"])
    for episode, score in zip(episodes, scores, strict=True):
        sampled = episode.sampler_logprobs[episode.action_mask]
        np.testing.assert_allclose(score.student, sampled, atol=1e-4)
        assert np.abs(score.teacher - score.student).max() > 0.01  # the skills change what it would say
    [report] = run.store.updates(run.artifacts[1, "update"])
    assert report.gradient_norm > 0
    assert not report.skipped
    assert policy_name(run, 0) != policy_name(run, 1)


def policy_name(run: SmallRun, number: int) -> str:
    return run.store.policy(run.artifacts[(number, "update") if number else (0, "bootstrap")]).id
