"""Process-wide settings of the libraries, in one place and before any of them is imported."""

from __future__ import annotations

import os

DEFAULTS = {
    # Two OpenMP pools on few cores slow each other down; torch gets its threads from `policy.threads`.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Threads that wait for each other sleep after some ten microseconds: on a busy machine those that spin
    # take the time of those they wait for (benchmarks/waiting.py).
    "GOMP_SPINCOUNT": "1000",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # A bar for each loaded policy would break up the lines of a run.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    # Torch's C++ part would report memory bindings and the like on the terminal.
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Errors are reported once, by sdar itself.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
}


def prepare_environment() -> None:
    """Set every default that the user did not set; call it before torch, faiss or prefect is imported."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
