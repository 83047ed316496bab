"""The same run on one host and on several: `python benchmarks/hosts.py`.

Hosts are namespaces of this machine: each has its own addresses, name, processes and shared memory, and they
share its disk, as if they mounted it, and its cores. Two switches join them, one for the cluster and one for
Prefect's server, so that the kernel counts the bytes of either apart; what goes through the shared folder is
on neither. `head` has the flow and Ray's head or Dask's scheduler, `one` and `two` do shards, one at a time.

Runs of two rounds of the household with the starter, settings as in benchmarks/shards.py: with the runner
`local`, then for Ray and Dask each in three ways.

- `undisturbed`: bytes and seconds of each stage, and how long each worker's processors were busy;
- `killed`: all processes of host `two` are killed when the first batch of `collect` is done;
- `cut_off`: the same, but cables first, so that nobody hears of its end; Ray takes minutes to notice.

All have the artifacts of `local`, or the benchmark fails. Needs Linux, root, iproute2 and the extras `ray`
and `dask`. Whatever becomes of this process, its hosts end with it. Writes benchmarks/results/hosts.json.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from _report import RESULTS, machine, save

from sdar.storage import open_store

HOSTS = ("head", "one", "two", "server")
WORKERS = ("one", "two")
NETWORKS = {"cluster": "10.77.0", "prefect": "10.77.1"}
WAYS = ("undisturbed", "killed", "cut_off")
PATIENCE_S = 300.0
BIN = Path(sys.executable).parent
STAGE = re.compile(r"^round +(\d+)  (\w+)", re.MULTILINE)
SETTINGS = ["policy.threads=1", "rollout.tasks=64", "rollout.batch=16", "runner.shards=4", "stop.rounds=2"]
# The first process of a host: it ends with the pipe from this process, and with it all others of the host.
FIRST = """
hostname "$0" && ip link set lo up && mount -t tmpfs tmpfs /dev/shm && mkdir /dev/shm/tmp && echo up
while read -r; do :; done
"""


def main() -> None:
    """Measure, where that can be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "hosts.json")
    arguments = parser.parse_args()
    if lacking := missing():
        print(f"No hosts can be made here, so there is nothing to measure: {lacking}")
        return
    save(measure(), arguments.out)
    print(arguments.out.read_text(encoding="utf-8"))


def missing() -> str:
    """Return what is needed and not here, and what to do about it."""
    if not hasattr(os, "geteuid") or os.geteuid():
        return "this needs Linux and root; next: sudo python benchmarks/hosts.py"
    if absent := [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]:
        return f"{', '.join(absent)} not found; next: apt-get install iproute2 util-linux"
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode:
        return "this process may not make namespaces, as in most containers"
    if absent := [name for name in ("prefect_ray", "prefect_dask") if find_spec(name) is None]:
        return f"{', '.join(absent)} not installed; next: pip install -c constraints.txt -e '.[ray,dask]'"
    return ""


class Program(subprocess.Popen[bytes]):
    """A process with a log."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as out:
            none = subprocess.DEVNULL
            super().__init__(command, env=os.environ | environment, stdin=none, stdout=out, stderr=out)

    def said(self) -> str:
        """Return its output so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, found: Callable[[], object]) -> None:
        """Return when something is found, or fail with the end of the log."""
        end = time.monotonic() + PATIENCE_S
        while not found():
            if self.poll() or time.monotonic() > end:
                raise SystemExit(f"{self.log.stem}, exit code {self.poll()}: {self.said()[-2000:]}")
            time.sleep(0.02)


class Host:
    """Namespaces that live as long as their first process does; to be closed."""

    def __init__(self, name: str, logs: Path) -> None:
        self.name, self.logs = name, logs
        kinds = ("--net", "--uts", "--ipc", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
        command, pipe = ["unshare", *kinds, "bash", "-c", FIRST, name], subprocess.PIPE
        self.first = subprocess.Popen(command, stdin=pipe, stdout=pipe)
        self.first.stdout.readline()  # type: ignore[union-attr]
        self.pid = Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children").read_text().strip()
        self.enter = ["nsenter", "-t", self.pid, "-n", "-u", "-i", "-p", "-m"]
        self.namespace = os.readlink(f"/proc/{self.pid}/ns/pid")

    def close(self) -> None:
        """Kill every process of the host; its cables go with it."""
        self.first.kill()
        self.first.wait()

    def ip(self, command: str) -> None:
        """Set up the host's network."""
        subprocess.run(["nsenter", "-t", self.pid, "-n", "ip", *command.split()], check=True)

    def start(self, command: list[Any], ready: str = "", **environment: str) -> Program:
        """Start a command and return when its log has the text."""
        own = {"HOME": "/dev/shm", "TMPDIR": "/dev/shm/tmp", "RAY_TMPDIR": "/dev/shm/tmp"} | environment
        log = f"{self.name}-{len(list(self.logs.iterdir()))}.log"
        program = Program([*self.enter, *map(str, command)], self.logs / log, own)
        program.wait_for(lambda: ready in program.said())
        return program

    def busy_seconds(self) -> float:
        """Return the processor time of the processes that the host has now."""
        ticks = 0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it may have ended meanwhile
                if os.readlink(process / "ns" / "pid") == self.namespace:
                    fields = (process / "stat").read_text().rpartition(")")[2].split()
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def hosts(logs: Path) -> Iterator[dict[str, Host]]:
    """Make hosts and the switches between them, which are a host as well."""
    logs.mkdir()
    with ExitStack() as stack:
        made = {name: stack.enter_context(closing(Host(name, logs))) for name in ("switch", *HOSTS)}
        for network, addresses in NETWORKS.items():
            made["switch"].ip(f"link add {network} up type bridge")
            for number, name in enumerate(HOSTS, 1):
                there = f"{network} netns {made[name].pid}"
                made["switch"].ip(f"link add {network}-{name} master {network} up type veth peer {there}")
                made[name].ip(f"addr add {addresses}.{number}/24 dev {network}")
                made[name].ip(f"link set {network} up")
        for name in HOSTS:  # a machine finds its own address by the way to others
            made[name].ip("route add default dev cluster")
        yield made


def start_cluster(kind: str, made: dict[str, Host]) -> tuple[str, dict[str, str]]:
    """Do what docs/scale.md says; return the cluster's address, and the environment that the flow needs."""
    made["server"].start([BIN / "prefect", "server", "start", "--host", "0.0.0.0"], "/api")
    api = {"PREFECT_API_URL": f"http://{NETWORKS['prefect']}.4:4200/api"}
    head = f"{NETWORKS['cluster']}.1"
    if kind == "dask":
        worker = [BIN / "dask", "worker", f"tcp://{head}:8786", "--nworkers", 1, "--nthreads", 1]
        made["head"].start([BIN / "dask", "scheduler"], "Scheduler at:")
        for name in WORKERS:
            made[name].start(worker, "Registered to:")
        return f"tcp://{head}:8786", api
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    node = [BIN / "ray", "start", "--block", "--disable-usage-stats", "--num-cpus"]
    made["head"].start([*node, 0, "--head"], "Ray runtime started", **token)
    for name in WORKERS:
        made[name].start([*node, 1, "--address", f"{head}:6379"], "Ray runtime started", **token)
    return f"{head}:6379", api | token


def look(made: dict[str, Host]) -> dict[str, float]:
    """Read clock and counters; what a cable's end at the switch has received, its host has sent."""
    busy = {f"busy_seconds_{name}": made[name].busy_seconds() for name in WORKERS}
    found = {"seconds": time.monotonic(), **busy}
    for line in Path(f"/proc/{made['switch'].pid}/net/dev").read_text().splitlines()[2:]:
        network, cable, host = line.partition(":")[0].strip().partition("-")
        if cable:
            found[f"{network}_bytes_{host}"] = int(line.partition(":")[2].split()[0])
    return found


def measure() -> dict[str, Any]:
    """Let the runs follow each other, and return what there is to say of each."""
    load_before = os.getloadavg()[0]
    result: dict[str, Any] = {"settings": SETTINGS, "artifacts": "equal", "ray": {}, "dask": {}}
    with tempfile.TemporaryDirectory() as folder:
        expected, result["local"] = run("local", "undisturbed", Path(folder) / "local")
        for kind in ("ray", "dask"):
            for way in WAYS:
                print(kind, way, file=sys.stderr, flush=True)
                artifacts, result[kind][way] = run(kind, way, Path(folder) / f"{kind}-{way}")
                if artifacts != expected:
                    raise SystemExit(f"other artifacts with {kind}, {way}: {artifacts}, {expected}")
    result["machine"] = machine(load_before, *map(import_module, ("distributed", "prefect", "ray", "torch")))
    return result


def run(kind: str, way: str, store: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the artifacts of a run, and its figures."""
    with hosts(store.with_suffix(".logs")) as made:
        settings, environment = [*SETTINGS, f"runner.kind={kind}"], dict[str, str]()
        if kind != "local":
            address, environment = start_cluster(kind, made)
            settings.append(f"runner.address={address}")
        command = [BIN / "sdar", "run", "--store", store, *(x for each in settings for x in ("--set", each))]
        program = made["head"].start(command, **environment)
        if way != "undisturbed":
            program.wait_for(lambda: any(store.glob("shards/*/*.out")))
            for network in NETWORKS if way == "cut_off" else ():
                made["switch"].ip(f"link set {network}-two down")
            made["two"].close()
        lost = time.monotonic()
        ended: dict[tuple[str, str], dict[str, float]] = {}
        while program.poll() is None:
            ended |= {stage: look(made) for stage in STAGE.findall(program.said()) if stage not in ended}
            time.sleep(0.02)
        if program.returncode:
            raise SystemExit(f"{kind}, {way}: {program.said()[-2000:]}")
    stored = open_store(store, read_only=True).query("SELECT round, stage, artifact_id AS id FROM stage_run")
    artifacts = {f"{row['round']} {row['stage']}": row["id"] for row in stored.to_pylist()}
    if way != "undisturbed":
        return artifacts, {"seconds_until_collect_ended": round(ended["1", "collect"]["seconds"] - lost, 1)}
    return artifacts, {f"round {number}": figures(ended, str(number)) for number in (1, 2)}


def figures(ended: dict[tuple[str, str], dict[str, float]], number: str) -> dict[str, dict[str, float]]:
    """Return what each stage of a round took since the end of the stage before, and their sum."""
    found = {
        stage[1]: {name: round(value - ended[before].get(name, 0), 2) for name, value in ended[stage].items()}
        for before, stage in pairwise(ended)
        if stage[0] == number
    }
    whole = {name: round(sum(each[name] for each in found.values()), 2) for name in found["collect"]}
    return found | {"round": whole}


if __name__ == "__main__":
    main()
