"""Answers a shell's question about what can come next."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Final

from cnn_sweep.cli.completion.suggestions import suggestions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BREAKS: Final = "=:"  # bash replaces only what follows the last of these in a word


def answer(asked: Sequence[str], commands: Mapping[str, str]) -> None:
    """Print what can come next; on any trouble nothing, because a shell would show it between its prompts.

    Args:
        asked: The shell, then the words after the program's name; from bash, the line up to the cursor instead.
        commands: The program's commands and their lines.
    """
    try:
        shell, *words = asked
        cut = 0
        if shell == "bash":
            words, cut = _words(words[0])
        lines = suggestions(words, commands).lines() if words else ["values"]
        print("\n".join([lines[0], *(line[cut:] for line in lines[1:])]))
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - see above
        return


def _words(line: str) -> tuple[list[str], int]:
    """Split a line of bash after the program's name; also return how much of the last word bash keeps as it is."""
    for closing in ("", '"', "'"):  # the last word may have an open quote
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        if not closing and line.endswith(('"', "'")):
            return [], 0  # a word whose quotes are closed is finished
        if not closing and line[-1:].isspace() and not line.endswith("\\ "):
            words.append("")
        last = words[-1]
        cut = 0 if closing else max(last.rfind(sign) for sign in _BREAKS) + 1
        return words[1:], cut
    return [], 0
