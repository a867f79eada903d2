"""``cnn-sweep sql``: every question, no change."""

from __future__ import annotations

import hashlib

import pytest

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import query


@pytest.fixture
def store(study, results, locks):
    """A merged store, on honest and on lying locks."""
    merge(results)
    return results


def test_the_views_and_tables_can_be_read(store):
    """Joins, windows, JSON and recursion work; columns of one name are numbered."""
    assert query(store, "SELECT trial, value FROM leaderboard_digits WHERE rank = 1") == (
        ("trial", "value"),
        [(1, 0.9)],
    )
    columns, rows = query(
        store,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) "
        "SELECT a.i, b.i, json_extract('{\"x\": 7}', '$.x') AS x, row_number() OVER () "
        "FROM n AS a JOIN n AS b USING (i)",
    )
    assert columns[:3] == ("i", "i_2", "x")
    assert len(rows) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM trials",
        "UPDATE trials SET value = 1",
        "INSERT INTO meta VALUES ('a', 'b')",
        "DROP TABLE trials",
        "CREATE TABLE mine (a)",
        "CREATE TEMP TABLE mine (a)",
        "ATTACH '/tmp/other.db' AS other",
        "VACUUM INTO '/tmp/copy.db'",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = WAL",
        "SELECT 1; DELETE FROM trials",
        "SELECT load_extension('x')",
        "WITH x AS (SELECT 1) DELETE FROM trials",
        "REPLACE INTO meta VALUES ('a', 'b')",
        "BEGIN IMMEDIATE",
        "",
        "SELEC 1",
        "SELECT nothing FROM trials",
        "SELECT '\0'",
    ],
)
def test_nothing_but_reading_is_possible(store, statement):
    """Whatever changes a byte, opens another file or is no SELECT is one message, and the file is as it was."""
    before = hashlib.sha256((store / "sweeps.db").read_bytes()).digest()
    with pytest.raises(InputError, match=r"^sql: .+"):
        query(store, statement)
    assert hashlib.sha256((store / "sweeps.db").read_bytes()).digest() == before


def test_a_mistake_names_the_tables(store):
    """The message lists what there is to read."""
    with pytest.raises(
        InputError, match=r"no such table: trial; tables and views: epochs_digits, leaderboard_digits, art"
    ):
        query(store, "SELECT * FROM trial")
    with pytest.raises(InputError, match="a name with a hyphen needs double quotes"):
        query(store, "SELECT * FROM leaderboard_my-first")


def test_a_store_that_is_none_is_the_environments_fault(store):
    """A damaged file is told apart from a wrong statement."""
    (store / "sweeps.db").write_bytes(b"no database" * 1000)
    with pytest.raises(EnvironmentFault, match="cannot be read"):
        query(store, "SELECT 1 FROM trials")
