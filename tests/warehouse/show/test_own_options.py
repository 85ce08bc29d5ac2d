"""Commands that take the options of the thing that they name."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from memlake.warehouse.errors import BadInput, UnknownName
from memlake.warehouse.show.own_options import Kind, command

LAMP = """
from dataclasses import dataclass

from memlake.warehouse.options import option


@dataclass(frozen=True)
class Options:
    height: tuple[float, ...] = option((0.5, 1.0), "of the stand, in metres")
    shade: str | None = option(None, "its colour")
    watts: int = option(60, "of its bulb")
    dimmed: bool = option(False, "less light")
    upright: bool = option(True, "stands, or hangs")
    class_: str = option("plain", "what kind of lamp")
    room: str = option("any", "hidden by the command's own option")
"""
CHAIR = """
from dataclasses import dataclass

from memlake.warehouse.options import option


@dataclass(frozen=True)
class Options:
    seat: str = option("wood", "what it is made of")
"""
SHELF = "things_on_a_shelf"
Room = Annotated[list[str] | None, typer.Option()]


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Two things on a shelf; their modules are forgotten afterwards."""
    (tmp_path / SHELF).mkdir()
    for name, text in (("__init__", ""), ("lamp", LAMP), ("chair", CHAIR)):
        (tmp_path / SHELF / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == SHELF]:
        del sys.modules[name]


@pytest.fixture
def called(shelf):
    """Run a line of words; what the function was called with, or the result where it was not."""
    app, calls, kind = typer.Typer(), [], Kind("thing", SHELF, "Options")

    @command(app, "use", kind, by="name")
    def use(name: Annotated[str, typer.Argument()], room: Room = None, *, own: Mapping[str, Any]) -> None:
        calls.append((name, room, own))

    @command(app, "find", kind, by="like")
    def find(like: Annotated[str | None, typer.Option()] = None, room: Room = None, *, own: Mapping[str, Any]) -> None:
        calls.append((like, room, own))

    def call(line: str) -> Any:
        calls.clear()
        done = CliRunner().invoke(app, line.split(" "), env={"COLUMNS": "200"})
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return calls[0] if calls else done

    return call


@pytest.mark.parametrize(
    ("line", "own"),
    [
        ("use lamp", {}),
        ("use lamp --watts 60", {"watts": 60}),  # given, if as by default
        ("use lamp --height 0.2 --height=1", {"height": (0.2, 1.0)}),
        ("use --height 0.2 lamp --shade red", {"height": (0.2,), "shade": "red"}),
        ("use --dimmed lamp --no-upright", {"dimmed": True, "upright": False}),
        ("use --class tall --watts -5 -- lamp", {"class_": "tall", "watts": -5}),
        ("use --shade chair lamp", {"shade": "chair"}),
        ("use --shade=chair lamp", {"shade": "chair"}),
        ("use lamp --shade chair", {"shade": "chair"}),
        ("find --like lamp --watts 5", {"watts": 5}),
        ("find --watts 5 --like=lamp", {"watts": 5}),
        ("find --like chair --like lamp --watts 5", {"watts": 5}),
    ],
)
def test_the_options_of_the_thing_stand_anywhere(called, line, own):
    assert called(line) == ("lamp", None, own)


def test_a_thing_may_be_called_as_the_value_of_an_option(called):
    assert called("use --room lamp chair --seat lamp") == ("chair", ["lamp"], {"seat": "lamp"})
    assert called("use --room lamp --room lamp lamp") == ("lamp", ["lamp", "lamp"], {})


def test_an_option_of_the_command_hides_one_of_the_thing(called):
    assert called("use lamp --room kitchen") == ("lamp", ["kitchen"], {})


def test_nothing_need_be_named_where_the_name_is_an_option(called):
    assert called("find --room hall") == (None, ["hall"], {})
    with pytest.raises(BadInput, match="no option --watts: if it is one of a thing, name that with --like"):
        called("find --watts 5")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("use chair --watts 5", "thing 'chair' takes no --watts (it takes: --seat)"),
        ("use --watts 5 chair", "thing 'chair' takes no --watts (it takes: --seat)"),
        ("use chair --saet oak", "thing 'chair' takes no --saet: did you mean --seat? (it takes: --seat)"),
        ("find --like chair --rom x", "thing 'chair' takes no --rom: did you mean --room? (it takes: --seat)"),
        ("use lmap --watts 5", "no thing 'lmap': did you mean 'lamp'? (there are: chair, lamp)"),
        ("use --watts 5 lmap", "no thing 'lmap': did you mean 'lamp'? (there are: chair, lamp)"),
        ("use --watts lmap lmap", "no thing 'lmap': did you mean 'lamp'? (there are: chair, lamp)"),
        ("use lmap --help", "no thing 'lmap': did you mean 'lamp'? (there are: chair, lamp)"),
    ],
)
def test_what_is_mistyped_is_told_with_what_is_near(called, line, message):
    with pytest.raises((BadInput, UnknownName)) as told:
        called(line)
    assert str(told.value) == message


def test_an_option_without_its_value_is_told(called):
    refused = called("find --room hall --like")
    assert refused.exit_code == 2 and "requires an argument" in refused.stderr


@pytest.mark.parametrize("line", ["use", "use --watts 5", "use --room hall --shade red"])
def test_a_missing_name_is_told_before_all_else(called, line):
    refused = called(line)
    assert refused.exit_code == 2 and "Missing argument 'name'" in refused.stderr


def test_help_with_a_name_has_a_group_of_its_own_options(called):
    (before, own) = called("use lamp --help").stdout.split("Options of lamp")
    assert "--room" in before and "--room" not in own
    assert re.search(r"--height .*of the stand, in metres.*\[default: 0.5, 1.0\]", own)
    assert re.search(r"--upright .*--no-upright.*\[default: upright\]", own)
    assert re.search(r"--shade .*its colour\. +│", own) and "--class" in own and "--no-dimmed" not in own


def test_help_without_a_name_tells_how_to_see_more_and_loads_nothing(called):
    shown = called("use --help").stdout
    assert "--room" in shown and "--watts" not in shown and "use THING --help" in shown
    assert f"{SHELF}.lamp" not in sys.modules and "find --like THING --help" in called("find --help").stdout
    called("use chair")
    assert f"{SHELF}.lamp" not in sys.modules and f"{SHELF}.chair" in sys.modules
