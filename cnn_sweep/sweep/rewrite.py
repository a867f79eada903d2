"""Changes the text of a sweep file as a person would: comments and order stay."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIDTH = 4096  # characters before a line is broken


def with_search(text: str, settings: Mapping[str, Any]) -> str:
    """Return a sweep file's text with other settings of its search.

    Args:
        text: The file, without problems.
        settings: Key of ``search`` to its new value.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    data = yaml.load(text)
    data.setdefault("search", {}).update(settings)
    written = io.StringIO()
    yaml.dump(data, written)
    return written.getvalue()
