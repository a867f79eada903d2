"""Names of configurations."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.sweep.identity import configuration_id

values = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.none())


def test_the_name_of_a_configuration_never_changes():
    """Journals and stores hold these names, so this one is written down."""
    assert configuration_id({"filters": 8, "pooling": "max", "rate": 0.25}) == "7d8fbd785017"


@given(st.dictionaries(st.text(), st.one_of(values, st.lists(values))))
def test_names_do_not_depend_on_order_and_survive_json(params):
    """The same values in another order, or written to JSON and read again, have the same name."""
    name = configuration_id(params)
    assert configuration_id(dict(reversed(params.items()))) == name
    assert configuration_id(json.loads(json.dumps(params))) == name
    assert len(name) == 12


def test_names_tell_types_apart():
    """1, 1.0, true and the text "1" are different values."""
    assert len({configuration_id({"a": value}) for value in (1, 1.0, True, "1")}) == 4
