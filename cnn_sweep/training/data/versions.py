"""Prepared data of earlier versions: which of them hold other pixels than today's decoding makes."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from cnn_sweep.journal.filesystem import write_aside
from cnn_sweep.training.data.bit_depth import is_deep_file
from cnn_sweep.training.data.dataset import META, read_meta

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# 1: 16-bit colours were cut to their high bytes, 12 bits in 16 came out nearly black, and images with malformed
# metadata were left out. All other images are the same in both.
DECODING = 2
REPORT = "report.json"
_MAY_BE_DEEP = (".png", ".tif", ".tiff")


def is_outdated(path: Path, files: Iterable[str]) -> bool:
    """Return whether a finished folder must be made again, because an earlier version decoded some of its images.

    A folder that needs not is marked, so that its files are looked at once.

    Args:
        path: The folder, which may not exist.
        files: The image files that it was made from; their headers are read.
    """
    try:
        meta = read_meta(path)
        if meta.get("decoding", 1) >= DECODING:
            return False
        report: dict[str, Any] = json.loads((path / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    is_concerned = report["bad"] or any("16 bits made 8" in image["reason"] for image in report["converted"])
    if is_concerned or any(is_deep_file(file) for file in files if file.lower().endswith(_MAY_BE_DEEP)):
        return True
    with contextlib.suppress(OSError):  # a folder that may not be written is looked at again next time
        write_aside(path / META, json.dumps(meta | {"decoding": DECODING}, indent=1).encode())
    return False
