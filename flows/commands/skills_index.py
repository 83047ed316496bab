"""`sdar skills index`: the vectors of a bank, in a folder that later commands bring up to date."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sdar.flows.commands.options import EnvOption, FileOption, JsonOption, SetOption
from sdar.flows.commands.skills_bank import NOTHING_THERE, BankOption, bank_skills, settings
from sdar.flows.output import print_json
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import InputError


def index(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where the index is kept; else only shown.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Embed all skills, also those in --out.")
    ] = False,
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Embed the skills with skills.embedder; of an index in --out, only new skills are embedded."""
    facts = _facts(settings(bank, config, env, set_), out, rebuild)
    if json_:
        print_json(facts)
        return
    typer.echo("\n".join(f"{name:<12} {value}" for name, value in facts.items()))


def _facts(config: RunConfig, out: Path | None, rebuild: bool) -> dict[str, Any]:
    from sdar.skills.index_files import CARD, index_card, load_index, save_index
    from sdar.skills.similarity import embed_bank, refresh_index
    from sdar.tasks.bank import configured_embedder

    skills = bank_skills(config)
    if not skills:
        raise InputError(f"there is nothing to embed. {NOTHING_THERE}")
    embedder = configured_embedder(config, skills)
    if out is None:
        return {**asdict(index_card(embed_bank(skills, embedder).index, embedder)), "embedded": len(skills)}
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is not a folder. Name one for the index with --out.")
    if rebuild or not (out / CARD).is_file():
        made, known = embed_bank(skills, embedder).index, 0
    else:
        old = load_index(out, embedder, f"sdar skills index --out {shlex.quote(str(out))} --rebuild")
        made, known = refresh_index(old, skills, embedder), len({s.id for s in skills} & set(old.ids))
    return {**asdict(save_index(out, made, embedder)), "embedded": len(skills) - known, "folder": str(out)}
