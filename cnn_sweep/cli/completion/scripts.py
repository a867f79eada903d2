"""The scripts that make a shell complete commands."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FILES: Final = {"bash": "cnn-sweep.bash", "zsh": "_cnn-sweep", "fish": "cnn-sweep.fish"}


def script(shell: str) -> str:
    """Return the script for a shell: ``bash``, ``zsh`` or ``fish``."""
    return (Path(__file__).parent / "scripts" / _FILES[shell]).read_text(encoding="utf-8")
