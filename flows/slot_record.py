"""What became of each slot of a store, one line of JSON an event, and which slots are due no more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

CatchUp = Literal["none", "one"]
Overlap = Literal["refuse", "queue"]

SCHEDULE_LOG, STAGE_LOG = Path("logs", "schedule.jsonl"), Path("logs", "serve.log")
"""Where a store notes its slots, and the stages that they execute."""
LATE = timedelta(minutes=2)
"""A slot that begins later than this after its time was missed; starting a process takes seconds."""


@dataclass(frozen=True)
class Begun:
    """The slot that worked last; `ended` is None while it works, or when it was killed."""

    began: datetime
    ended: datetime | None


@dataclass(frozen=True)
class SlotRecord:
    """The file `logs/schedule.jsonl` of a store."""

    path: Path

    def note(self, event: str, due: datetime, **facts: Any) -> None:
        """Append what happened to the slot that was due at a moment: began, done, failed, skipped or so."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as stream:
            stream.write(json.dumps({"event": event, "due": due.isoformat(), "at": at, **facts}) + "\n")

    def events(self) -> list[dict[str, Any]]:
        """Return all events, the oldest first, without a line that a killed process left unfinished."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return found

    def last(self) -> Begun | None:
        """Return the slot that worked last, or None."""
        ended: dict[str, datetime] = {}
        for event in reversed(self.events()):
            if event["event"] == "began":
                return Begun(datetime.fromisoformat(event["at"]), ended.get(event["due"]))
            if event["event"] in ("done", "failed", "interrupted"):
                ended[event["due"]] = datetime.fromisoformat(event["at"])
        return None


def why_not(due: datetime, now: datetime, last: Begun | None, catch_up: CatchUp) -> str | None:
    """Return why a slot is not carried out, or None when it is.

    However many slots were missed, or came due while another one worked, the first that begins afterwards
    stands for all of them.

    Args:
        due: when the slot should have begun, in the timezone of the reasons.
        now: the present moment.
        last: the slot that worked last.
        catch_up: whether a slot is made up for that was missed because nothing was there to begin it.
    """
    zone = due.tzinfo
    if last is not None and due <= last.began <= now:  # a later one is of a clock that was ahead
        return f"the slot that began at {shown(last.began.astimezone(zone))} stands for it"
    waited = last is not None and last.ended is not None and last.ended >= due
    if catch_up == "none" and now - due > LATE and not waited:
        return f"it was missed, and --catch-up none makes up for nothing ({shown(now.astimezone(zone))})"
    return None


def shown(moment: datetime) -> str:
    """Return a moment as people write it, with its timezone."""
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"
