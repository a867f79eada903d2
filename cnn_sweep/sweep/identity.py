"""Names of studies, IDs of configurations, and equality of choices."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


# The store, SQLite's files beside it and the archives share the folder with the studies, so no study may have their
# names.
STUDY_NAME: Final = re.compile(r"(?!(?i:sweeps\.db)(?:[.-].*)?\Z)(?!(?i:archive)\Z)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
STUDY_NAME_RULE: Final = (
    "1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit; 'sweeps.db' is the store's own file, "
    "and 'archive' is the folder of archives"
)


class Null(str):
    """A hyperparameter's value ``null`` in a table, in which None marks an inactive hyperparameter."""

    __slots__ = ()


NULL: Final = Null("null")


def canonical_json(data: Any) -> str:
    """Return data as JSON in canonical form: keys sorted, no spaces, finite numbers only."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def configuration_id(params: Mapping[str, Any]) -> str:
    """Return the ID of a configuration: the first 12 hex digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical_json(dict(params)).encode()).hexdigest()[:12]


def value_key(value: Any) -> tuple[Any, ...]:
    """Return a key that is equal for values that are the same choice.

    Lists and tuples are equal, and so are 1.0 and 1, because journals and other programs do not preserve the
    difference. True and 1 differ.
    """
    if isinstance(value, list | tuple):
        return tuple(map(value_key, value))
    return isinstance(value, bool), value if isinstance(value, Hashable) else repr(value)


def has_values(params: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Return whether a configuration has the given values."""
    return all(name in params and value_key(params[name]) == value_key(value) for name, value in values.items())
