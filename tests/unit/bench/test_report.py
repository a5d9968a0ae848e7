"""Tables and JSON."""

import json

import pytest

from hotplate.bench.measure import compare_rates
from hotplate.bench.report import Suite, as_json, number, table


def suite() -> Suite:
    rows = [
        compare_rates("SET", [(91_000.0, 100_000.0)], target=0.9),
        compare_rates("GET", [(10.0, 100.0)], target=0.5),
        compare_rates("MSET", [(10.0, 10.0)], target=None),
    ]
    return Suite("core", "some requests", rows)


def test_a_table_shows_ratio_target_and_verdict_of_each_line() -> None:
    head, _, *lines = table(suite(), against="Redis 7").splitlines()
    assert head == "core: some requests"
    assert lines[0].split()[:5] == ["SET", "91k/s", "(91k-91k)", "100k/s", "(100k-100k)"]
    assert lines[0].split()[5:] == ["0.91", "(0.91-0.91)", ">=", "0.9", "met"]
    assert lines[1].endswith(">= 0.5 NOT MET")
    assert lines[2].endswith("(1.00-1.00)")


def test_columns_line_up() -> None:
    _, heads, *lines = table(suite(), against="Redis 7").splitlines()
    column = heads.index("ratio")
    assert [line[column : column + 4] for line in lines] == ["0.91", "0.10", "1.00"]


def test_json_holds_every_figure_and_verdict() -> None:
    written = json.loads(json.dumps(as_json([suite()], {"quick": False})))
    rows = written["suites"][0]["rows"]
    assert [row["met"] for row in rows] == [True, False, None]
    assert rows[0]["ours"] == {"low": 91_000.0, "median": 91_000.0, "high": 91_000.0}
    assert written["environment"] == {"quick": False}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.234, "1.23"), (99.94, "99.9"), (432.1, "432"), (91_234, "91.2k"), (2_345_678, "2.35M")],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown
