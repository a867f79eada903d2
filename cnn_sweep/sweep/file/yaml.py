"""YAML 1.2 text to plain data that remembers its lines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from cnn_sweep.errors import Problem, SweepFileError
from cnn_sweep.messages import dotted
from cnn_sweep.sweep.file.decimal_commas import join_decimals
from cnn_sweep.validation import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.messages import KeyPath


MAX_VALUES = 100_000  # aliases can make a small file huge
MAX_DEPTH = 50  # mappings and lists inside each other
_SHOWN = 30  # characters of a number in a message
_DIGITS = 4_000
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """A file as plain data (dict, list, str, int, float, bool, None) with the line of each value.

    Attributes:
        data: The file's content.
        root: The tree that the content was read from, or None for an empty file.
    """

    data: Any
    root: Node | None

    def locate(self, path: KeyPath) -> tuple[KeyPath, int]:
        """Find the longest part of a path that the file has, and the 1-based line where it starts."""
        node, line = self.root, 0 if self.root is None else self.root.start_mark.line + 1
        for depth, key in enumerate(path):
            found = None if node is None else _child(node, key)
            if found is None:
                return path[:depth], line
            node, line = found
        return path, line


def read(text: str, *, source: str) -> tuple[Document, list[Problem]]:
    """Read YAML; problems that leave the rest readable (duplicate keys) are returned with the data.

    Raises:
        SweepFileError: The text is not YAML at all, or it has a number that is none, which nothing can stand in for.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(text)
        reader = _Reader()
        document = Document(reader.plain(root, ()), root)
    except MarkedYAMLError as error:
        problem = _syntax_problem(error)
    except RecursionError:
        problem = Problem(0, "", "the file is nested too deeply, or a value contains itself")
    except (YAMLError, ValueError) as error:  # unprintable characters
        problem = Problem(0, "", f"this is not YAML: {' '.join(str(error).split())}")
    else:
        if reader.no_numbers:
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


def _pairs(node: MappingNode) -> Iterator[tuple[ScalarNode, Node]]:
    """Yield keys and values; those that ``<<`` merges in come first, so that the mapping's own count."""
    own = []
    for key, value in node.value:
        if key.tag == _TAG + "merge":
            for merged in value.value if isinstance(value, SequenceNode) else [value]:
                if isinstance(merged, MappingNode):
                    yield from _pairs(merged)
        else:
            own.append((key, value))
    yield from own


def _child(node: Node, key: str | int) -> tuple[Node, int] | None:
    if isinstance(node, SequenceNode) and isinstance(key, int) and 0 <= key < len(node.value):
        return node.value[key], node.value[key].start_mark.line + 1
    if isinstance(node, MappingNode):
        for at, value in reversed(list(_pairs(node))):
            if str(at.value) == key:
                return value, at.start_mark.line + 1
    return None


def _limit(value: float) -> str:
    """Return why a number is beyond what is possible; nothing if it is not."""
    if isinstance(value, int):
        hint = "write it with a decimal point, as in 1.0e+20"
        return f"is too large for a whole number (up to 2**63 - 1); {hint}" if abs(value) > LARGEST else ""
    return "" if math.isfinite(value) else "is not a finite number"


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.no_numbers = 0
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
            for at, place, message in join_decimals(node):
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
                self._add(at, (*path, key), f"the key {key!r} stands here again (first in line {lines[key]})")
            lines.setdefault(key, line)
        return {str(at.value): self.plain(value, (*path, str(at.value))) for at, value in _pairs(node)}

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
        self._add(node, path, f"the tag {node.tag} is not possible here; only plain values are")
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
            reason = "is not a number" if len(digits) < _DIGITS else "is too large"  # Python reads no more digits
        else:
            reason = _limit(value)
        if reason:
            self.no_numbers += 1
            shown = node.value if len(node.value) <= _SHOWN else f"{node.value[:_SHOWN]}…"
            self._add(node, path, f"{shown} {reason}")
        return value

    def _add(self, node: Node, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, dotted(path), message))
