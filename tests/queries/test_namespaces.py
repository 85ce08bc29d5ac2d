"""What completes in a notebook: tables, findings and functions by name."""

from __future__ import annotations

import inspect
import math

import ibis
import pytest
from ibis import _
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from memlake.queries.ask import OpenLake
from memlake.queries.finding import find, names
from memlake.queries.only import SHARED
from memlake.tests.small import DOMAINS, N, match_rows
from memlake.warehouse import schema
from memlake.warehouse.errors import BadInput, UnknownName


@pytest.fixture(scope="module")
def asked(lake) -> OpenLake:
    return OpenLake(lake.path)


@pytest.fixture(scope="module")
def shell(asked):
    """Runs a line as a notebook does, or completes it."""
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.user_ns |= {"lake": asked}
    return shell


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("lake.tab", "tables"),
        ("lake.tables.matc", "matches_all"),
        ("lake.tables['matc", "matches_all"),
        ("lake.tables.matches.memor", "memorized"),
        ("lake.findings.scal", "scaling_law"),
        ("lake.findings.scaling_law(mini", "minimum_sizes="),
        ("lake.findings.scaling_law(sample_w", "sample_window="),
        ("lake.functions.lab", "labelled"),
    ],
)
def test_names_complete(shell, typed, wanted):
    with provisionalcompleter():
        offered = {c.text for c in shell.Completer.completions(typed, len(typed))}
    assert wanted in {text.removeprefix(".") for text in offered}


def test_an_error_is_one_line_in_a_notebook(shell, capsys):
    shell.run_cell("lake.tables.matchs")
    said = capsys.readouterr().out.strip()
    assert said.startswith("UnknownAttribute: no table 'matchs': did you mean 'matches'?") and "\n" not in said


def test_every_table_is_there_and_says_what_a_row_is(asked):
    assert {"matches", "matches_all", "labelled"} & set(asked.tables) == {"matches", "matches_all"}
    assert {*schema.names(), "model_sizes"} <= set(dir(asked.tables))
    assert asked.tables.matches.count().execute() == asked.tables["matches"].count().execute() == 2 * N
    lines = dict(line.split(maxsplit=1) for line in repr(asked.tables).splitlines())
    assert lines["matches"].startswith("one sequence under one model")
    assert lines["model_sizes"].startswith("one model and the number of parameters")
    page = asked.tables._repr_html_()
    assert page.count("<tr>") == len(lines) and "`class` is &#x27;structural&#x27;" in page


@pytest.mark.parametrize("name", names())
def test_a_finding_is_called_by_its_parameters(asked, name):
    finding, ask = find(name), getattr(asked.findings, name)
    shown = inspect.signature(ask)
    assert list(shown.parameters) == [*finding.parameters, *SHARED]
    for key, parameter in shown.parameters.items():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        if key in finding.parameters:  # what it shows as default is the default
            assert finding.sql(**{key: parameter.default}) == finding.sql()
            assert finding.parameters[key].doc in ask.__doc__
    assert ask.__doc__.startswith(finding.help) and ask.__name__ == name
    assert name in repr(asked.findings)


def test_a_finding_answers_as_a_query_does(asked):
    given = {"attempts": [1], "probabilities": [0.5]}
    one, other = asked.findings.extraction_probability(**given), asked.query("extraction_probability", **given)
    assert one.to_pyarrow().equals(other.to_pyarrow()) and one.count().execute() == 1
    assert asked.findings["corpus_rate"](sample_window="4+12").count().execute() > 0


def test_unknown_names_are_attribute_errors_too(asked):
    for kind, name, near in (("tables", "matchs", "matches"), ("findings", "scalinglaw", "scaling_law")):
        with pytest.raises(AttributeError, match=f"did you mean '{near}'"):
            getattr(getattr(asked, kind), name)
        with pytest.raises(UnknownName, match=f"did you mean '{near}'"):
            getattr(asked, kind)[name]
        assert not hasattr(getattr(asked, kind), "_repr_png_")
    with pytest.raises(UnknownName, match="no parameter of scaling_law 'minimum'"):
        asked.findings.scaling_law(minimum=2)
    with pytest.raises(BadInput, match="minimum_sizes wants a value like 3, not 'two'"):
        asked.findings.scaling_law(minimum_sizes="two")


# Functions


def test_macros_are_functions_of_expressions(asked):
    f = asked.functions
    rates = asked.tables.matches.group_by("domain").agg(
        rate=f.share(_.memorized), of=f.share(asked.tables.matches.memorized)
    )
    expected = {d: sum(r["memorized"] for r in match_rows(d)) / N for d in DOMAINS}
    for row in rates.execute().to_dict("records"):
        assert row["rate"] == row["of"] == pytest.approx(expected[row["domain"]])


def wilson(p: float, n: float, z: float = 1.959963984540054) -> tuple[float, float]:
    centre, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def test_a_macro_of_numbers_is_a_number_and_of_columns_a_column(asked):
    f = asked.functions
    assert (f.wilson_low(0.25, 40), f.wilson_high(0.25, 40)) == pytest.approx(wilson(0.25, 40))
    given = asked.sql("select * from (values (0.1, 10), (0.5, 20)) t(p, n)")
    got = given.mutate(low=f.wilson_low(_.p, _.n), high=f.wilson_high(given.p, 40)).execute()
    assert got.low.tolist() == pytest.approx([wilson(0.1, 10)[0], wilson(0.5, 20)[0]])
    assert got.high.tolist() == pytest.approx([wilson(0.1, 40)[1], wilson(0.5, 40)[1]])


def test_aggregates_have_their_defaults(asked):
    f = asked.functions
    assert str(inspect.signature(f.cluster_low)) == "(m, n, w=1)"
    texts = asked.sql("select * from (values (1, 4), (0, 4), (3, 4), (2, 2)) t(m, n)")
    found = texts.agg(low=f.cluster_low(_.m, _.n), weighted=f.cluster_low(_.m, _.n, w=2)).execute().iloc[0]
    ((low, weighted),) = asked.connection.execute(
        "select cluster_low(m, n), cluster_low(m, n, w := 2) from (values (1, 4), (0, 4), (3, 4), (2, 2)) t(m, n)"
    ).fetchall()
    assert (found["low"], found["weighted"]) == (low, weighted) and low < weighted


def test_any_table_is_labelled(asked):
    f, matches = asked.functions, asked.tables.matches
    for measured in ("matches", matches, matches.filter(matches.memorized)):
        found = f.labelled(measured)
        assert found.family.execute().unique().tolist() == ["pythia"] and "role" in found.columns
    assert found.count().execute() == 28
    mine = ibis.memtable(
        [{"model": "m", "corpus": "mine", "score": 0.5}, {"model": "x", "corpus": "mine", "score": 1.0}]
    )
    assert f.labelled(mine).execute()[["model", "family", "role", "score"]].values.tolist() == [
        ["m", "pythia", "trained", 0.5]
    ]
    del mine
    with_text = f.with_text(f.labelled("matches"))
    assert with_text.text.nunique().execute() == 2 * N
    with pytest.raises(UnknownName, match="did you mean 'matches'"):
        f.labelled("matchs")
    with pytest.raises(BadInput, match="Binder Error"):
        f.labelled(asked.tables.tokenizers)


def test_functions_say_what_they_are(asked):
    lines = dict(line.split(maxsplit=1) for line in repr(asked.functions).splitlines())
    assert lines["share"] == "the mean of a boolean, over the rows where it is not NULL"
    assert {"cluster_high", "wilson_high", "labelled", "with_text"} <= lines.keys()
    assert not {"beta_step", "kept_at", "met_patterns"} & lines.keys()  # parts of others
    assert asked.functions.cluster_high.__doc__.startswith("cluster_low(m, n, w), cluster_high(m, n, w), aggregates")
    for name in asked.functions:
        assert getattr(asked.functions, name).__doc__, name


def test_what_a_function_refuses_is_a_line(asked):
    with pytest.raises(TypeError, match="missing a required argument: 'n'"):
        asked.functions.wilson_low(_.score)
    with pytest.raises(BadInput, match="Conversion Error"):
        asked.functions.wilson_low("a", 3)
    with pytest.raises(BadInput):
        asked.tables.matches.agg(asked.functions.share(_.domain)).execute()
