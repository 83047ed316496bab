"""When slots are due: a cron line or an interval, in a timezone, read and shown by Prefect's own rules."""

from __future__ import annotations

import asyncio
import difflib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from sdar.schemas.errors import ConfigError

if TYPE_CHECKING:
    from prefect.schedules import Schedule

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Timetable:
    """A cron line or an interval, the other one being None, and the name of a timezone."""

    cron: str | None
    interval: timedelta | None
    timezone: str

    @property
    def anchor(self) -> datetime:
        """Midnight of a winter's day long ago in the timezone; intervals count from it.

        So no restart shifts them. They are elapsed time, so in summer they are an hour later by the clock.
        """
        return datetime(2020, 1, 1, tzinfo=ZoneInfo(self.timezone))

    def __str__(self) -> str:
        return self.cron or f"every {self.interval}"


def timetable(cron: str | None, interval: str | None, timezone: str) -> Timetable:
    """Return the timetable that the command line describes.

    Args:
        cron: five fields, for instance `0 2 * * *`.
        interval: a number with the unit s, m, h or d; seconds without one.
        timezone: an IANA name, for instance Europe/Berlin.

    Raises:
        ConfigError: not exactly one of cron and interval, or one of the three cannot be read.
    """
    if (cron is None) == (interval is None):
        found = "neither" if cron is None else "both"
        raise ConfigError(
            f"found {found} of --cron and --interval; give one of them, for instance: "
            "sdar serve --cron '0 2 * * *'"
        )
    if timezone not in available_timezones():
        near = difflib.get_close_matches(timezone, available_timezones(), 3) or ["UTC", "Europe/Berlin"]
        raise ConfigError(f"no timezone {timezone!r}; allowed are IANA names such as {', '.join(near)}.")
    if cron is not None:
        _check_cron(cron)
    return Timetable(cron, None if interval is None else _duration(interval), timezone)


def next_slots(times: Timetable, count: int, after: datetime) -> list[datetime]:
    """Return the next slots after a moment, as Prefect's scheduler computes them, in their timezone."""
    from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule

    zone = ZoneInfo(times.timezone)
    schedule: CronSchedule | IntervalSchedule
    if times.cron is not None:
        schedule = CronSchedule(cron=times.cron, timezone=times.timezone)
    else:
        assert times.interval is not None
        schedule = IntervalSchedule.model_validate(
            {"interval": times.interval, "anchor_date": times.anchor, "timezone": times.timezone}
        )
    dates = asyncio.run(schedule.get_dates(n=count, start=after))
    return [datetime.fromtimestamp(date.timestamp(), UTC).astimezone(zone) for date in dates]


def prefect_schedule(times: Timetable) -> Schedule:
    """Return the timetable as a schedule of a Prefect deployment."""
    from prefect.schedules import Cron, Interval

    if times.cron is not None:
        return Cron(times.cron, timezone=times.timezone)
    assert times.interval is not None
    return Interval(times.interval, anchor_date=times.anchor, timezone=times.timezone)


def _check_cron(cron: str) -> None:
    from prefect.schedules import Cron

    try:
        Cron(cron)
    except ValueError as error:
        raise ConfigError(
            f"--cron {cron!r} cannot be read: {error}. It takes five fields: minute, hour, day of the month, "
            "month, day of the week; '0 2 * * *' is every night at two."
        ) from error


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([smhd]?)", text.strip())
    seconds = int(match[1]) * _UNITS[match[2] or "s"] if match else 0
    if seconds < 1:
        raise ConfigError(
            f"--interval {text!r} cannot be read; it takes a whole number above 0 with a unit: "
            "90s, 30m, 12h or 1d."
        )
    return timedelta(seconds=seconds)
