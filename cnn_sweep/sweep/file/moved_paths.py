"""Relative paths of a sweep file for another folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cnn_sweep.sweep.spec.data import named_paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.spec.data import DataSpec


def moved_paths(content: Any, data: DataSpec, old: Path, new: Path) -> dict[KeyPath, str]:
    """Return new values for the relative paths in a sweep file that moves to another folder.

    Args:
        content: The content of the file.
        data: Its section ``data``.
        old: Its folder.
        new: The folder that it moves to.
    """
    old, new = old.resolve(), new.resolve()
    if old == new:
        return {}
    return {key: os.path.relpath(old / name, new) for key, name in _names(content, data) if name[:1] not in "/~"}


def _names(content: Any, data: DataSpec) -> Iterator[tuple[KeyPath, str]]:
    yield from ((("data", *key), name) for key, name in named_paths(data))
    layers = content.get("model", {}).get("layers", [])
    base = layers[0].get("base") if layers and isinstance(layers[0], dict) else None
    weights = base.get("weights") if isinstance(base, dict) else None
    if isinstance(weights, str) and weights not in ("imagenet", "none") and "$" not in weights:
        yield ("model", "layers", 0, "base", "weights"), weights
