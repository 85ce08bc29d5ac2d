"""How a command ends at the front door: with its answer, or with one line."""

from __future__ import annotations

import ctypes
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

import memlake
from memlake.cli import main
from memlake.tests.small import DOMAINS, ENDLESS, ctrl_c, flip, make_lake, match_cell
from memlake.warehouse import extras
from memlake.warehouse.lake import Lake
from memlake.warehouse.work.runner import Summary, run_cells

FORMATS = ["table", "csv", "json", "jsonl", "parquet"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    return Lake.create(tmp_path_factory.mktemp("main") / "lake")


@pytest.fixture
def run(lake, monkeypatch, capsys):
    """Run a command in this process, its answer written to a file; (exit code, what was said)."""

    def run(stdout: io.TextIOWrapper, *words: str, stdin: bytes = b"") -> tuple[int, str]:
        monkeypatch.setenv("MEMLAKE_LAKE", str(lake.path))
        monkeypatch.setattr(sys, "argv", ["memlake", *words])
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="ascii"))
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


@pytest.mark.parametrize("n", [1, 100_000])  # what is held back until the end, and what is not
@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_is_one_line(run, form, n):
    with open("/dev/full", "w") as full:
        code, said = run(full, "sql", f"select range as n from range({n})", "--format", form)
    assert (code, said) == (2, "memlake: the output cannot be used: No space left on device\n")


@pytest.mark.parametrize("words", [("query", "show", "scaling_law"), ("warehouse", "check"), ("compute", "models")])
def test_a_full_disk_is_one_line_of_any_command(run, words):
    with open("/dev/full", "w") as full:
        assert run(full, *words) == (2, "memlake: the output cannot be used: No space left on device\n")


def test_what_is_wrong_is_one_line_whatever_it_is_called(run):
    with open(os.devnull, "w") as nowhere:
        code, said = run(nowhere, "warehouse", "forget", "--corpus", "two\nlines\x1b[2J, é")
    assert code == 2 and said.count("\n") == 1 and "\x1b" not in said and ", é" in said


MISTAKES = {
    "ingst": "no command 'ingst': did you mean 'ingest'?"
    " (there are: compute, demo, ingest, query, report, sql, study, warehouse)",
    "warehouse chek": "no command 'chek': did you mean 'check'?"
    " (there are: catalog, check, compact, forget, history, show, status, tables)",
    "--vrsion": "no option --vrsion: did you mean --version? (memlake --help)",
    "query list --foo": "no option --foo (memlake query list --help)",
    "ingest sample --corpsu c": "no option --corpsu: did you mean --corpus? (memlake ingest sample --help)",
    "ingest run jsonl --pth x": "source 'jsonl' takes no --pth: did you mean --path?"
    " (it takes: --path, --text-field, --id-field, --domain-field, --domain, --class, --max-bytes)",
    "ingest run": "SOURCE is missing (memlake ingest run --help)",
    "query run": "NAME is missing (memlake query run --help)",
    "ingest sample --model m": "--corpus is missing (memlake ingest sample --help)",
    "compute run noise --model m": "--corpus is missing (memlake compute run noise --help)",
    "compute run noise --layer": "option '--layer' requires an argument",
    "compute run noise --layer x --model m --corpus c": "--layer: 'x' should be a valid integer, unable to parse string"
    " as an integer (memlake compute run noise --help)",
    "compute plan noise --limit 0 --model m --corpus c": "--limit: '0' should be greater than or equal to 1"
    " (memlake compute plan noise --help)",
    "query list --format xml": "--format: 'xml' is not one of 'table', 'csv', 'json', 'jsonl', 'parquet'"
    " (memlake query list --help)",
    "compute models m": "got unexpected extra argument(s) (m) (memlake compute models --help)",
    "report --": "missing command (memlake report --help)",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistyped_command_is_one_line_that_says_what_is_near(run, line):
    with open(os.devnull, "w") as nowhere:
        assert run(nowhere, *line.split()) == (2, f"memlake: {MISTAKES[line]}\n")


@pytest.mark.parametrize(("words", "ends"), [((), 2), (("--help",), 0), (("query",), 2), (("query", "--help"), 0)])
def test_help_is_an_answer(run, tmp_path, words, ends):
    with open(tmp_path / "out", "w") as out:
        assert run(out, *words) == (ends, "")
    shown = (tmp_path / "out").read_text()
    assert f"Usage: memlake {'query ' if 'query' in words else ''}[OPTIONS] COMMAND" in shown


def test_the_version_is_an_answer(run, tmp_path):
    with open(tmp_path / "out", "w") as out:
        assert run(out, "--version") == (0, "")
    assert (tmp_path / "out").read_text() == f"memlake {memlake.__version__}\n"


def test_a_command_that_is_interrupted_says_so_by_its_exit_code(run, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("memlake.warehouse.lake.Lake.open", interrupted)
    with open(os.devnull, "w") as nowhere:
        assert run(nowhere, "warehouse", "tables") == (130, "")


def test_ctrl_c_in_the_midst_of_a_query_ends_the_command(run):
    with ctrl_c(after=1.0), open(os.devnull, "w") as nowhere:
        assert run(nowhere, "sql", ENDLESS) == (130, "")


READING = ["sql|select sum(n_match) from matches", "query|run|head_importance|--fresh", "warehouse|forget|--model|m"]


@pytest.mark.parametrize("words", READING)
def test_a_damaged_file_is_one_line(run, tmp_path, capsys, words):
    damaged = make_lake(tmp_path / "lake")
    assert not run_cells(damaged, [match_cell(d) for d in DOMAINS]).failed
    for name in ("matches", "sequences", "models"):
        flip(damaged.files(name)[0])
    capsys.readouterr()
    with open(os.devnull, "w") as nowhere:
        code, said = run(nowhere, *words.split("|"), "--lake", str(damaged.path))
    assert code == 2 and said.count("\n") == 1, said
    assert "cannot be read (" in said and said.endswith("): see `memlake warehouse check`\n")


CTRL_C_AT = """
import os, signal, sys

module = sys.argv.pop(1)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(self)
            os.write(2, b"sent")
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background it is ignored
sys.meta_path.insert(0, Finder())
from memlake.__main__ import main
main()
"""


# DuckDB, which imports pandas where it is used first, drops a KeyboardInterrupt that comes meanwhile
@pytest.mark.parametrize("module", ["memlake.cli", "memlake.compute", "duckdb", "pandas._libs.tslibs"])
def test_ctrl_c_ends_a_command_whatever_is_imported_meanwhile(lake, tmp_path, module):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    words = ["ingest", "run", "jsonl", "--path", str(tmp_path), "--corpus", "c", "--lake", str(lake.path)]
    found = subprocess.run([sys.executable, "-c", CTRL_C_AT, module, *words], capture_output=True, text=True)
    assert found.returncode == 130 and found.stderr.startswith("sent"), found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("form", FORMATS)
def test_streams_that_are_closed_are_nowhere(lake, form):
    command = 'exec "$0" -c \'import memlake.cli; memlake.cli.main()\' sql --lake "$1" --format "$2"'
    for how, ends in (("'select 1' >&-", 0), ("'select 1' <&- >&- 2>&-", 0), ("'selec 1' 2>&-", 2)):
        words = ["sh", "-c", f"{command} {how}", sys.executable, str(lake.path), form]
        found = subprocess.run(words, capture_output=True)
        assert (found.returncode, found.stdout, found.stderr) == (ends, b"", b""), how


@pytest.mark.parametrize("n", [1, 100_000])
@pytest.mark.parametrize("form", FORMATS)
def test_a_reader_who_left_is_told_nothing(run, form, n):
    read, write = os.pipe()
    os.close(read)
    with suppress(BrokenPipeError), os.fdopen(write, "w") as pipe:  # closing it may try to write once more
        assert run(pipe, "sql", f"select range as n from range({n})", "--format", form) == (1, "")


@pytest.mark.parametrize("given", ["argument", "stdin"])
def test_letters_go_in_and_out_whatever_the_locale(run, tmp_path, given):
    text = "select 'ü' as ä, '模' as b"
    with open(tmp_path / "out", "w", encoding="ascii") as out:
        words = [text] if given == "argument" else []
        assert run(out, "sql", *words, "--format", "json", stdin=text.encode()) == (0, "")
    assert json.loads((tmp_path / "out").read_bytes()) == [{"ä": "ü", "b": "模"}]


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (("sql", "select '\udcff'"), b""),
        (("sql",), b"select '\xff'"),
        (("query", "list", "--lake", "a\udcff"), b""),
        (("ingest", "run", "jsonl", "--path", "a\udcff", "--corpus", "c"), b""),
    ],
)
def test_bytes_that_are_no_text_are_one_line(run, tmp_path, words, stdin):
    with open(tmp_path / "out", "w") as out:
        code, said = run(out, *words, stdin=stdin)
    assert code == 2 and said.count("\n") == 1 and "is not UTF-8" in said


def test_an_ascii_locale_that_python_is_told_to_keep_is_named(lake):
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "memlake", "sql", "select 'ü'", "--lake", str(lake.path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "LC_ALL=C.UTF-8" in ended.stderr


def shut(folders: list[Path], commands: list[list[str]], cwd: Path, lake: str) -> subprocess.CompletedProcess:
    """The commands, one after the other, while nothing may be written to these folders."""
    program = """
import json, sys, memlake.cli
for words in json.loads(sys.argv[1]):
    sys.argv = ["memlake", *words]
    try:
        memlake.cli.main()
    except SystemExit as e:
        print(f"ended {e.code or 0}", file=sys.stderr)
"""
    for folder in folders:
        folder.chmod(0o555)
    try:
        return subprocess.run(
            [sys.executable, "-c", program, json.dumps(commands)],
            cwd=cwd,
            env=os.environ | {"MEMLAKE_LAKE": lake},
            capture_output=True,
            text=True,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(24, 1, 0, 0, 0),  # root, too, is bound by the rights of files
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_a_lake_that_may_not_be_written_can_be_read(lake, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a text"}\n')
    ingest = ["ingest", "run", "jsonl", "--path", "a.jsonl", "--corpus", "c"]
    commands = [
        ["sql", "select count(*) as n from documents", "--format", "csv"],
        ["query", "run", "memorization_rate", "--format", "csv"],
        ["warehouse", "status"],
        ["warehouse", "tables", "--format", "csv"],
        ["warehouse", "check"],
        ["report", "run", "corpus_rate", "--out", "page.html"],
        [*ingest, "--lake", "sealed/lake"],
        [*ingest, "--lake", "sealed/new"],
        ["report", "run", "corpus_rate"],
    ]
    sealed = tmp_path / "sealed"
    sealed.mkdir()
    os.rename(lake.path, sealed / "lake")
    folders = [sealed, *(p for p in sealed.rglob("*") if p.is_dir())]
    try:
        ended = shut(folders, commands, tmp_path, "sealed/lake")
    finally:
        os.rename(sealed / "lake", lake.path)
    said = ended.stderr.splitlines()
    assert [line for line in said if line.startswith("ended")] == ["ended 0"] * 6 + ["ended 2"] * 3, ended.stderr
    assert len(said) == 12 and all("ermission denied" in line for line in said if line.startswith("memlake: "))
    assert ended.stdout.startswith("n\n0\n") and "all is well" in ended.stdout


def test_a_table_that_may_not_be_written_is_named_in_one_line(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    (tmp_path / "a.jsonl").write_text('{"text": "a text"}\n')
    ingest = ["ingest", "run", "jsonl", "--path", "a.jsonl", "--corpus", "c"]
    ended = shut([lake.path / "domains"], [ingest], tmp_path, "lake")
    assert "ended 1" in ended.stderr and "Traceback" not in ended.stderr
    assert f"{lake.path}/domains cannot be used: Permission denied (its rows stay in staging/" in ended.stderr
    commands = [ingest, ["warehouse", "compact", "domains", "--vacuum"]]
    ended = shut([lake.path / "domains" / "_delta_log"], commands, tmp_path, "lake")
    assert "ended 1" in ended.stderr and "ended 2" in ended.stderr and "Traceback" not in ended.stderr
    assert ended.stderr.count(f"{lake.path}/domains/_delta_log/") >= 2
    ended = shut([], [ingest, ["warehouse", "check"]], tmp_path, "lake")
    assert ended.stderr.count("ended 0") == 2 and "all is well" in ended.stdout


@pytest.mark.parametrize(
    "words", ["", "query", "query run", "ingest run", "ingest run jsonl", "compute run scoring", "report run", "sql"]
)
def test_h_is_help_everywhere(words, capsys, monkeypatch):
    shown = []
    for flag in ("-h", "--help"):
        monkeypatch.setattr(sys, "argv", ["memlake", *words.split(), flag])
        with pytest.raises(SystemExit) as ended:
            main()
        shown.append((ended.value.code, capsys.readouterr().out))
    assert shown[0] == shown[1] and "Usage:" in shown[0][1]


COMPLETED = {  # what is typed: something that is offered
    "qu": "query",
    "query run scal": "scaling_law",
    "report run scal": "scaling_law",
    "ingest run js": "jsonl",
    "ingest run jsonl --text": "--text-field",
    "ingest count --source pi": "pile",
    "compute run no": "noise",
    "compute run noise --model pythia-1b-d": "pythia-1b-deduped",
    "warehouse show mat": "matches",
    "warehouse compact mat": "matches",
    "--la": "--lake",
    "ingest run jsonl --nope x --te": None,
    "ingst ru": None,
}


@pytest.mark.parametrize("typed", COMPLETED)
def test_the_shell_completes_names(typed):
    words = ["memlake", *typed.split()]
    asked = {"_MEMLAKE_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    command = [sys.executable, "-m", "memlake"]
    ended = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True)
    offered = ended.stdout.split()
    assert ended.stderr == "" and (COMPLETED[typed] in offered or not (COMPLETED[typed] or offered)), ended


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_its_script(run, tmp_path, shell, monkeypatch):
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: (shell, f"/bin/{shell}"))
    with open(tmp_path / "out", "w") as out:
        assert run(out, "--show-completion") == (0, "")
    assert "_MEMLAKE_COMPLETE" in (tmp_path / "out").read_text()


def test_the_lake_may_be_named_before_the_command(run, lake, tmp_path, monkeypatch):
    """What stands behind it counts first, then what stands before it, then the environment."""
    asked = ("sql", "select count(*) as n from models")
    for words, ends in (
        (("--lake", str(lake.path), *asked), 0),
        (("--lake", "nowhere", *asked, "--lake", str(lake.path)), 0),
        (("--lake", "nowhere", *asked), 2),
        (("--lake", str(lake.path), *asked, "--lake", "nowhere"), 2),
        (("--lake", "nowhere", "query", "list"), 0),  # which asks no lake
    ):
        with open(os.devnull, "w") as out:
            assert run(out, *words)[0] == ends, words
    other = Lake.create(tmp_path / "other")  # while MEMLAKE_LAKE is `lake`
    with open(tmp_path / "out", "w") as out:
        assert run(out, "--lake", str(other.path), "warehouse", "catalog")[0] == 0
    assert (tmp_path / "out").read_text().strip() == str(other.path / "catalog.duckdb")


def test_quiet_is_quiet_until_something_fails(run, tmp_path, monkeypatch):
    (tmp_path / "good.jsonl").write_text('{"text": "a text"}\n')
    ingest = ["ingest", "run", "jsonl", "--workers", "0", "--lake", str(tmp_path / "lake"), "--path"]
    said = {}
    for name, words in {
        "loud": [*ingest, str(tmp_path / "good.jsonl"), "--corpus", "a"],
        "before": ["--quiet", *ingest, str(tmp_path / "good.jsonl"), "--corpus", "b"],
        "behind": [*ingest, str(tmp_path / "good.jsonl"), "--corpus", "c", "--quiet"],
        "mistaken": ["ingest", "rn", "--quiet"],
        "asked": ["warehouse", "tables", "--lake", str(tmp_path / "lake"), "--quiet"],
    }.items():
        with open(tmp_path / name, "w") as out:
            said[name] = run(out, *words)
    assert said["loud"][0] == 0 and "1 done" in said["loud"][1]
    assert said["before"] == said["behind"] == said["asked"] == (0, "")
    failed = Summary(failed=[(match_cell("c++"), "it broke")])
    monkeypatch.setattr("memlake.ingest.run.ingest", lambda *_, **more: (failed, ["a note"]))
    with open(os.devnull, "w") as out:
        code, line = run(out, "--quiet", *ingest, "x", "--corpus", "d")
    assert code == 1 and "it broke" in line and "1 failed" in line
    assert said["mistaken"][0] == 2 and said["mistaken"][1].startswith("memlake: no command 'rn'")
    assert "documents" in (tmp_path / "asked").read_text()
    with open(tmp_path / "out", "w") as out:  # behind -- it is no option
        assert run(out, "sql", "--", "--quiet")[0] == 2


@pytest.mark.parametrize("words", [["--help"], ["query", "run", "--help"], ["ingest", "run", "jsonl", "--help"]])
def test_no_color_is_heeded(words):
    colour = re.compile(r"\x1b\[[\d;]*(?:3|4|9|10)\d[\d;]*m")
    shown = [
        subprocess.run(
            [sys.executable, "-m", "memlake", *words], env=os.environ | extra, capture_output=True, text=True
        ).stdout
        for extra in ({"FORCE_COLOR": "1"}, {"FORCE_COLOR": "1", "NO_COLOR": "1"})
    ]
    assert colour.search(shown[0]) and not colour.search(shown[1])


WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in PACKAGES or name.startswith("google.protobuf"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

PACKAGES = sys.argv.pop(1).split(",")
sys.meta_path.insert(0, Missing())
from memlake.__main__ import main
main()
"""
PACKAGES = [*sorted(extras.COMPUTE - {"google"}), "scipy"]


def without(lake: Lake, *words: str) -> subprocess.CompletedProcess:
    """A command where nothing of `memlake[compute]` is installed."""
    command = [sys.executable, "-c", WITHOUT, ",".join(PACKAGES), *words]
    return subprocess.run(command, env=os.environ | {"MEMLAKE_LAKE": str(lake.path)}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Lake:
    lake = make_lake(tmp_path_factory.mktemp("measured") / "lake")
    assert not run_cells(lake, [match_cell(d) for d in DOMAINS]).failed
    return lake


ASKING = [
    *("sql|select share(memorized) from matches", "query|list", "query|run|corpus_rate", "query|show|corpus_rate"),
    *("report|list", "warehouse|status", "warehouse|tables", "warehouse|history|matches", "warehouse|catalog"),
    *("warehouse|show|matches", "warehouse|compact", "compute|models", "compute|list", "ingest|list"),
    *("compute|show|noise", "compute|run|noise|--help", "ingest|show|huggingface", "--version"),
]


@pytest.mark.parametrize("words", ASKING)
def test_whoever_asks_needs_nothing_that_only_computing_needs(measured, words):
    ended = without(measured, *words.split("|"))
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr


def test_whoever_reports_needs_nothing_that_only_computing_needs(measured, tmp_path):
    ended = without(measured, "report", "run", "corpus_rate", "--out", str(tmp_path / "page.html"))
    assert ended.returncode == 0 and "<svg" in (tmp_path / "page.html").read_text(), ended.stderr
    (tmp_path / "a.jsonl").write_text('{"text": "a text"}\n')
    ended = without(measured, "ingest", "run", "jsonl", "--path", str(tmp_path / "a.jsonl"), "--corpus", "new")
    assert ended.returncode == 0, ended.stderr


LACKING = {
    "compute|run|scoring|--model|CHECKPOINT|--corpus|mine": "torch",
    "ingest|sample|--model|CHECKPOINT|--corpus|mine": "tokenizers",
    "ingest|run|huggingface|--dataset|x|--corpus|y": "datasets",
    "ingest|run|pile|--path|hf://datasets/x/y": "huggingface_hub",
    "warehouse|check": "great_expectations",
    "demo": "torch",
}


@pytest.mark.parametrize("words", LACKING)
def test_what_computing_needs_is_named_in_one_line(measured, tmp_path, words):
    (tmp_path / "config.json").write_text('{"model_type": "gpt_neox", "vocab_size": 100}')
    (tmp_path / "tokenizer.json").write_text("{}")
    ended = without(measured, *(str(tmp_path) if w == "CHECKPOINT" else w for w in words.split("|")))
    line = f"memlake: this needs {LACKING[words]}: pip install 'memlake[compute]'\n"
    assert (ended.returncode, ended.stderr) == (2, line)


def test_the_extra_holds_what_is_named():
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    packages = {re.match(r"[\w-]+", r)[0].replace("-", "_") for r in declared["optional-dependencies"]["compute"]}
    names = {"google": "protobuf", "huggingface_hub": "datasets"}  # which brings it
    assert {names.get(name, name) for name in extras.COMPUTE} == packages
    assert not packages & {re.match(r"[\w-]+", r)[0].replace("-", "_") for r in declared["dependencies"]}
