"""The identity of a configuration."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


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
