"""The guard in tests/conftest.py itself: it must stop what leaves this machine and nothing else."""

from __future__ import annotations

import socket
import sys

import pytest

guard = sys.modules["tests.conftest"] if "tests.conftest" in sys.modules else sys.modules["conftest"]


def test_leaving_the_machine_is_stopped_and_noted() -> None:
    with pytest.raises(RuntimeError, match=r"192\.0\.2\.1"), socket.socket() as outside:
        outside.connect(("192.0.2.1", 9))
    with pytest.raises(RuntimeError, match=r"example\.invalid"):
        socket.getaddrinfo("example.invalid", 80)
    assert guard._attempts == ["socket.connect '192.0.2.1'", "socket.getaddrinfo 'example.invalid'"]
    guard._attempts.clear()  # or this test would fail, as it should anywhere else


def test_the_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
