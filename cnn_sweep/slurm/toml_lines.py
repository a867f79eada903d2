"""Finds the lines of the keys of a TOML text, which the standard library's reader does not tell."""

from __future__ import annotations

import re
import tomllib

_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*([^=\[\]{}#]+?)\s*=")
_POSITION = re.compile(r"\(at line (\d+), column \d+\)")


def key_lines(text: str) -> dict[str, int]:
    """Return the 1-based line of each key, by its dotted path.

    Keys of inline tables are not found; the line of the table's own key stands for them.

    Args:
        text: A text that is valid TOML.
    """
    lines = text.splitlines()
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(lines, start=1):
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        # Inside a text or a list of several lines, what stands before is not yet valid by itself.
        if not (header or key) or not _is_complete("\n".join(lines[: number - 1])):
            continue
        if header:
            table = _dotted(header[1])
            found.setdefault(table, number)
        elif key:
            found.setdefault(".".join(filter(None, (table, _dotted(key[1])))), number)
    return found


def line_of(lines: dict[str, int], path: str) -> int:
    """Return the line of a key, or of the nearest key above it; 0 where there is none."""
    while path:
        if path in lines:
            return lines[path]
        path = path.rpartition(".")[0]
    return 0


def error_line(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """Return where a text is not valid TOML, and why."""
    message = str(error)
    match = _POSITION.search(message)
    line = int(match[1]) if match else len(text.splitlines())
    return line, _POSITION.sub("", message).strip()


def _dotted(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _is_complete(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True
