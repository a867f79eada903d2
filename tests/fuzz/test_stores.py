"""Stores of any content, of other versions, altered or damaged: the journals have the results, so commands answer."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest
from helpers.fuzzing import Found, corpus, finding, fuzz, mutated, typed
from hypothesis import strategies as st

SAMPLE = Path(__file__).parents[1] / "samples" / "grid_of_four"
STORE = (SAMPLE / "results" / "sweeps.db").read_bytes()
COMMANDS = (("status", "sample"), ("list",), ("show", "sample", "0"), ("store", "check"), ("sql", "select 1"))
# A case is a list of SQL statements, one a line, which are executed on a sound store; or the bytes of a store.
CASES = corpus("stores")


def _names():
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(STORE)
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return {table: [row[1] for row in connection.execute(f"pragma table_info({table})")] for table in tables}


COLUMNS = {table: columns for table, columns in _names().items() if columns}
VALUES = ["NULL", "-1", "9e999", "''", "'x'", "x'00ff'", "9223372036854775807", "'[1'", "'{}'", "0.5", "'é\u202e'"]


@st.composite
def statements(draw):
    """SQL statements that alter a store."""
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        table = draw(st.sampled_from(list(COLUMNS)))
        column, value = draw(st.sampled_from(COLUMNS[table])), draw(st.sampled_from(VALUES))
        version = draw(st.sampled_from([0, 1, 5, 99, 2**31 - 1, -1]))
        lines.append(
            draw(
                st.sampled_from(
                    [
                        f"drop table {table}",
                        f"alter table {table} rename to other",
                        f"alter table {table} drop column {column}",
                        f"alter table {table} rename column {column} to other",
                        f"alter table {table} add column more",
                        f"update {table} set {column} = {value}",
                        f"delete from {table}",
                        f"insert into {table} ({column}) values ({value})",
                        f"pragma user_version = {version}",
                        f"create view v{len(lines)} as select * from nothing",
                        f"create trigger t{len(lines)} before insert on {table} begin select raise(abort, 'no'); end",
                    ]
                )
            )
        )
    return "\n".join(lines).encode()


@pytest.fixture
def target(tmp_path):
    """Check what commands make of a store: one that reads, and a merge."""

    def examine(content, *, every=False):
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
        chosen = crc32(content) % len(COMMANDS)
        file = tmp_path / "results" / "sweeps.db"
        file.write_bytes(_store(content))
        for words in COMMANDS if every else (COMMANDS[chosen],):
            typed(tmp_path, *words, names=["sweeps.db", "store"])
        typed(tmp_path, "leaderboard", "sample", names=["sweeps.db", "store"])
        typed(tmp_path, "store", "rebuild")
        done = typed(tmp_path, "leaderboard", "sample", "--format", "csv")
        if done.returncode or done.stdout.count("complete") != 2:
            raise Found(f"after `store rebuild`: {done.stdout.count('complete')} complete trials; {done.stderr[-200:]}")

    return examine


def _store(content):
    if content.startswith(b"SQLite format") or not content:
        return content
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(STORE)
        for line in content.decode("utf-8", "replace").splitlines():
            try:
                connection.execute(line)
                connection.commit()
            except (sqlite3.Error, ValueError):
                continue
        return connection.serialize()


@pytest.mark.parametrize("case", CASES)
def test_kept_stores(target, case):
    """Stores that once made trouble: every command answers."""
    assert finding(lambda content: target(content, every=True), CASES[case]) is None


def test_stores(target):
    """Any store is read, rebuilt, or named in a message; `store rebuild` mends it."""
    fuzz("stores", target, st.one_of(statements(), statements(), mutated([STORE])), few=5, share=0.1)
