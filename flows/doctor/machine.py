"""Checks of the machine: Python, threads, memory, disk and GPU."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from sdar.flows.doctor.check import Check
from sdar.flows.output import size
from sdar.schemas.errors import EnvironmentMissingError, InputError

ENOUGH_MEMORY = 4e9
"""Bytes that a run of the built-in worlds needs, with what else is going on."""
FREE_MEMORY = 1.5e9
FREE_DISK = 1e9
_CGROUP = Path("/sys/fs/cgroup")


def python_check() -> Check:
    """Say which Python runs."""
    return Check("python", "ok", f"{platform.python_version()}, {sys.executable}")


def threads_check(cores: int, quota: float | None, environment: Mapping[str, str]) -> Check:
    """Compare threads with what there is to run them.

    Args:
        cores: cores that this process may use.
        quota: cores' worth of time that a container gives it, None without a limit.
        environment: variables of the process.
    """
    pool = environment.get("OMP_NUM_THREADS", "1")
    if quota is not None and quota < cores:
        fix = f"sdar run --set policy.threads={max(int(quota), 1)}"
        return Check("threads", "warning", f"{cores} cores, but time for {quota:g} of them", fix)
    if pool != "1":
        found = f"OMP_NUM_THREADS={pool}: faiss gets a pool of its own, which competes with torch's"
        return Check("threads", "warning", found, "unset OMP_NUM_THREADS")
    return Check("threads", "ok", f"{cores} cores; torch takes policy.threads of them, by default all")


def memory_check(total: float, free: float) -> Check:
    """Say whether the memory is enough; both in bytes."""
    found = f"{size(free)} of {size(total)} free"
    if total < ENOUGH_MEMORY * 0.9:  # part of it is never shown
        fix = "sdar run --set rollout.tasks=4 --set policy.token_budget=1024"
        return Check("memory", "warning", f"{found}; a run needs about {size(ENOUGH_MEMORY)}", fix)
    if free < FREE_MEMORY:
        return Check("memory", "warning", found, "end other programs before a run")
    return Check("memory", "ok", found)


def disk_check(store: Path) -> Check:
    """Say whether the place of the store can be written to and has room for its database's published copy."""
    folder = store.absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        found = f"{folder} cannot be written to"
        return Check("disk", "fault", found, "name another folder with --store", InputError.exit_code)
    database = store / "store.duckdb"
    needed = database.stat().st_size if database.exists() else 0
    free = shutil.disk_usage(folder).free
    found = f"{size(free)} free at {folder}"
    fix = f"sdar store prune --store {store}" if needed else "make room, or name another disk with --store"
    if free < needed:
        found += f", too little for the copy that queries read ({size(needed)})"
        return Check("disk", "fault", found, fix, InputError.exit_code)
    return Check("disk", "warning", found, fix) if free < FREE_DISK else Check("disk", "ok", found)


def gpu_check() -> Check:
    """Say whether torch can use a GPU, and whether in bfloat16."""
    try:
        import torch
    except (ImportError, OSError) as error:
        found = f"torch cannot be imported: {error}"
        fix = "pip install --force-reinstall torch"
        return Check("gpu", "fault", found, fix, EnvironmentMissingError.exit_code)
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        exact = "bfloat16" if torch.cuda.is_bf16_supported() else "float32 only"
        found = f"{torch.cuda.device_count()} x {device.name}, {size(device.total_memory)}, {exact}"
        return Check("gpu", "ok", f"{found}; use it with --set policy.device=cuda")
    if Path("/dev/nvidia0").exists():
        found = f"there is an NVIDIA GPU, but torch {torch.__version__} cannot use it"
        return Check("gpu", "warning", found, "look at nvidia-smi, then install a build of torch with CUDA")
    return Check("gpu", "ok", "none; policies run on the CPU, in float32 unless policy.dtype says otherwise")


def core_quota() -> float | None:
    """Return the cores' worth of time that a control group gives, None without a limit."""
    words = _text("cpu.max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0].isdigit() else None


def memory() -> tuple[float, float]:
    """Return the bytes of memory in all and free, of the machine or of the control group if that has less."""
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    file = Path("/proc/meminfo")
    for line in file.read_text().splitlines() if file.exists() else ():
        if line.startswith("MemAvailable:"):  # caches, which can be given up, are free as well
            free = int(line.split()[1]) * 1024
    limit, used = _text("memory.max").strip(), _text("memory.current").strip()
    if limit.isdigit() and used.isdigit():
        return min(total, int(limit)), min(free, max(int(limit) - int(used), 0))
    return total, free


def _text(name: str) -> str:
    try:
        return (_CGROUP / name).read_text()
    except OSError:
        return ""
