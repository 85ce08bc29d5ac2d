"""Named reports as schedulers are told of them: lines of a crontab, systemd units, or a workflow.

Each starts `memlake report run --due` at the times of the schedules; what is due then, that command finds out.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from croniter import croniter

from .named import Report, names_both

DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def command(lake: Path, file: Path | None) -> list[str]:
    """The command that draws what is due, of this installation."""
    script = Path(sys.executable).with_name("memlake")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "memlake"]
    return [
        *start,
        "report",
        "run",
        "--due",
        "--quiet",
        "--lake",
        str(lake),
        *(["--file", str(file)] if file else []),
    ]


def cron(reports: Iterable[Report], words: Sequence[str]) -> str:
    """Lines for `crontab -e`."""
    line = shlex.join(words).replace("%", r"\%")  # cron takes a bare % for the end of the command
    lines = ["# Reports of memlake, for `crontab -e`. Cron mails what is said: of what could not be drawn."]
    for schedule, names in _times(reports).items():
        lines += [f"# {', '.join(names)}", f"{schedule} {line}"]
    return "\n".join(lines)


def systemd(reports: Iterable[Report], words: Sequence[str]) -> str:
    """Two units, for ~/.config/systemd/user/."""
    times = [time for schedule in _times(reports) for time in calendar(schedule)]
    start = " ".join('"' + w.translate({92: "\\\\", 34: '\\"', 37: "%%", 36: "$$"}) + '"' for w in words)
    return "\n".join(
        [
            "# ~/.config/systemd/user/memlake-reports.service",
            "[Unit]",
            "Description=Reports of memlake that are due",
            "",
            "[Service]",
            "Type=oneshot",
            f"ExecStart={start}",
            "",
            "# ~/.config/systemd/user/memlake-reports.timer",
            "# then: systemctl --user daemon-reload && systemctl --user enable --now memlake-reports.timer",
            "[Unit]",
            "Description=When reports of memlake are due",
            "",
            "[Timer]",
            *(f"OnCalendar={time}" for time in times),
            "Persistent=true",
            "",
            "[Install]",
            "WantedBy=timers.target",
        ]
    )


def github(reports: Iterable[Report], words: Sequence[str]) -> str:
    """A workflow, for .github/workflows/. Its runner is a machine of one's own, on which lake and memlake are."""
    times = [f"    - cron: {json.dumps(schedule)} # {', '.join(names)}" for schedule, names in _times(reports).items()]
    return "\n".join(
        [
            "# .github/workflows/reports.yml, on a runner of your own that has the lake; GitHub's times are UTC",
            "name: reports",
            "on:",
            "  workflow_dispatch:",
            "  schedule:",
            *times,
            "jobs:",
            "  reports:",
            "    runs-on: self-hosted",
            "    steps:",
            f"      - run: {json.dumps(shlex.join(words))}",
        ]
    )


KINDS: dict[str, Callable[[Iterable[Report], Sequence[str]], str]] = {
    "cron": cron,
    "systemd": systemd,
    "github": github,
}


def calendar(schedule: str) -> list[str]:
    """A cron expression as systemd's OnCalendar. Where cron names days of the month and of the week, either will do:
    then it takes two."""
    minutes, hours, days, months, weekdays = croniter.expand(schedule)[0]
    week = ",".join(DAYS[int(d) % 7] for d in weekdays if d != "*")
    dates = [("", days), (week, ["*"])] if names_both(schedule) else [(week, days)]
    return [
        f"{of_week} *-{_listed(months)}-{_listed(of_month)} {_listed(hours)}:{_listed(minutes)}:00".strip()
        for of_week, of_month in dates
    ]


def _listed(values: Iterable[object]) -> str:
    return ",".join(v if isinstance(v, str) else f"{v:02}" for v in values)


def _times(reports: Iterable[Report]) -> dict[str, list[str]]:
    """The schedules there are, and of which reports each is."""
    found: dict[str, list[str]] = {}
    for report in reports:
        if report.schedule:
            found.setdefault(report.schedule, []).append(report.name)
    return found
