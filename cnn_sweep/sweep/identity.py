"""What makes a study, a configuration or a value the same as another: names and identifiers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


# The store and what SQLite keeps beside it are in the same folder as the studies.
STUDY_NAME: Final = re.compile(r"(?!(?i:sweeps\.db)(?:[.-].*)?\Z)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
STUDY_NAME_RULE: Final = (
    "1 to 64 letters, digits, '.', '_' and '-', the first a letter or digit; 'sweeps.db' is the store's own file"
)


class Null(str):
    """The value ``null`` of a hyperparameter in a table, where None says that the hyperparameter does not count."""

    __slots__ = ()


NULL: Final = Null("null")


def canonical_json(data: Any) -> str:
    """Write data as JSON in exactly one way: keys sorted, no spaces, finite numbers only."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def configuration_id(params: Mapping[str, Any]) -> str:
    """Name a configuration by what it is: 12 hex digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical_json(dict(params)).encode()).hexdigest()[:12]


def value_key(value: Any) -> tuple[Any, ...]:
    """Return what makes a value the same choice as another, whoever wrote them: equal identities.

    Journals, other programs and models write the lists of a sweep file as lists or tuples, and 1.0 as 1. A truth
    value is no number.
    """
    if isinstance(value, list | tuple):
        return tuple(map(value_key, value))
    return isinstance(value, bool), value if isinstance(value, Hashable) else repr(value)


def has_values(params: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Return whether a configuration has the values that are given for some of its parameters."""
    return all(name in params and value_key(params[name]) == value_key(value) for name, value in given.items())
