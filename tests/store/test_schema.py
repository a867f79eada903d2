"""The columns that events fill are declared in the schema, and nowhere else."""

from __future__ import annotations

from zlib import crc32

import pytest

from cnn_sweep.journal.events import End
from cnn_sweep.store import queries, schema
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader


@pytest.mark.parametrize("record", schema.EVENT_TABLES, ids=lambda record: f"{record.event.type}-{record.table.name}")
def test_each_source_is_a_field_of_its_event(record):
    """A column's source, and each column of the key, is a field of the event, or of the items of its list."""
    fields = {*record.event.field_names(), "study", schema.WRITER} | ({"job", "tasks"} if record.each else set())
    sources = [column.info["source"] for column in record.table.columns if "source" in column.info]
    paths = [source.path for source in sources if source.event is record.event]
    assert paths
    assert {path.partition(".")[0] for path in paths} <= fields
    assert {column.name for column in record.table.primary_key} <= fields


def test_a_field_that_a_line_lacks_takes_its_default(study, results):
    """Lines of earlier versions lack later fields: the column is empty where the field's default is None."""
    body = b'{"type":"end","time":2000.0,"trial":3,"attempt":0,"state":"complete"}'
    study.append("b", b"%08x %b\n" % (crc32(body), body))
    study.tell("a", End(2000.0, 4, 0, "complete", cached=False))
    assert merge(results).bad_lines == 0
    store = StoreReader(results)
    (earlier,), (later,) = (queries.trial_detail(store, "digits", trial)["attempts"] for trial in (3, 4))
    assert [earlier[f"end_{name}"] for name in ("state", "cause", "epochs", "cached")] == ["complete", None, 0, None]
    assert later["end_cached"] == 0
