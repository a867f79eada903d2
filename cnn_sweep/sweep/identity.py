"""Names of studies, IDs of configurations, and equality of choices."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import show

if TYPE_CHECKING:
    from collections.abc import Mapping


# The store, SQLite's files beside it and the archives share the folder with the studies, so no study may have their
# names.
STUDY_NAME: Final = re.compile(r"(?!(?i:sweeps\.db)(?:[.-].*)?\Z)(?!(?i:archive)\Z)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
STUDY_NAME_RULE: Final = (
    "1 to 64 of the letters a-z and A-Z, digits, '.', '_' and '-', beginning with a letter or digit, and not "
    "'sweeps.db' or 'archive', which have another meaning"
)
_SPELT: Final = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ø": "oe", "æ": "ae"}
)


def study_name(text: str) -> str | None:
    """Return a text as the name of a study, with letters without accents; None if it has no letters.

    >>> study_name("Füchse & Dachse (2024)"), study_name("été"), study_name("狐")
    ('Fuechse_Dachse_2024', 'ete', None)
    """
    spelt = unicodedata.normalize("NFC", text).translate(_SPELT)
    plain = unicodedata.normalize("NFKD", spelt).encode("ascii", "ignore").decode("ascii")
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", plain).strip("_.-")[:64]
    return name if STUDY_NAME.fullmatch(name) else None


def name_problem(text: str) -> str | None:
    """Return what is wrong with the name of a study, with a name to use instead; None if nothing is."""
    if STUDY_NAME.fullmatch(text):
        return None
    other = study_name(text)
    return f"{show(text)} cannot name a study; it must be {STUDY_NAME_RULE}" + (f". Try {other!r}" if other else "")


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
