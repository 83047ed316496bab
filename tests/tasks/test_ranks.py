"""Updates that several processes share, against one process; what ends a rank, and what it takes with it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from rank_runs import BATCHES, TOKENS, hand_plan, hand_rows, learnt, save_hand_size
from small_runs import SmallRun, learn, small_config

from sdar.policy.adapter import new_adapter, save_adapter
from sdar.policy.model import load_model, load_weights
from sdar.rl.learner import new_optimiser, optimise
from sdar.rl.sharding import Rank
from sdar.schemas.config import LoraConfig, PolicyConfig
from sdar.schemas.errors import ConfigError, MemoryExceededError, RankFailedError
from sdar.schemas.records import UpdateReport
from sdar.tasks import rank_work, ranks
from sdar.tasks.rank_files import FAILURE, read_plan, read_reports, write_part, write_plan, write_reports
from sdar.tasks.trained import OPTIMISER, load_trained

WAIT = [sys.executable, "-c", "import sys; sys.stdin.read()"]


def close(one: list[UpdateReport], other: list[UpdateReport], relative: float) -> None:
    """Compare all fields of all reports."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert b.model_dump() == pytest.approx(a.model_dump(), rel=relative, abs=relative)


def furthest(one: Path, other: Path) -> float:
    """The largest difference of two files of tensors."""
    a, b = load_weights(one), load_weights(other)
    assert {name: value.dtype for name, value in a.items()} == {
        name: value.dtype for name, value in b.items()
    }
    return max(float((a[name].float() - b[name].float()).abs().max()) for name in a)


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    plan = hand_plan(tmp_path / "policy", devices=3, base=tmp_path / "base")
    write_plan(tmp_path, plan)
    back = read_plan(tmp_path)
    assert (back.folder, back.base) == (plan.folder, plan.base)
    assert (back.settings, back.rate_factor) == (plan.settings, 2.0)
    assert [each.tolist() for each in back.batches] == [each.tolist() for each in BATCHES]
    assert dataclasses.replace(back.objective, teacher_head=None) == dataclasses.replace(
        plan.objective, teacher_head=None
    )
    assert back.objective.teacher_head is not None
    assert back.objective.teacher_head.equal(plan.objective.teacher_head)
    assert [each.taught for each in back.rows] == [True] * 4 + [False]
    for one, other in zip(hand_rows(), back.rows, strict=True):
        np.testing.assert_array_equal(one.row.token_ids, other.row.token_ids)
        np.testing.assert_array_equal(one.row.positions, other.row.positions)
        for name in ("advantages", "logp_old", "logp_teacher", "logp_reference", "teacher_hidden"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_what_the_loss_does_not_read_is_not_written(tmp_path: Path) -> None:
    plain = [dataclasses.replace(row, logp_reference=None, teacher_hidden=None) for row in hand_rows()]
    plan = hand_plan(tmp_path / "policy")
    objective = dataclasses.replace(plan.objective, teacher_head=None)
    write_plan(tmp_path, dataclasses.replace(plan, rows=plain, objective=objective))
    back = read_plan(tmp_path)
    assert all(row.logp_reference is None and row.teacher_hidden is None for row in back.rows)
    assert back.base is back.objective.teacher_head is None


def test_a_rank_by_itself_does_what_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the start of processes: files, sharding, optimiser, and the halving when memory runs out."""
    asked = []

    def run(count: int, folder: Path, result: Path, tokens: int, logs: Path) -> None:
        asked.append(tokens)
        if tokens > 30:
            raise torch.OutOfMemoryError("too many tokens")
        rank_work.learn(read_plan(folder), Rank(), tokens, result)
        # The other rank, had there been one, would have had no rows of any tensor.
        part = load_weights(result / "part0.safetensors")
        write_part(result, 1, {name: value[:0] if value.dim() else value for name, value in part.items()})

    monkeypatch.setattr(ranks, "_run", run)
    policy = save_hand_size(tmp_path / "policy")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    _, reports = learnt(hand_plan(policy, devices=1), tmp_path / "one")
    model, shared = learnt(hand_plan(policy), tmp_path / "two")
    assert asked == [TOKENS, 20]  # half, and no less than the longest row
    close(reports, shared, 1e-5)
    assert [report.step for report in shared] == [0, 1, 2, 3, 4]
    assert furthest(tmp_path / "one/model.safetensors", tmp_path / "two/model.safetensors") < 1e-5
    assert furthest(tmp_path / "one" / OPTIMISER, tmp_path / "two" / OPTIMISER) < 1e-5
    assert furthest(policy / "model.safetensors", tmp_path / "two/model.safetensors") > 1e-2
    assert not any(weight.is_meta for weight in model.parameters())


def test_a_row_too_long_for_the_device_ends_the_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(count: int, folder: Path, result: Path, tokens: int, logs: Path) -> None:
        raise torch.OutOfMemoryError("too many tokens")

    monkeypatch.setattr(ranks, "_run", run)
    with pytest.raises(MemoryExceededError, match="one row of 20 tokens does not fit"):
        learnt(hand_plan(save_hand_size(tmp_path / "policy")), tmp_path)


def test_reports_keep_what_is_not_finite(tmp_path: Path) -> None:
    model = load_model(save_hand_size(tmp_path / "policy"))
    plan = hand_plan(tmp_path / "policy")
    rows = [dataclasses.replace(row, advantages=row.advantages * np.float32("nan")) for row in plan.rows]
    optimiser = new_optimiser(model, plan.objective.update)
    reports = optimise(model, optimiser, rows, plan.batches[:1], plan.objective)
    write_reports(tmp_path, reports)
    (back,) = read_reports(tmp_path)
    assert back.skipped
    assert np.isnan(back.loss)
    assert back.gap_std == reports[0].gap_std


@pytest.mark.parametrize(("there", "allowed"), [(0, "1 to 1,"), (2, "1 to 2,")])
def test_more_gpus_than_there_are_is_refused(
    there: int, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    ranks.check_devices(PolicyConfig(device="cuda"))
    ranks.check_devices(PolicyConfig(device="cpu", devices=8))
    found = f"policy.devices is 3, but torch sees {there} CUDA devices; allowed: {allowed}"
    with pytest.raises(ConfigError, match=found):
        ranks.check_devices(PolicyConfig(device="cuda", devices=3))


def test_what_ended_a_rank_is_told(tmp_path: Path) -> None:
    logs, failure = [tmp_path / "0.log", tmp_path / "1.log"], tmp_path / FAILURE
    logs[1].write_text("a\nb\nc\nModuleNotFoundError: No module named 'sdar'\n")
    ranks._check([0, 0], failure, logs)
    with pytest.raises(RankFailedError, match=r"rank 1 of the 2 .* exit code 1 \(b / c / ModuleNotFound"):
        ranks._check([0, 1], failure, logs)
    failure.write_text(json.dumps({"rank": 1, "memory": False, "error": "ValueError: no"}))
    with pytest.raises(RankFailedError, match=r"rank 1 .* failed with ValueError: no; .* sdar run --resume"):
        ranks._check([1, 1], failure, logs)
    # A rank that was killed tells nothing: the others tell that they missed it.
    with pytest.raises(RankFailedError, match=r"rank 0 .* was ended by SIGKILL; its log is .*0\.log"):
        ranks._check([-9, 1], failure, logs)
    failure.write_text(json.dumps({"rank": 0, "memory": True, "error": "OutOfMemoryError: 1 GiB"}))
    with pytest.raises(torch.OutOfMemoryError, match="1 GiB"):
        ranks._check([1, None], failure, logs)


def test_no_process_outlives_the_block(tmp_path: Path) -> None:
    logs = [tmp_path / "0.log", tmp_path / "1.log"]
    with ranks._processes([WAIT, WAIT], logs) as started:
        assert [process.poll() for process in started] == [None, None]
    assert [process.poll() for process in started] == [-signal.SIGKILL] * 2


def policies(run: SmallRun, number: int) -> Path:
    blob = run.store.artifact(run.artifacts[number, "update"]).blob
    assert blob is not None
    return run.store.blob(blob)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_processes_learn_what_one_learns_and_go_on_with_each_others_state(tmp_path: Path) -> None:
    """Five steps, then five more: by one, by two, by two after one, and by one after two."""
    policy = save_hand_size(tmp_path / "policy")
    found: dict[str, list[UpdateReport]] = {}
    for name, devices, before in (
        ("1", 1, "policy"), ("2", 2, "policy"), ("11", 1, "1"), ("12", 2, "1"), ("21", 1, "2"),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        _, found[name] = learnt(hand_plan(tmp_path / before, devices), tmp_path / name)
    for one, other in (("1", "2"), ("11", "12"), ("11", "21")):
        close(found[one], found[other], 1e-4)
        weights = furthest(tmp_path / one / "model.safetensors", tmp_path / other / "model.safetensors")
        moments = furthest(tmp_path / one / OPTIMISER, tmp_path / other / OPTIMISER)
        print(f"{one} and {other}: weights {weights:.1e}, moments {moments:.1e}")
        assert weights < 1e-5
        assert moments < 1e-5
    assert furthest(policy / "model.safetensors", tmp_path / "2/model.safetensors") > 1e-2
    steps = load_weights(tmp_path / "12" / OPTIMISER)
    assert {float(value) for name, value in steps.items() if name.endswith(".step")} == {10.0}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(find_spec("peft") is None, reason="needs peft: pip install 'sdar[lora]'")
def test_two_processes_train_an_adapter_below_which_weights_are_bfloat16(tmp_path: Path) -> None:
    """With recomputed layers; and a matrix of one row, of which the second process has none."""
    base, policy = save_hand_size(tmp_path / "base", torch.bfloat16), tmp_path / "policy"
    save_adapter(policy, new_adapter(load_model(base), LoraConfig(rank=1, alpha=2), seed=1))
    found = []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        model, reports = learnt(hand_plan(policy, devices, base), folder)
        trained = [weight.detach() for weight in model.parameters() if weight.requires_grad]
        assert len(trained) == 2 * 7 * 2
        found.append((torch.cat([weight.flatten() for weight in trained]), reports))
    (one, reports), (two, shared) = found
    before, _ = load_trained(policy, base, "cpu")
    start = torch.cat([weight.detach().flatten() for weight in before.parameters() if weight.requires_grad])
    # bfloat16 activations: 2^-8 of a gradient is noise, and Adam divides by the gradient's size.
    moved = float((one - start).norm())
    assert float((one - two).norm()) / moved < 0.05
    close(reports, shared, 0.02)
    assert moved > 0.1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_rounds_of_a_run_may_be_shared_by_different_numbers(policy_path: Path, tmp_path: Path) -> None:
    """Round 1 by two processes and round 2 by one, in one store: the number is no part of any key."""
    teacher = {"teacher": "ema", "ema_rate": 0.5}
    one = learn(tmp_path / "one", small_config(policy_path, {"sdar": teacher}), 2)
    two_devices = small_config(policy_path, {"sdar": teacher, "policy": {"devices": 2}})
    learn(tmp_path / "mixed", two_devices, 1)
    mixed = learn(tmp_path / "mixed", small_config(policy_path, {"sdar": teacher}), 2)
    assert [report.reused for report in mixed.reports if report.round == 1] == [True] * 4
    for number in (1, 2):
        close(*(run.store.updates(run.artifacts[number, "update"]) for run in (one, mixed)), 1e-3)
        for name in ("model.safetensors", OPTIMISER, "ema/model.safetensors"):
            assert furthest(policies(one, number) / name, policies(mixed, number) / name) < 1e-5
    assert mixed.store.verify() == []


def ranks_below(parent: int) -> list[int]:
    """The live ranks that a process started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(words[1]) == parent and words[0] != "Z" and b"sdar.tasks.rank_main" in command:
            found.append(int(folder.name))
    return sorted(found)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", ["rank", "interrupt", "kill"])
def test_ranks_end_together_and_with_their_parent(how: str, tmp_path: Path) -> None:
    """In the middle of their collective work: one is killed, or the parent is interrupted or killed."""
    save_hand_size(tmp_path / "policy")
    (tmp_path / "new").mkdir()
    command = [sys.executable, str(Path(__file__).with_name("rank_runs.py")), str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as parent:
        while len(started := ranks_below(parent.pid)) < 2 or not working(started):
            assert parent.poll() is None
            time.sleep(0.5)
        victim = started[1] if how == "rank" else parent.pid
        os.kill(victim, signal.SIGINT if how == "interrupt" else signal.SIGKILL)
        began = time.monotonic()
        while any(Path(f"/proc/{rank}").exists() for rank in started):
            time.sleep(0.05)
        gone = time.monotonic() - began
        assert parent.stderr is not None
        told = parent.stderr.read()
        code = parent.wait()
        print(f"{how}: ranks gone after {gone:.1f} s, parent after {time.monotonic() - began:.1f} s")
    if how == "rank":
        assert code == 1
        assert "RankFailedError: rank" in told
        assert "was ended by SIGKILL" in told
    else:
        assert code != 0
    assert not (tmp_path / "new" / "model.safetensors").exists()


def working(started: list[int]) -> bool:
    """Whether ranks have met: each listens, and is connected to the other."""
    return all(sockets(Path(f"/proc/{rank}/fd")) >= 2 for rank in started)


def sockets(folder: Path) -> int:
    count = 0
    for name in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            count += os.readlink(name).startswith("socket:")
    return count
