"""The Prefect server as a child process of `sdar`: `python -m sdar.flows.server_process SOCKET_FD`.

It serves on a socket that the parent opened, so no other process can take the port in between. Its standard
input is a pipe from the parent: the end of that pipe, however it comes about, ends the server.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

import uvicorn

GRACE_S = 2.0
"""Seconds for an orderly shutdown, in which the last task states reach the database."""


def _end_with_parent(server: uvicorn.Server) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    server.should_exit = True
    threading.Timer(GRACE_S, os._exit, [0]).start()


def main() -> None:
    """Serve until the parent closes the pipe or dies."""
    from prefect.server.api.server import create_app

    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(create_app(), log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_parent, args=[server], daemon=True).start()
    server.run(sockets=[listener])
    os._exit(0)


if __name__ == "__main__":
    main()
