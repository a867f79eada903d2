"""Settings of a profile with the reasons for their values, and their text as TOML with comments."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Value = str | int | tuple[str, ...]  # true and false are int, too

_WIDTH = 80  # columns of a terminal


@dataclass(frozen=True)
class Setting:
    """One line of a profile, or a comment without a line.

    Attributes:
        key: Key of the profile; empty for a comment alone.
        value: Its value.
        reason: Why it has this value, and other possible values.
        active: Whether the profile has the setting; otherwise it is a comment, for the user to choose.
    """

    key: str
    value: Value
    reason: str
    active: bool = True


def comment(text: str) -> Setting:
    """Return a comment that belongs to no key."""
    return Setting("", "", text, active=False)


def profile_text(heading: str, groups: Iterable[Iterable[Setting]]) -> str:
    """Return the text of a profile: a heading, and groups of settings separated by empty lines."""
    parts = [_comment_lines(heading)]
    for group in groups:
        lines = [line for setting in group for line in _lines(setting)]
        if lines:
            parts.append(lines)
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _lines(setting: Setting) -> list[str]:
    """Return the lines of a setting; its reason follows the value if both fit on one line, else it goes above."""
    if not setting.key:
        return _comment_lines(setting.reason)
    line = f"{'' if setting.active else '# '}{setting.key} = {_toml(setting.value)}"
    beside = f"{line:<27} # {setting.reason}"
    return [beside] if len(beside) <= _WIDTH else [*_comment_lines(setting.reason), line]


def _comment_lines(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _toml(value: Value) -> str:
    """Return a value in TOML; strings of JSON are strings of TOML, except for a character that JSON leaves as it is."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
