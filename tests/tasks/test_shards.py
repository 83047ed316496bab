"""Whoever does the batches of `collect` and `score`: artifacts are the same, and nothing is done twice."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import SmallRun, inputs_of, learn, small_config

from sdar.policy.scoring import Row, pack
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError, EnvironmentFailedError, SharedFolderError
from sdar.schemas.records import TaskSpec
from sdar.storage import artifact_id, folder_hash, read_tables, write_tables
from sdar.tasks.collect import PlayJob
from sdar.tasks.registry import STAGES
from sdar.tasks.rollout import Assignment
from sdar.tasks.score import RowScores, Scored, ScoreJob, scoring_batches
from sdar.tasks.shards import PolicyFiles, Shard, do_shard, in_process, installation, through_files
from sdar.tasks.stage import StageInputs, StageOutput

HOST = re.escape(socket.gethostname())
FILES = PolicyFiles(Path("nowhere"), None, "cpu")


def batched(policy: Path, batch: int) -> RunConfig:
    return small_config(policy, {"rollout": {"tasks": 3, "batch": batch}, "policy": {"token_budget": 64}})


@pytest.fixture(scope="module")
def run(policy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """One learning round whose six episodes are played four and two at a time."""
    return learn(tmp_path_factory.mktemp("run") / "store", batched(policy_path, 4), 1)


class Elsewhere:
    """Has shards done one after another and remembers how they were cut."""

    def __init__(self) -> None:
        self.cuts: list[list[tuple[int, ...]]] = []

    def __call__(self, shards: Sequence[Shard]) -> None:
        self.cuts.append([shard.numbers for shard in shards])
        for shard in reversed(shards):
            do_shard(shard)


def mapped(run: SmallRun, stage: str, folder: Path, elsewhere: Elsewhere, shards: int) -> StageOutput:
    (folder / "scratch").mkdir()
    inputs = inputs_of(run, stage, 1, folder / "scratch")
    mapper = through_files(folder / "shards", shards, elsewhere)
    return STAGES[stage].run(replace(inputs, mapper=mapper))


def identity(output: StageOutput) -> str:
    """The id that the store would give to what a stage computed."""
    return artifact_id(output.kind, output.rows, output.folder and folder_hash(output.folder))


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_episodes_do_not_depend_on_who_plays_a_batch(run: SmallRun, tmp_path: Path, shards: int) -> None:
    elsewhere = Elsewhere()
    output = mapped(run, "collect", tmp_path, elsewhere, shards)
    assert elsewhere.cuts == {1: [[(0, 1)]], 2: [[(0,), (1,)]], 5: [[(0,), (1,)]]}[shards]
    assert identity(output) == run.artifacts[1, "collect"]
    assert not list((tmp_path / "shards").iterdir())


@pytest.mark.parametrize("shards", [1, 3])
def test_scores_do_not_depend_on_who_scores_a_batch(run: SmallRun, tmp_path: Path, shards: int) -> None:
    """The default divergence keeps the teacher's states: they are compared through the files' hash."""
    elsewhere = Elsewhere()
    output = mapped(run, "score", tmp_path, elsewhere, shards)
    assert [len(cut) for cut in elsewhere.cuts] == [shards, shards]  # of the student's rows and the teacher's
    for cut in elsewhere.cuts:
        assert sorted(number for numbers in cut for number in numbers) == list(range(6))
    assert output.folder is not None
    assert identity(output) == run.artifacts[1, "score"]


def test_one_batch_is_what_there_was_before(run: SmallRun, policy_path: Path, tmp_path: Path) -> None:
    """Unbatched, or with a batch that holds all: the same episodes; of smaller ones the ids stay."""
    whole, same = (learn(tmp_path / "store", batched(policy_path, n), 1, ("collect",)) for n in (0, 6))
    assert same.artifacts[1, "collect"] == whole.artifacts[1, "collect"]
    one, other = (r.store.episodes(r.artifacts[1, "collect"]) for r in (whole, run))
    assert [episode.id for episode in one] == [episode.id for episode in other]
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine.sampler_logprobs, theirs.sampler_logprobs, atol=1e-5)


def test_a_shard_that_is_done_again_goes_on_where_the_first_one_died(run: SmallRun, tmp_path: Path) -> None:
    left: list[int] = []

    def dies(shards: Sequence[Shard]) -> None:
        (shard,) = shards
        do_shard(replace(shard, numbers=shard.numbers[:1]))
        left.append(do_shard(shard))
        left.append(do_shard(shard))

    inputs = inputs_of(run, "collect", 1, tmp_path)
    output = STAGES["collect"].run(replace(inputs, mapper=through_files(tmp_path / "shards", 1, dies)))
    assert left == [1, 0]
    assert identity(output) == run.artifacts[1, "collect"]


def test_a_folder_that_is_not_shared_is_told_from_both_sides(run: SmallRun, tmp_path: Path) -> None:
    def elsewhere(shards: Sequence[Shard]) -> None:
        with pytest.raises(SharedFolderError, match=rf"0\.in is not there for this process on {HOST}.*mount"):
            do_shard(replace(shards[0], folder=tmp_path / "another"))

    inputs = inputs_of(run, "collect", 1, tmp_path)
    with pytest.raises(SharedFolderError, match=rf"0\.out is not there for this process on {HOST}"):
        STAGES["collect"].run(replace(inputs, mapper=through_files(tmp_path / "shards", 1, elsewhere)))
    assert not list((tmp_path / "shards").iterdir())


def test_a_worker_with_another_installation_is_refused(run: SmallRun, tmp_path: Path) -> None:
    """A worker that runs since before an upgrade would compute with what it has loaded."""

    def elsewhere(shards: Sequence[Shard]) -> None:
        assert shards[0].installation == installation()
        do_shard(replace(shards[0], installation="sdar 0.0.9, source 0"))

    inputs = inputs_of(run, "collect", 1, tmp_path)
    found = r"has sdar 0\.1.*source \w{12}, the run has sdar 0\.0\.9, source 0\. .*start its workers again"
    with pytest.raises(EnvironmentFailedError, match=found):
        STAGES["collect"].run(replace(inputs, mapper=through_files(tmp_path / "shards", 1, elsewhere)))


def test_what_a_batch_finds_wrong_is_raised(run: SmallRun, tmp_path: Path) -> None:
    inputs = inputs_of(run, "collect", 1, tmp_path)
    policy = inputs.config.policy.model_copy(update={"max_tokens": 20})
    tight = replace(inputs, config=inputs.config.model_copy(update={"policy": policy}))
    for mapper in (in_process, through_files(tmp_path / "shards", 2, Elsewhere())):
        with pytest.raises(ConfigError, match=r"policy\.max_tokens is 20"):
            STAGES["collect"].run(replace(tight, mapper=mapper))


def test_assignments_travel_without_loss() -> None:
    task = TaskSpec(id="t", environment="e", split="s", type="a", goal="go", seed=2**62, payload={"x": [0.1]})
    batch = [Assignment(task, 3, 0, 2**63 - 1, "know\nthis"), Assignment(task, 3, 1, 0)]
    job = PlayJob(FILES, RunConfig())
    assert job.read_batch(job.write_batch(batch)) == batch


@pytest.mark.parametrize("keep_hidden", [True, False])
def test_rows_and_scores_travel_without_loss(keep_hidden: bool) -> None:
    """The middle row scores nothing, and float32 values are compared as bits."""
    job = ScoreJob(FILES, 1.0, keep_hidden, budget=None)  # type: ignore[arg-type]
    lengths = (3, 0, 2)
    numbers = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    rows = [Row(np.arange(n + 2, dtype=np.int32), np.arange(1, n + 1, dtype=np.int32)) for n in lengths]
    parts = np.split(numbers, [3, 3])
    scores = [RowScores(p[:, 0].copy(), p[:, 1].copy(), p if keep_hidden else None) for p in parts]
    back = job.read_batch(job.write_batch(rows))
    result = job.read_result(job.write_result(Scored(scores, 512, 1)))
    assert [(r.token_ids.tolist(), r.positions.tolist()) for r in back] == [
        (r.token_ids.tolist(), r.positions.tolist()) for r in rows
    ]
    assert back[0].token_ids.dtype == np.int32
    assert (result.tokens, result.halvings) == (512, 1)
    for mine, theirs in zip(result.scores, scores, strict=True):
        assert mine.logprobs.tobytes() == theirs.logprobs.tobytes()
        assert mine.entropy.tobytes() == theirs.entropy.tobytes()
        assert (mine.hidden is None) == (theirs.hidden is None)
        if mine.hidden is not None and theirs.hidden is not None:
            assert mine.hidden.shape == theirs.hidden.shape
            assert mine.hidden.tobytes() == theirs.hidden.tobytes()


@given(st.lists(st.integers(1, 40), max_size=200), st.integers(1, 80))
def test_batches_of_rows_hold_whole_passes(lengths: list[int], tokens: int) -> None:
    batches = scoring_batches(lengths, tokens)
    assert len(batches) <= 64
    again = [[b[i] for i in group] for b in batches for group in pack([lengths[i] for i in b], tokens)]
    assert again == pack(lengths, tokens)


def test_a_folder_of_tables_is_whole_or_absent_and_the_first_one_stays(tmp_path: Path) -> None:
    write_tables(tmp_path / "a", {"x": pa.table({"n": [1, 2]}), "y": pa.table({"n": [3]})})
    write_tables(tmp_path / "a", {"x": pa.table({"n": [9]})})
    found = read_tables(tmp_path / "a")
    assert {name: table["n"].to_pylist() for name, table in found.items()} == {"x": [1, 2], "y": [3]}
    with pytest.raises(AttributeError):
        write_tables(tmp_path / "b", {"x": None})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_inputs_map_in_this_process_by_default(run: SmallRun, tmp_path: Path) -> None:
    inputs: StageInputs = inputs_of(run, "collect", 1, tmp_path)
    assert inputs.mapper is None
    assert identity(STAGES["collect"].run(inputs)) == run.artifacts[1, "collect"]
