"""What the user is told when something fails that no part of the code foresaw."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sdar.flows import failures
from sdar.flows.failures import UnexpectedError, explained
from sdar.schemas.errors import InputError


def test_a_full_disk_is_named_whichever_library_found_it(tmp_path: Path) -> None:
    # A limit on the size of files fails writes in the same place as a full disk does.
    script = """
import resource, sys
from pathlib import Path
import torch
from sdar.flows.failures import explained
from sdar.policy.model import save_weights
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
try:
    save_weights(Path(sys.argv[1], "w.safetensors"), {"w": torch.zeros(1_000_000)})
except Exception as error:
    told = explained(error, Path(sys.argv[1]))
    print(told.exit_code, type(error).__name__, told)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("2 SafetensorError no room left to write (SafetensorError: ")
    assert f"B free at {tmp_path}, " in done.stdout
    assert "sdar store prune" in done.stdout
    assert not list(tmp_path.glob("error-*.log"))


def test_the_cause_counts_not_what_was_made_of_it(tmp_path: Path) -> None:
    failed = RuntimeError("the shard failed")
    failed.__cause__ = OSError(28, "No space left on device")
    assert isinstance(explained(failed, tmp_path), InputError)


@pytest.mark.parametrize(
    ("free", "blame"), [(10 << 20, "A disk that is full may be"), (1 << 40, "This is a bug")]
)
def test_little_room_is_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, blame: str
) -> None:
    class Usage:
        def __init__(self, _: Path) -> None:
            self.free = free

    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(failures.shutil, "disk_usage", Usage)
    told = explained(RuntimeError("500 Internal Server Error"), tmp_path)
    assert isinstance(told, UnexpectedError)
    assert f"500 Internal Server Error. {blame}" in str(told)
    assert [str(log) in str(told) for log in (tmp_path / "logs").iterdir()] == [True]


def test_a_disk_so_full_that_no_temporary_folder_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_usable() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(failures.tempfile, "gettempdir", none_usable)
    full = OSError(28, "No space left on device")
    assert "no room left" in str(explained(full, tmp_path))
    assert "no room left" in str(explained(full))
    assert "unexpected ValueError: x" in str(explained(ValueError("x"), tmp_path))


def test_a_reader_that_has_gone_is_no_bug(tmp_path: Path) -> None:
    """`sdar run | head`."""
    told = explained(BrokenPipeError(32, "Broken pipe"), tmp_path)
    assert told.exit_code == 1
    assert "closed it" in str(told)
    assert list(tmp_path.iterdir()) == []
