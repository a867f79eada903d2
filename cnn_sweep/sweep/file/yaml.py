"""Reads YAML 1.2 as plain data with the line of each value, and edits it without losing comments."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from cnn_sweep.errors import Problem, SweepFileError
from cnn_sweep.messages import dotted
from cnn_sweep.validation import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.messages import KeyPath


FROM_MAPPING = "sweep"  # the source of a text that `written` made
MAX_VALUES = 100_000  # aliases can make a small file huge
MAX_DEPTH = 50  # nested mappings and lists
_SHOWN = 30  # characters of a number in a message
_DIGITS = 4_000
_WIDTH = 4096  # characters per line, so that no written line is broken
_TAG = "tag:yaml.org,2002:"
_NUMBERS = (_TAG + "int", _TAG + "float")
_TEXT = _TAG + "str"

_Notes = list[tuple[Node, tuple[str | int, ...], str]]


@dataclass(frozen=True)
class Document:
    """A file as plain data (dict, list, str, int, float, bool, None) with the line of each value.

    Attributes:
        data: The file's content.
        root: The tree that the content was read from, or None for an empty file.
        has_lines: Whether the user knows the lines, which a mapping in Python does not have.
    """

    data: Any
    root: Node | None
    has_lines: bool = True

    def locate(self, path: KeyPath) -> tuple[KeyPath, int]:
        """Return the longest part of a path that exists in the file, and the 1-based line where it starts."""
        node, line = self.root, 0 if self.root is None else self.root.start_mark.line + 1
        for depth, key in enumerate(path):
            found = None if node is None else _child(node, key)
            if found is None:
                return path[:depth], line * self.has_lines
            node, line = found
        return path, line * self.has_lines


def read(text: str, *, source: str) -> tuple[Document, list[Problem]]:
    """Return the data of a YAML text, and problems that do not affect the rest, such as duplicate keys.

    Raises:
        SweepFileError: The text is not YAML, or a number in it cannot be read.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(text)
        reader = _Reader()
        document = Document(reader.plain(root, ()), root, has_lines=source != FROM_MAPPING)
    except MarkedYAMLError as error:
        problem = _syntax_problem(error)
    except RecursionError:
        problem = Problem(0, "", "the file is nested too deeply, or a value contains itself")
    except (YAMLError, ValueError) as error:  # unprintable characters
        problem = Problem(0, "", f"this is not YAML: {' '.join(str(error).split())}")
    else:
        if reader.unreadable_numbers:
            raise SweepFileError(source, reader.problems)
        return document, reader.problems
    raise SweepFileError(source, [problem])


def _syntax_problem(error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = 0 if mark is None else mark.line + 1
    what = " ".join(part for part in (error.context, error.problem) if part)
    where = "" if mark is None else f" (column {mark.column + 1})"
    hint = "; indent with spaces, not with tabs" if "\\t" in what else ""
    return Problem(line, "YAML", f"{what}{where}{hint}")


def _merged_pairs(node: MappingNode) -> Iterator[tuple[ScalarNode, Node]]:
    """Yield keys and values; those that ``<<`` merges in come first, so that the mapping's own keys override them."""
    own = []
    for key, value in node.value:
        if key.tag == _TAG + "merge":
            for merged in value.value if isinstance(value, SequenceNode) else [value]:
                if isinstance(merged, MappingNode):
                    yield from _merged_pairs(merged)
        else:
            own.append((key, value))
    yield from own


def _child(node: Node, key: str | int) -> tuple[Node, int] | None:
    if isinstance(node, SequenceNode) and isinstance(key, int) and 0 <= key < len(node.value):
        return node.value[key], node.value[key].start_mark.line + 1
    if isinstance(node, MappingNode):
        for at, value in reversed(list(_merged_pairs(node))):
            if str(at.value) == key:
                return value, at.start_mark.line + 1
    return None


def _number_problem(value: float) -> str:
    """Return why a number is too large or not finite; an empty string if it is neither."""
    if isinstance(value, int):
        hint = "write it with a decimal point, as in 1.0e+20"
        return f"is too large for a whole number (up to 2**63 - 1); {hint}" if abs(value) > LARGEST else ""
    return "" if math.isfinite(value) else "is not a finite number"


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.unreadable_numbers = 0
        self._values = 0

    def plain(self, node: Node | None, path: KeyPath) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values")
        if len(path) > MAX_DEPTH:
            raise RecursionError
        if node is None:
            return None
        if isinstance(node, MappingNode | SequenceNode) and node.flow_style:
            for at, place, message in _join_decimal_commas(node):
                self._add(at, (*path, *place), message)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.plain(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        lines: dict[str, int] = {}
        for at, _ in node.value:
            line = at.start_mark.line + 1
            key = str(at.value) if isinstance(at, ScalarNode) else "?"
            if not isinstance(at, ScalarNode) or at.tag not in (_TAG + "str", _TAG + "merge"):
                self._add(at, (*path, key), f"a key must be text, not {key!r}; put it in quotes")
            if key in lines:
                self._add(at, (*path, key), f"the key {key!r} is repeated (first on line {lines[key]})")
            lines.setdefault(key, line)
        return {str(at.value): self.plain(value, (*path, str(at.value))) for at, value in _merged_pairs(node)}

    def _scalar(self, node: Node, path: KeyPath) -> Any:
        text, kind = node.value, node.tag.removeprefix(_TAG) if isinstance(node.tag, str) else str(node.tag)
        if kind in ("str", "timestamp", "merge"):
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in ("int", "float"):
            return self._number(node, path, kind)
        self._add(node, path, f"the tag {node.tag} is not supported; write a plain value")
        return text

    def _number(self, node: Node, path: KeyPath, kind: str) -> int | float:
        digits = node.value.replace("_", "")
        value: int | float = 0
        try:
            if kind == "int":
                based = digits.lstrip("+-")[:2].lower() in ("0x", "0o", "0b")
                value = int(digits, 0 if based else 10)
            else:
                value = float(digits.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            reason = "is not a number" if len(digits) < _DIGITS else "is too large"  # Python's limit on digits
        else:
            reason = _number_problem(value)
        if reason:
            self.unreadable_numbers += 1
            shown = node.value if len(node.value) <= _SHOWN else f"{node.value[:_SHOWN]}…"
            self._add(node, path, f"{shown} {reason}")
        return value

    def _add(self, node: Node, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, dotted(path), message))


def written(content: Mapping[str, Any]) -> str:
    """Return a mapping as the text of a sweep file.

    Tuples, ranges and arrays become lists, NumPy's numbers plain ones, and paths text.

    Raises:
        SweepFileError: A value is none of these; the error names all of them.
    """
    problems: list[Problem] = []
    plain = _plain_value(content, (), problems)
    if problems:
        raise SweepFileError(FROM_MAPPING, problems)
    yaml = YAML()
    yaml.width = _WIDTH
    text = io.StringIO()
    yaml.dump(plain, text)
    return text.getvalue()


def _plain_value(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
    """Return a value of Python as YAML can write it; one that it cannot write becomes a problem."""
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers, and columns of pandas
        value = value.tolist()
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            problems.append(Problem(0, dotted(path), f"a key must be text, not {wrong[0]!r}"))
        return {str(key): _plain_value(one, (*path, str(key)), problems) for key, one in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain_value(one, (*path, place), problems) for place, one in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, PurePath):
        return str(value)
    problem = f"must be text, a number, true, false, None, a list or a mapping, not {type(value).__name__} {value!r}"
    problems.append(Problem(0, dotted(path), problem))
    return None


def replace_search_settings(text: str, settings: Mapping[str, Any]) -> str:
    """Return a sweep file's text with some settings of ``search`` replaced; comments and order are kept.

    Args:
        text: The text of a valid sweep file.
        settings: New value of each key of ``search``.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    data = yaml.load(text)
    data.setdefault("search", {}).update(settings)
    written = io.StringIO()
    yaml.dump(data, written)
    return written.getvalue()


def replace_study_name(text: str, name: str) -> str:
    """Return a sweep file's text with another name of the study; nothing else in it changes.

    A text that names no study, such as a damaged one, is returned as it is.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except (YAMLError, ValueError, RecursionError):
        return text
    pairs = root.value if isinstance(root, MappingNode) else []
    node = next((value for key, value in pairs if str(key.value) == "study"), None)
    if not isinstance(node, ScalarNode) or node.value == name:
        return text
    is_text = YAML(typ="safe", pure=True).compose(name).tag == _TEXT  # not so for names such as 2024 or null
    return text[: node.start_mark.index] + (name if is_text else f'"{name}"') + text[node.end_mark.index :]


def _join_decimal_commas(node: MappingNode | SequenceNode) -> _Notes:
    """Join numbers split by a decimal comma in a mapping or list in brackets, so that each causes only one message.

    YAML reads ``{low: 0,01}`` as two keys, ``low`` and ``01``.

    Args:
        node: Changed in place.

    Returns:
        Each number, its key or index, and a message.
    """
    notes: _Notes = []
    node.value = (
        _joined_mapping(node.value, notes) if isinstance(node, MappingNode) else _joined_list(node.value, notes)
    )
    return notes


def _joined_mapping(pairs: list[tuple[Node, Node]], notes: _Notes) -> list[tuple[Node, Node]]:
    joined: list[tuple[Node, Node]] = []
    for key, value in pairs:
        before = joined[-1][1] if joined else None
        ends_in_digit = isinstance(before, ScalarNode) and before.style is None and before.value[-1:].isdecimal()
        if before is not None and ends_in_digit and _is_number(key) and value.value == "" and _is_tight(before, key):
            last = joined[-1][0]
            joined[-1] = last, _join(before, key, (str(last.value),), notes)
        else:
            joined.append((key, value))
    return joined


def _joined_list(items: list[Node], notes: _Notes) -> list[Node]:
    joined: list[Node] = []
    for item in items:
        before = joined[-1] if joined else None
        if before is not None and _is_fraction(before, item):
            joined[-1] = _join(before, item, (len(joined) - 1,), notes)
        else:
            joined.append(item)
    return joined


def _join(whole: Node, fraction: Node, place: tuple[str | int, ...], notes: _Notes) -> ScalarNode:
    number = f"{whole.value}.{fraction.value}"
    comma = f"{whole.value},{fraction.value}"
    notes.append((whole, place, f"{comma} is read as two values; write a decimal point: {number}"))
    tag = _NUMBERS[1] if _is_number(whole) else _TEXT
    return ScalarNode(tag, number, whole.start_mark, fraction.end_mark)


def _is_number(node: Any) -> bool:
    return isinstance(node, ScalarNode) and node.style is None and node.tag in _NUMBERS


def _is_tight(one: Node, other: Node) -> bool:
    """Return whether only a comma separates two items."""
    return bool(one.end_mark.index + 1 == other.start_mark.index)


def _is_fraction(before: Node, item: Node) -> bool:
    """Return whether an item is the fraction after a decimal comma; ``[0,5]`` may be two numbers, ``[0,05]`` not."""
    if not (_is_number(before) and _is_number(item) and _is_tight(before, item)) or "." in before.value:
        return False
    return len(item.value) > 1 and item.value[0] == "0" and item.value.isdecimal()
