"""`sdar bootstrap`: make a starter policy, measure it, and keep the log that says how it was made."""

from __future__ import annotations

import json
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from sdar.envs.registry import environment_factory
from sdar.flows.commands.options import EnvOption, FileOption, SetOption, configuration, overrides
from sdar.flows.display import cell
from sdar.schemas.config import RunConfig

LOG = "training.json"
REPORT_EVERY = 50


def bootstrap(
    out: Annotated[Path, typer.Option("--out", help="Folder for the policy; replaced if it is there.")],
    config: FileOption = None,
    set_: SetOption = None,
    env: EnvOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Short for --set warmstart.seed=N.")] = 0,
) -> None:
    """Train a starter policy on what an environment demonstrates; measure it in worlds that it never saw."""
    settings = configuration(config, [f"warmstart.seed={seed}", *overrides(set_, env=env)]).config
    _check(settings)
    out.mkdir(parents=True, exist_ok=True)
    log = _train(out, settings)
    log["measured"] = _measure(out, settings)
    (out / LOG).write_text(json.dumps(log, indent=1) + "\n")
    path = shlex.quote(f"policy.path={out}")
    typer.echo(f"Wrote {out}. Use it with: sdar run --env {settings.env.name} --set {path}")


def _check(settings: RunConfig) -> None:
    """Refuse before the training what could not be trained or measured."""
    environment_factory(settings.env.name)
    from sdar.tasks.bank import read_skills
    from sdar.tasks.starter import demonstrating

    demonstrating(settings)
    read_skills(settings)


def _train(out: Path, settings: RunConfig) -> dict[str, Any]:
    import torch
    import transformers

    from sdar.policy.warmstart import WarmStartProgress
    from sdar.tasks.session import use_threads
    from sdar.tasks.starter import make_starter

    use_threads(settings)
    began, losses, recent = time.monotonic(), list[dict[str, float]](), list[float]()

    def report(progress: WarmStartProgress) -> None:
        recent.append(progress.loss)
        if progress.step % REPORT_EVERY and progress.step != progress.steps:
            return
        mean, seconds = sum(recent) / len(recent), time.monotonic() - began
        recent.clear()
        losses.append({"step": progress.step, "loss": round(mean, 4), "seconds": round(seconds, 1)})
        typer.echo(
            f"step {progress.step}/{progress.steps}  loss {mean:.3f} nats per action token  {seconds:.0f} s"
        )

    make_starter(out, settings, report)
    return {
        "command": shlex.join(["sdar", *sys.argv[1:]]),
        "warmstart": settings.warmstart.model_dump(mode="json"),
        "environment": settings.env.model_dump(mode="json"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - began, 1),
        "losses": losses,
    }


def _measure(out: Path, settings: RunConfig) -> list[dict[str, float | str]]:
    from sdar.tasks.starter import measure_starter

    rows = measure_starter(out, settings)
    for row in rows:
        text = cell(row, "success")
        typer.echo(
            f"{row['tasks_of']}, {row['skills']} skills: {text} of {row['tasks']} tasks (95 % interval)"
        )
    return rows
