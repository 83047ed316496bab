"""A Prefect server for the length of a run: started in the background, never left as an orphan."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sdar.flows.failures import causes
from sdar.schemas.errors import SdarError

START_S = 900.0
"""Seconds that a start may take: 5 usually, 15 with a fresh home, minutes on a busy machine. A server that
ends is noticed at once; this is for one that hangs."""
STOP_S = 4.0
REACH_S = 5.0
HOST = "127.0.0.1"

# Nothing here needs these loops: they would only take processor time from the run.
_IDLE_SERVICES = ("LATE_RUNS", "CANCELLATION_CLEANUP", "PAUSE_EXPIRATIONS", "FOREMAN")


class ServerError(SdarError, RuntimeError):
    """The Prefect server did not start."""


@dataclass(frozen=True)
class Server:
    """A Prefect API: `process` is None when it belongs to somebody else."""

    url: str
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def page(self) -> str:
        """Address of its pages for people."""
        return self.url.removesuffix("/api")


@contextmanager
def prefect_server(home: Path, *, schedules: bool = False) -> Iterator[Server]:
    """Provide the API named by PREFECT_API_URL, or start a server of our own; do not wait for it.

    Enter this before prefect is imported: it sets PREFECT_API_URL and PREFECT_HOME for this process.

    Args:
        home: folder for the server's database and log.
        schedules: whether the server is to make flow runs of the schedules of deployments.
    """
    given = os.environ.get("PREFECT_API_URL")
    if given:
        with _named_if_silent(given):
            yield Server(given)
        return
    server = _start(home, schedules=schedules)
    os.environ["PREFECT_API_URL"] = server.url
    try:
        yield server
    except Exception as error:
        code = server.process.poll() if server.process is not None else None
        if code is None or not _of_the_client(error):
            raise
        raise ServerError(
            f"the Prefect server of this command has ended with exit code {code}: {_last_words(server)}. "
            f"Its log is {server.log}. What was stored before is unharmed."
        ) from error
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        _stop(server)


def wait_until_ready(server: Server, timeout: float = START_S) -> None:
    """Return once our own server answers; a server of somebody else is left to Prefect's own checks.

    Raises:
        ServerError: it ended, or does not answer in time; the message quotes its log.
    """
    if server.process is None:
        return
    deadline = time.monotonic() + timeout
    port = int(server.url.rsplit(":", 1)[1].split("/")[0])
    while not _answers(port, deadline - time.monotonic()):
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise ServerError(_failure(server, timeout))
        time.sleep(0.1)


@contextmanager
def _named_if_silent(url: str) -> Iterator[None]:
    """Say of a failure that the server of somebody else does not answer, if that is so."""
    try:
        yield
    except Exception as error:
        if not _of_the_client(error) or _reachable(url):
            raise
        raise ServerError(
            f"the Prefect server {url}, which PREFECT_API_URL names, does not answer. Start it, or unset "
            "PREFECT_API_URL: a run then starts a server of its own."
        ) from error


def _of_the_client(error: Exception) -> bool:
    """Whether a failure came from a request to the server: Prefect asks it through httpx."""
    if isinstance(error, SdarError):
        return False
    return any(type(cause).__module__.partition(".")[0] == "httpx" for cause in causes(error))


def _start(home: Path, *, schedules: bool) -> Server:
    home.mkdir(parents=True, exist_ok=True)
    log = home / "server.log"
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        _bypass_proxies()
        os.environ["PREFECT_HOME"] = str(home.resolve())
        os.environ["PREFECT_SERVER_API_PORT"] = str(port)  # the address that the web page calls
        for service in (*_IDLE_SERVICES, *(() if schedules else ("SCHEDULER",))):
            os.environ.setdefault(f"PREFECT_SERVER_SERVICES_{service}_ENABLED", "false")
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "sdar.flows.server_process", str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C in the terminal is for the run, which then ends its server
            )
    return Server(f"http://{HOST}:{port}/api", log, process)


def _bypass_proxies() -> None:
    """Keep requests to our own server away from a proxy that the user may have set.

    Prefect's client fails on a proxy that it cannot use, one of SOCKS for instance, even if it would not be
    asked. Then a star in the list makes that client ignore them all; to other libraries it means nothing.
    """
    ours = [HOST, "localhost"] if _proxies_work() else [HOST, "localhost", "*"]
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*hosts, *ours]))


def _proxies_work() -> bool:
    """Whether Prefect's client can be made with the proxies of the environment."""
    if not urllib.request.getproxies():
        return True
    import httpx

    try:
        httpx.Client().close()
    except Exception:  # which one depends on what is wrong: the address, or a package that is missing
        return False
    return True


def _stop(server: Server) -> None:
    process = server.process
    if process is None or process.stdin is None:
        return
    process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(port: int, timeout: float) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=max(timeout, 0.1))
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reachable(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=REACH_S).close()
    except urllib.error.HTTPError:  # it answers, if only to refuse us
        return True
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def _failure(server: Server, timeout: float) -> str:
    return (
        f"the Prefect server did not answer within {timeout:.0f} s: {_last_words(server)}. "
        f"Its log is {server.log}. "
        "Install the versions of constraints.txt, or set PREFECT_API_URL to a server that runs."
    )


def _last_words(server: Server) -> str:
    text = server.log.read_text(errors="replace") if server.log else ""
    return " / ".join(text.strip().splitlines()[-3:]) or "its log is empty"
