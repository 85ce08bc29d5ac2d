"""Named reports as `reports.toml` lists them, when they are due, and what to schedulers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from datetime import datetime

import pytest
from croniter import croniter

from memlake.queries.only import Only
from memlake.reports import answers, named, schedulers
from memlake.warehouse.errors import BadInput
from memlake.warehouse.lake import Lake

SCHEDULES = (
    "0 6 * * 1", "*/15 6-8 * * *", "30 23 28-31 * *", "5 4 * jan-mar sun", "0 0 1 1 *", "0 12 13 * fri", "7 * * * 0-6",
    "0 3 */10 * *", "0 0 */2 * 1", "0 0 29 2 *", "59 23 31 12 *", "0 1 1,15 * 3",
)  # fmt: skip


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake.create(tmp_path / "lake")


def read(lake: Lake, text: str) -> dict[str, named.Report]:
    path = lake.path.parent / "reports.toml"
    path.write_text(text)
    return named.read(lake, named.file_of(lake))


def test_a_field_that_begins_with_a_star_names_no_days():
    monday = named.times("0 0 */2 * 1", datetime(2026, 11, 30)).get_next(datetime)
    assert monday == datetime(2026, 12, 7)  # an odd day and a Monday, as cron has it
    either = named.times("0 0 13 * fri", datetime(2026, 11, 30)).get_next(datetime)
    assert either == datetime(2026, 12, 4)


def test_what_a_report_may_say(lake):
    report = read(lake, """
        ["my report"]
        findings = "scaling_law"
        formats = ["parquet", "html"]
        families = ["pythia", "olmo"]
        condition = "bfloat16-sdpa"
        to = "out"
        schedule = "@weekly"
        [my_other.parameters.scaling_law]
        minimum_sizes = 2
    """)["my report"]  # fmt: skip
    assert (report.title, report.schedule, report.keep) == ("my report", "0 0 * * 0", named.KEEP)
    assert report.formats == ("html", "parquet") and report.to == lake.path.parent / "out"
    assert report.scope.asked == ["scaling_law"]
    assert report.scope.only.given == {"condition": "bfloat16-sdpa", "families": "olmo,pythia"}


def test_parameters_reach_the_answer_and_the_command_that_gives_it(lake):
    report = read(lake, "[a.parameters.scaling_law]\nminimum_sizes = 2\n")["a"]
    assert "2 as minimum_sizes" in report.scope.sql("scaling_law")
    assert report.scope.command("scaling_law") == "memlake query run scaling_law -p minimum_sizes=2"
    only = Only(models=["it's", "b"])
    assert shlex.split(answers.Scope(only=only).command("scaling_law"))[-1] == "models=b,it's"
    assert report.to == lake.path / "reports" / "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no report"),
        ("[a", "cannot be read"),
        ("a = 1", r"\[a\]: a report is a table of settings, not 1"),
        ("[a]\nfinding = 'x'", "no setting 'finding': did you mean 'findings'"),
        ("[a]\nfindings = ['scaling_low']", "no finding 'scaling_low': did you mean 'scaling_law'"),
        ("[a.parameters.scaling_low]\nx = 1", "no finding 'scaling_low'"),
        ("[a.parameters.scaling_law]\nminimum = 1", "no parameter of scaling_law 'minimum'"),
        ("[a.parameters.scaling_law]\nminimum_sizes = 'x'", "minimum_sizes wants a value like 3"),
        ("[a]\nparameters = {x = 1}", "parameters wants tables, one a finding"),
        ("[a]\nformats = ['docx']", "no format 'docx'"),
        ("[a]\nformats = []", "formats wants texts in a list"),
        ("[a]\nkeep = 0", "keep wants 1 edition at least"),
        ("[a]\nkeep = true", "keep wants a whole number"),
        ("[a]\nschedule = '0 6 * *'", "is no cron expression .it wants five fields"),
        ("[a]\nschedule = '0 0 6 * * 1'", "is no cron expression"),
        ("[a]\nschedule = '61 6 * * *'", "is no cron expression"),
        ("[a]\nschedule = '0 6 L * *'", "is no cron expression"),
        ("[a]\nschedule = '0 6 * * mon#1'", "is no cron expression"),
        ("[a]\nschedule = '0 0 31 2 *'", "is no cron expression"),
        ("[a]\nmodels = 3", "models wants texts in a list"),
        ("['a/b']", "cannot be the name of a folder"),
        ("['..']", "cannot be the name of a folder"),
        ("[a]\nto = 'x'\n[b]\nto = 'x'", r"\[a\] and \[b\] have one folder"),
        ("[a]\nto = 'x'\n[b]\nto = 'y/../x/z'", r"\[a\] and \[b\] have one folder"),
        ('[a]\nto = "x\\u0000"', "cannot be a folder"),
        ('["a\\nb"]', "cannot be the name of a folder"),
        ("[a]\nfindings = 'corpus_rate'\n[a.parameters.scaling_law]\nminimum_sizes = 2", "not among its findings"),
    ],
)
def test_what_is_wrong_with_a_report_is_one_line(lake, text, message):
    with pytest.raises(BadInput, match=message) as raised:
        read(lake, text)
    assert "\n" not in str(raised.value) and "reports.toml" in str(raised.value)


def test_no_file_is_told_with_both_places(lake):
    with pytest.raises(BadInput, match=r"no named reports: .*lake/reports.toml and .*/reports.toml do not exist"):
        named.file_of(lake)


def test_times_are_of_the_clock_on_the_wall(lake):
    report = read(lake, "[a]\nschedule = '0 6 * * mon'")["a"]
    assert report.last_time(datetime(2026, 11, 30, 6, 0)) == datetime(2026, 11, 30, 6, 0)  # a Monday, to the second
    assert report.last_time(datetime(2026, 11, 30, 5, 59, 59)) == datetime(2026, 11, 23, 6, 0)
    assert report.next_time(datetime(2026, 11, 30, 6, 0)) == datetime(2026, 12, 7, 6, 0)
    assert read(lake, "[a]")["a"].last_time(datetime(2026, 11, 30)) is None


WORDS = ["/opt/my lake/memlake", "report", "run", "--lake", "/data/50% $HOME \"x\" 'y'"]


def all_times(lake: Lake) -> list[named.Report]:
    text = "".join(f"[r{i}]\nschedule = '{s}'\n" for i, s in enumerate(SCHEDULES)) + "[by_name]\n"
    return list(read(lake, text).values())


def test_crontab(lake):
    lines = [line for line in schedulers.cron(all_times(lake), WORDS).splitlines() if not line.startswith("#")]
    assert [" ".join(line.split()[:5]) for line in lines] == list(SCHEDULES)
    assert all(croniter.is_valid(" ".join(line.split()[:5])) for line in lines)
    command = lines[0].split(maxsplit=5)[5]
    assert not re.search(r"(?<!\\)%", command) and shlex.split(command.replace("\\%", "%")) == WORDS


def test_workflow(lake):
    text = schedulers.github(all_times(lake), WORDS)
    assert re.findall(r'- cron: "(.*)" #', text) == list(SCHEDULES)
    (command,) = re.findall(r'- run: (".*")', text)
    assert shlex.split(json.loads(command)) == WORDS


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")


@needs_systemd
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_systemd_has_the_times_of_cron(schedule):
    start, found = datetime(2026, 11, 30, 5, 30), set()
    for calendar in schedulers.calendar(schedule):
        words = ["systemd-analyze", "calendar", "--iterations=12", f"--base-time={start}", calendar]
        told = subprocess.run(words, capture_output=True, text=True, check=True, env={"TZ": "UTC", "LC_ALL": "C"})
        times = re.findall(r"(?:Next elapse|Iteration #\d+|Iter\. #\d+): \w+ (\d+-\d+-\d+ \d+:\d+:\d+)", told.stdout)
        found |= {datetime.fromisoformat(t) for t in times}
    expected = named.times(schedule, start)
    assert sorted(found)[:12] == [expected.get_next(datetime) for _ in range(12)][: len(found)]
    assert len(found) >= 12


@needs_systemd
def test_systemd_takes_the_units(lake, tmp_path):
    program = tmp_path / "my memlake"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = schedulers.systemd(all_times(lake), [str(program), *WORDS[1:]])
    for unit in re.split(r"^# ~/", text, flags=re.M)[1:]:
        (tmp_path / unit.partition("\n")[0].rpartition("/")[2]).write_text(unit.partition("\n")[2])
    paths = [str(tmp_path / f"memlake-reports.{kind}") for kind in ("service", "timer")]
    told = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *paths], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0 and not [line for line in told.stderr.splitlines() if "memlake-reports" in line], (
        told.stderr
    )
