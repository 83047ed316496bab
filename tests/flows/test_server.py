"""One real server: it answers, it is quiet, and it dies with its parent however that ends."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdar.flows.server import Server, ServerError, _bypass_proxies, prefect_server, wait_until_ready

SCRIPT = Path(__file__).with_name("fake_run.py")


@contextmanager
def _run(home: Path, mode: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[], Any]]]:
    """Start a run; the second value reads its next line of JSON."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_API")}
    command = [sys.executable, str(SCRIPT), str(home), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = process.stdout
        try:
            yield process, lambda: json.loads(lines.readline())
        finally:
            process.kill()


def _states(home: Path) -> dict[str, int]:
    """Number of task runs by state, read from the server's database after it ended."""
    database = home / "prefect.db"
    if not database.exists():
        return {}
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute("SELECT state_name, count(*) FROM task_run GROUP BY 1"))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _alive(pid)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One server home for all runs: only the first of them pays for the database."""
    return tmp_path_factory.mktemp("prefect")


def _ended(process: subprocess.Popen[str], server: int, since: float) -> int:
    """Return the exit code of a run that ended, with its server, within five seconds."""
    code = process.wait(10)
    assert _gone_within(server, since + 5 - time.monotonic())
    return code


def test_a_run_is_recorded_and_its_server_ends_with_it(home: Path) -> None:
    with _run(home, "finish") as (process, read):
        server = read()["pid"]
        stages = [read() for _ in range(3 + 3 + 4 + 4)]  # tried again after a failure, from the beginning
        assert [(line["stage"], line["round"]) for line in stages[:4]] == [
            ("bootstrap", 0),
            ("evaluate", 0),
            ("decide", 0),
            ("bootstrap", 0),
        ]
        known = read()
        assert _ended(process, server, time.monotonic()) == 0
    assert known["flows"] == [
        ["household: run-1", "Completed", ["engine:transformers", "env:household", "method:sdar"]]
    ]
    assert {"round 0: bootstrap", "round 1: collect", "round 2: decide"} <= set(known["tasks"])
    assert known["task_tags"] == []  # each would cost a stage up to two seconds of waiting
    assert [(key, rows) for key, rows in known["artifacts"] if key == "progress"] == [("progress", 100.0)]
    tables = [json.loads(data) for key, data in known["artifacts"] if key == "rounds"]
    assert list(map(len, tables)) == [3]  # one table, renewed after each round
    assert {row["success on the panel"] for table in tables for row in table} == {"50.0 % [40.0, 60.0]"}
    verdicts = [data for key, data in known["artifacts"] if key == "verdict"]
    assert len(verdicts) == 1
    assert verdicts[0].startswith("## The target was reached.")
    assert all("/stores/mine/reports/run-1.html" in text for text in verdicts)
    assert _states(home) == {"Completed": 14, "Failed": 1}


def test_no_server_outlives_a_killed_run(home: Path) -> None:
    with _run(home, "wait") as (process, read):
        server = read()["pid"]
        while "waiting" not in read():
            pass
        assert _alive(server)
        process.kill()
        assert _ended(process, server, time.monotonic()) == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_everything_within_five_seconds(home: Path, signum: signal.Signals) -> None:
    with _run(home, "wait") as (process, read):
        server = read()["pid"]
        while "waiting" not in read():
            pass
        process.send_signal(signum)
        assert _ended(process, server, time.monotonic()) == 128 + signum


@pytest.mark.slow
def test_a_failed_run_ends_at_once_and_is_recorded(home: Path) -> None:
    before = _states(home).get("Failed", 0)
    with _run(home, "fail") as (process, read):
        server = read()["pid"]
        while read()["stage"] != "decide":
            pass
        assert _ended(process, server, time.monotonic()) == 1
    assert _states(home)["Failed"] == before + 1


def test_a_given_server_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with prefect_server(tmp_path / "home") as server:
        wait_until_ready(server)
        assert server.process is None
    assert not (tmp_path / "home").exists()
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:1/api"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/api", "nonsense"])
def test_a_given_server_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(ServerError, match="PREFECT_API_URL"), prefect_server(tmp_path / "home"):
        raise RuntimeError("Failed to reach API") from httpx.ConnectError("connection refused")
    with pytest.raises(RuntimeError, match="a wire"), prefect_server(tmp_path / "home"):
        raise RuntimeError("a wire came loose")


def test_proxies_that_the_client_cannot_use_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:2")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "inner.example")
    _bypass_proxies()
    httpx.Client().close()  # fails on SOCKS otherwise
    assert urllib.request.proxy_bypass("127.0.0.1")
    assert urllib.request.proxy_bypass("inner.example")
    assert not urllib.request.proxy_bypass("mlflow.example")  # which may need the proxy


def test_a_proxy_that_works_stays_for_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:2")
    _bypass_proxies()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "127.0.0.1,localhost"


def test_a_server_that_ends_is_reported_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("ImportError: no fastapi\n")
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(ServerError, match="ImportError: no fastapi"):
        wait_until_ready(Server("http://127.0.0.1:1/api", log, process), timeout=5)


def test_a_server_that_ends_in_the_middle_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    for name in ("PREFECT_HOME", "PREFECT_SERVER_API_PORT"):
        monkeypatch.setenv(name, "")  # put back afterwards
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(ServerError, match=r"has ended with exit code -9: .* log is "))
        server = stack.enter_context(prefect_server(tmp_path))
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        raise httpx.ConnectError("connection refused")
    assert "PREFECT_API_URL" not in os.environ
