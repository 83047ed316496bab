"""Worlds in worker processes: same results, one episode lost per fault, and no process left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import awkward_world
import pytest

from sdar.envs.base import StepResult
from sdar.envs.conformance import check_environment
from sdar.envs.demonstration import Demonstrates
from sdar.envs.household.environment import Household
from sdar.envs.worker_pool import IN_FLIGHT, POOL
from sdar.envs.workers import Registered, WorkerEnvironment, in_workers, reset_many, step_many, use_workers
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError, EnvironmentFailedError

CONFIG = EnvironmentConfig(name="awkward", max_steps=6)
IMPATIENT = CONFIG.model_copy(update={"step_timeout": 1.0})
TASKS = awkward_world.Awkward().tasks("train")


@pytest.fixture(autouse=True)
def _two_workers() -> Iterator[None]:
    use_workers(2)
    yield
    use_workers(0)


@pytest.fixture(scope="module", autouse=True)
def _no_workers_afterwards() -> Iterator[None]:
    yield
    POOL.close()
    assert POOL.pids() == []


def batch(size: int, config: EnvironmentConfig = CONFIG) -> list[WorkerEnvironment]:
    make = in_workers(awkward_world.make)
    environments = [world for _ in range(size) if isinstance(world := make(config), WorkerEnvironment)]
    assert reset_many(environments, [TASKS[2]] * size) == ["zero"] * size
    return environments


def observations(results: list[StepResult | Exception]) -> list[str]:
    return [result.observation if isinstance(result, StepResult) else "failed" for result in results]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_it_keeps_every_rule_of_an_environment() -> None:
    assert check_environment(in_workers(awkward_world.make), CONFIG, episodes=4) == []


def test_a_batch_goes_as_it_does_in_this_process() -> None:
    size = 2 * IN_FLIGHT + 3  # more episodes than workers, and than requests in flight
    here = [awkward_world.make(CONFIG) for _ in range(size)]
    there = [in_workers(awkward_world.make)(CONFIG) for _ in range(size)]
    tasks = [TASKS[i % 3].model_copy(update={"seed": i}) for i in range(size)]
    assert reset_many(here, tasks) == reset_many(there, tasks)
    for turn in range(2):
        actions = [("up", "look", "xyzzy")[(i + turn) % 3] for i in range(size)]
        assert step_many(here, actions) == step_many(there, actions)


def test_registered_worlds_are_found_by_name_in_the_worker() -> None:
    config, task = EnvironmentConfig(), Household().tasks("unseen")[0]
    here, there = Household(), in_workers(Registered("household"))(config)
    assert there.tasks("unseen") == here.tasks("unseen")
    assert there.reset(task, task.seed) == here.reset(task, task.seed)
    assert there.actions() == here.actions()
    expert = there.expert()
    assert expert is not None
    for _ in range(30):
        if (result := there.step(expert.next_action())).done:
            break
    assert result.success


def test_an_exception_arrives_as_it_was_raised() -> None:
    world, other = batch(2)
    with pytest.raises(ConfigError, match="no split 'seen'; allowed are: train, unseen"):
        world.tasks("seen")
    raised, unsendable = step_many([world, other], ["raise", "lambda"])
    assert repr(raised) == "LookupError('nothing here')"
    assert repr(unsendable) == "EnvironmentFailedError('Unsendable: cannot be sent')"
    faulty = TASKS[0].model_copy(update={"payload": {"fault": "reset"}})
    assert [str(error) for error in reset_many([world], [faulty])] == ["'no such game file'"]
    with pytest.raises(EnvironmentFailedError, match="no episode is under way; call reset"):
        world.step("up")
    assert world.reset(TASKS[0], 0) == "zero"


def test_a_world_that_cannot_be_made_says_why() -> None:
    with pytest.raises(ConfigError, match="no data in 'here'"):
        in_workers(awkward_world.cannot_be_made)(CONFIG.model_copy(update={"data": "here"}))


@pytest.mark.parametrize(
    ("action", "message"),
    [("segfault", r"step\('segfault'\) ended its worker process \(signal SIGSEGV; it said 'Fatal Python"),
     ("exit", r"step\('exit'\) ended its worker process \(exit code 3"),
     ("hang", r"step\('hang'\) took longer than the 1 s allowed.*set env.step_timeout to allow more")],
)  # fmt: skip
def test_a_fault_costs_its_own_episode_only(action: str, message: str) -> None:
    worlds = batch(5, IMPATIENT)
    undisturbed = [awkward_world.make(CONFIG) for _ in worlds]
    reset_many(undisturbed, [TASKS[2]] * 5)
    assert step_many(worlds, ["up"] * 5) == step_many(undisturbed, ["up"] * 5)
    results = step_many(worlds, ["up", "look", action, "xyzzy", "look"])
    expected = step_many(undisturbed, ["up", "look", "up", "xyzzy", "look"])
    assert results[:2] + results[3:] == expected[:2] + expected[3:]
    assert isinstance(results[2], EnvironmentFailedError)
    with pytest.raises(EnvironmentFailedError, match=message):
        raise results[2]
    # The neighbours were played again up to here; what they draw next is what they would have drawn.
    later = step_many(worlds, ["look"] * 5)
    assert later[:2] + later[3:] == (then := step_many(undisturbed, ["look"] * 5))[:2] + then[3:]
    assert "no episode is under way; call reset(task, seed)" in str(later[2])
    assert worlds[2].reset(TASKS[0], 0) == "zero"
    assert worlds[2].step("up").valid


def test_a_world_that_is_not_deterministic_is_not_silently_played_again() -> None:
    make = in_workers(awkward_world.forgetful)
    worlds = [world for _ in range(4) if isinstance(world := make(CONFIG), WorkerEnvironment)]
    assert all(str(first).startswith("process ") for first in reset_many(worlds, [TASKS[2]] * 4))
    step_many(worlds[:1], ["exit"])
    results = step_many(worlds[1:], ["up"] * 3)
    lost = [result for result in results if isinstance(result, EnvironmentFailedError)]
    assert len(lost) == sum(world.lane is worlds[0].lane for world in worlds[1:]) > 0
    assert "reset was answered 'process " in str(lost[0])
    assert "sdar envs check awkward" in str(lost[0])


def test_workers_play_in_parallel_and_answers_keep_their_order(tmp_path: Path) -> None:
    worlds = batch(4)
    step_many(worlds, ["look", "up", "up", "look"])
    there = next(i for i, world in enumerate(worlds) if world.lane is not worlds[0].lane)
    actions = [f"meet {tmp_path}" if i in (0, there) else "look" for i in range(4)]
    results = step_many(worlds, actions)
    assert [text.split()[0] for text in observations(results)] == ["0", "1", "1", "0"]


def test_workers_are_bounded_and_used_again() -> None:
    gc.collect()  # tracebacks of other tests' faults hold worlds until then
    for _ in range(3):
        worlds = batch(6)
        pids = set(observations(step_many(worlds, ["pid"] * 6)))
        assert pids == {str(pid) for pid in POOL.pids()}
        assert len(pids) == 2
        del worlds
    assert all(len(lane.used) <= 6 for lane in POOL._lanes)


def test_a_worker_that_ended_while_idle_is_not_the_fault_of_the_next_step() -> None:
    worlds = batch(2)
    before = step_many(worlds, ["up", "up"])
    for pid in POOL.pids():
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not any(alive(pid) for pid in POOL.pids()))
    after = step_many(worlds, ["look", "look"])
    assert [text.split()[0] for text in observations([*before, *after])] == ["1"] * 4


def test_noise_disturbs_nothing_and_is_not_kept() -> None:
    worlds = batch(1)
    step_many(worlds, ["noise"])
    noise = worlds[0].lane.noise
    assert noise is not None
    assert os.fstat(noise.fileno()).st_size == 0
    assert worlds[0].step("look").valid


def test_demonstrations_come_through() -> None:
    world = in_workers(awkward_world.make)(CONFIG)
    assert isinstance(world, Demonstrates)
    assert world.demonstration(7, 0, 0.5) == awkward_world.Awkward().demonstration(7, 0, 0.5)


PARENT = """
import signal, sys, awkward_world
# A shell starts background jobs with SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
from sdar.envs.worker_pool import POOL
from sdar.envs.workers import in_workers, reset_many, step_many, use_workers
from sdar.schemas.config import EnvironmentConfig
use_workers(2)
worlds = [in_workers(awkward_world.make)(EnvironmentConfig(name="awkward")) for _ in range(2)]
reset_many(worlds, awkward_world.Awkward().tasks("train")[:2])
print(*POOL.pids(), flush=True)
step_many(worlds, sys.argv[1:])
"""


def parent(*actions: str) -> tuple[subprocess.Popen[str], list[int]]:
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    started = subprocess.Popen(
        [sys.executable, "-c", PARENT, *actions],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert started.stdout is not None
    return started, [int(pid) for pid in started.stdout.readline().split()]


@pytest.mark.parametrize(
    ("actions", "ending"),
    [(("up", "hang"), signal.SIGKILL), (("up", "hang"), signal.SIGINT), (("up", "up"), None)],
)
def test_no_worker_outlives_its_parent(actions: tuple[str, ...], ending: signal.Signals | None) -> None:
    started, pids = parent(*actions)
    assert len(pids) == 2
    if ending is not None:
        assert all(alive(pid) for pid in pids)
        started.send_signal(ending)
    _, errors = started.communicate(timeout=60)
    assert wait_until(lambda: not any(alive(pid) for pid in pids))
    assert ("KeyboardInterrupt" in errors) == (ending is signal.SIGINT)
    assert (started.returncode == 0) == (ending is None)
