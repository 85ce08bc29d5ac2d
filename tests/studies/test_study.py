"""Reading a study: what a file may say, and the line for what it may not."""

from __future__ import annotations

import pytest

from memlake.studies.study import Corpus, Measure, Models, Sample, find, names, read
from memlake.warehouse.errors import BadInput, UnknownName

WHOLE = """
title = "two of them"
report = false
models = [
  "pythia-70m",
  { model = ["pythia-160m", "./mine"], revision = ["a", "b"], dtype = "bfloat16", role = "control" },
]

[corpora.pile]
source = "pile"
path = "/data/pile"
keep = 5

[corpora.mine]
source = "jsonl"
path = ["a.jsonl", "b.jsonl"]
domain-field = "kind"

[corpora.old]

[[samples]]
corpus = "pile"
per_domain = 7

[[counts]]
corpus = "pile"
in = "mine"
tokenizer = ["own", "bytes"]

[[experiments.noise]]
strength = [0.1, 1]
limit = 9

[[experiments.noise]]
strength = 0.2
corpus = "mine"

[assume]
domains = { pile = 17 }
memorized = 0.5
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        (tmp_path / "own.toml").write_text(text, encoding="utf-8")
        return read(tmp_path / "own.toml")

    return write


def test_all_that_a_file_may_say(written):
    study = written(WHOLE)
    assert (study.name, study.title, study.report) == ("own", "two of them", False)
    assert study.corpora == (
        Corpus(source="pile", keep=5, name="pile", own={"path": ("/data/pile",)}),
        Corpus(source="jsonl", name="mine", own={"path": ("a.jsonl", "b.jsonl"), "domain_field": "kind"}),
        Corpus(name="old"),
    )
    assert study.models == (
        Models(model=("pythia-70m",)),
        Models(model=("pythia-160m", "./mine"), revision=("a", "b"), dtype="bfloat16", role="control"),
    )
    assert study.samples == (Sample(corpus=("pile",), per_domain=7),)
    (count,) = study.counts
    assert (count.corpus, count.within, count.tokenizer) == ("pile", "mine", ("own", "bytes"))
    assert study.experiments == (
        Measure(experiment="scoring"),  # on which the others stand
        Measure(experiment="noise", own={"strength": (0.1, 1.0)}, limit=9),
        Measure(experiment="noise", own={"strength": (0.2,)}, corpus=("mine",)),
    )
    assert [study.assume.of(corpus) for corpus in ("pile", "mine")] == [17, None]


def test_a_sample_of_everything_where_none_is_named(written):
    assert written('models = "pythia-70m"\n[corpora.c]\n').samples == (Sample(),)
    assert written('samples = []\nmodels = ["pythia-70m"]\n[corpora.c]\n').samples == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[modles]", "no table '[modles]': did you mean '[models]'?"),
        ("a b", "is not TOML: "),
        ("[corpora.c]\nsource = 'jsnl'", "[corpora.c]: no source 'jsnl': did you mean 'jsonl'?"),
        ("[corpora.c]\nsource = 'jsonl'\npaht = 'a'", "[corpora.c] takes no 'paht': did you mean 'path'? (it takes: "),
        ("[corpora.c]\nsource = 'jsonl'\npath = 3", "[corpora.c] path: 3 is not text"),
        ("[corpora.c]\nsource = 'jsonl'\nkeep = 'x'", "[corpora.c] keep: 'x' is not a whole number"),
        ("[corpora.c]\nsource = 'jsonl'\nkeep = true", "[corpora.c] keep: True is not a whole number"),
        ("[corpora.c]\nkeep = 3", "[corpora.c] has no source"),
        ("corpora = 3", "[corpora] holds tables, as [corpora.NAME]"),
        ("models = 3\n", "models holds tables, as [[models]]"),
        ("[[models]]\ndtype = 'float32'", "[[models]] names no model"),
        ("[[models]]\nmodel = 'm'\n[[models]]\nrolle = 1", "[[models]] (2 of 2) takes no 'rolle': did you mean 'role'"),
        ("[[models]]\nmodel = 'm'\ndtype = 'float8'", "[[models]] dtype: no 'float8': it is float32, float16 or"),
        ("[[models]]\nmodel = 'm'\nrole = 'x'", "[[models]] role: no role 'x': it is trained or control"),
        ("[[models]]\nmodel = 'm'\ncorpus = 'd'\n[corpora.c]", "[[models]]: no corpus 'd'"),
        ("[[models]]\nmodel = 'm'", "it names no corpus: [corpora.NAME]"),
        ("[experiments.nois]", "[experiments.nois]: no experiment 'nois': did you mean 'noise'?"),
        ("[experiments.noise]\nstrenght = 1", "[experiments.noise] takes no 'strenght': did you mean 'strength'?"),
        ("[experiments.noise]\nstrength = 'a'", "[experiments.noise] strength: 'a' is not a number"),
        ("[experiments.noise]\nstrength = 0.0", "[experiments.noise]: strength 0 is the base row"),
        ("[experiments.noise]\nlimit = 0", "[experiments.noise] limit: it must be positive, not 0"),
        ("[[counts]]\ntokenizer = 'own'", "[[counts]] names no corpus"),
        ("", "it says nothing to do: [corpora.NAME] and [[models]]"),
        ("[[samples]]\nwindow = '3'\n[corpora.c]", "[[samples]] window: "),
        ("[[samples]]\nat = 'end'", "[[samples]] at: no 'end': it is space or start"),
        ("[[miniatures]]\nfamily = 'pythia'\n[corpora.c]", "[[miniatures]] says no corpus: trained_on"),
        ("[[miniatures]]\ntrained_on = 'c'\nsize = '2m'\n[corpora.c]", "[[miniatures]] size: no size '2m'"),
        ("[assume]\ndomains = { d = 3 }\n[corpora.c]", "[assume.domains]: no corpus 'd'"),
        ("[assume]\ndomains = 0", "[assume] domains: 0 is not a number of domains"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_table_and_key(written, text, line):
    with pytest.raises(BadInput) as raised:
        written(text)
    said = str(raised.value)
    assert said.startswith("own.toml: ") or said.startswith("own.toml is "), said
    assert line in said and "\n" not in said, said


def test_a_name_of_the_shelf_or_a_path(tmp_path):
    assert names() == ["arxiv-2603.21658", "demo", "demo-quick"]
    for name in names():
        assert read(find(name)).name == name
    (tmp_path / "own.toml").write_text("")
    assert find(str(tmp_path / "own.toml")) == tmp_path / "own.toml"
    with pytest.raises(UnknownName, match="no study 'dmeo': did you mean 'demo'"):
        find("dmeo")
    with pytest.raises(BadInput, match=r"no file .*none.toml"):
        find(str(tmp_path / "none.toml"))
