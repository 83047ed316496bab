"""What every test runs under: no network but the loopback, one thread, no telemetry, no hub."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from sdar.flows.environment import prepare_environment

prepare_environment()

# A busy machine fails no test for being slow, and the same code is tried with the same examples everywhere.
settings.register_profile("sdar", deadline=None, derandomize=True, database=None)
settings.load_profile("sdar")

# Programs that tests start find the package in the same place, installed or not.
_LINKS = str(Path(__file__).parent.parent / ".links")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_LINKS, os.environ.get("PYTHONPATH")]))

_attempts: list[str] = []


class NetworkBlockedError(RuntimeError):
    """Something tried to leave this machine."""


def _is_local(host: object) -> bool:
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.split("%")[0]).is_loopback
    except ValueError:
        return False


def _watch_sockets(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a Unix socket has a path, not a host
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not _is_local(host):
        _attempts.append(f"{event} {host!r}")
        raise NetworkBlockedError(f"{event} to {host!r}: tests may reach the loopback only")


# An audit hook sees every library, whichever way it imported `socket`, and cannot be undone by a test.
sys.addaudithook(_watch_sockets)


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    """Fail a test whose code tried to reach the network, also when it swallowed the error."""
    _attempts.clear()
    yield
    assert not _attempts, f"network attempts: {_attempts}"
