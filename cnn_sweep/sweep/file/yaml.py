"""Reads YAML 1.2 as plain data with the line of each value."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.scanner import Scanner

from cnn_sweep.errors import Problem, SweepFileError
from cnn_sweep.messages import dotted
from cnn_sweep.sweep.file.decimal_commas import join_decimal_commas
from cnn_sweep.validation import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cnn_sweep.messages import KeyPath


FROM_MAPPING = "sweep"  # the source of a text that `written` made
MAX_VALUES = 100_000  # aliases and merged keys can make a small file huge
# Keys, values, lists and mappings as they are written; reading each takes up to 0.1 ms.
MAX_NODES = 2 * MAX_VALUES
MAX_NEW_NODES = 40_000  # of a file that is not yet that of a study
MAX_DEPTH = 50  # nested mappings and lists
_SHOWN = 30  # characters of a number in a message
_DIGITS = 4_000
_TOO_DEEP = f"the file is nested more than {MAX_DEPTH} levels deep, or a value contains itself"
_WIDTH = 4096  # characters per line, so that no written line is broken
_TAG = "tag:yaml.org,2002:"
TEXT = _TAG + "str"
NOTHING = _TAG + "null"
MAPPING = _TAG + "map"
_MERGE = _TAG + "merge"

# What to do about mistakes that YAML's own words hardly explain.
_HINTS = {
    "\\t": "indent with spaces, not with tabs",
    "mapping values are not allowed": "check how far this line is indented, and put a text with a colon in quotes",
    "expected <block end>": "indent all lines of one section equally",
    "could not find expected ':'": "write `key: value`, with a space after the colon",
}

_Pair = tuple[ScalarNode, Node]


@dataclass(frozen=True)
class Place:
    """Where a value stands.

    Attributes:
        path: Path of keys to it.
        line: 1-based line of its key; 0 if it has none, as an option of a command.
        source: Name of its file in messages; empty for the sweep file itself.
    """

    path: KeyPath
    line: int
    source: str


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
    _by_key: dict[int, dict[str, _Pair]] = field(default_factory=dict, compare=False, repr=False)

    def locate(self, path: KeyPath) -> Place:
        """Return the place of the longest part of a path that exists.

        A number below a text of several lines is one of its lines, from 1.
        """
        node, mark = self.root, None if self.root is None else self.root.start_mark
        for depth, key in enumerate(path):
            if isinstance(node, ScalarNode) and node.style == "|" and isinstance(key, int):
                start = node.start_mark
                return Place(path[: depth + 1], start.line + 1 + key, _source(start))
            found = self._child(node, key)
            if found is None:
                path = path[:depth]
                break
            mark, node = (found[0] or found[1]).start_mark, found[1]
        return Place(path, 0 if mark is None or not self.has_lines else mark.line + 1, _source(mark))

    def _child(self, node: Node | None, key: str | int) -> tuple[Node | None, Node] | None:
        """Return what `child_pair` does; thousands of problems in one mapping are then located in little time."""
        if not isinstance(node, MappingNode):
            return None if node is None else child_pair(node, key)
        if id(node) not in self._by_key:
            self._by_key[id(node)] = {str(at.value): (at, value) for at, value in merged_pairs(node)}
        return self._by_key[id(node)].get(key) if isinstance(key, str) else None


def source_of(node: Node) -> str:
    """Return the name of what a node was read from; empty for the sweep file itself."""
    return _source(node.start_mark)


def _source(mark: Any) -> str:
    """Return the name of a mark's file; that of the sweep file itself is the parser's name for a text."""
    return "" if mark is None or mark.name.startswith("<") else str(mark.name)


def with_pairs(node: Any, pairs: list[tuple[Any, Any]]) -> MappingNode:
    """Return a copy of a mapping with other keys and values."""
    return MappingNode(node.tag, pairs, node.start_mark, node.end_mark, flow_style=node.flow_style)


def text_node(text: str, source: str) -> ScalarNode:
    """Return a text of several lines as a tree whose places name its source; its own lines count from 1."""
    mark = StringMark(source, 0, -1, 0, None, 0)
    return ScalarNode(TEXT, text, mark, mark, style="|")


def name_source(node: Node, source: str, *, line: int | None = None) -> None:
    """Make the places in a tree name their source.

    Args:
        node: The tree.
        source: Name of what it was read from.
        line: 0-based line of all places; -1 for none. None keeps their own.
    """
    waiting, seen = [node], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:  # aliases lead to it in several ways
            continue
        seen.add(id(one))
        for mark in (one.start_mark, one.end_mark):
            mark.name = source
            mark.line = mark.line if line is None else line
        if isinstance(one, MappingNode | SequenceNode):
            waiting += [part for child in one.value for part in (child if isinstance(child, tuple) else (child,))]


def read(text: str, *, source: str) -> tuple[Document, list[Problem]]:
    """Return the data of a YAML text, and problems that do not affect the rest, such as duplicate keys.

    Raises:
        SweepFileError: The text is not YAML, or a number in it cannot be read.
    """
    return as_document(compose(text, source=source), source=source)


class _TooLargeError(Exception):
    """A text has too many keys and values."""


class _LimitedComposer(Composer):
    """Stops at a text of too many nodes or levels before it has read all of it."""

    most = MAX_NODES

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self._nodes = self._level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._nodes += 1
        if self._nodes > self.most:
            raise _TooLargeError(f"the file has more than {self.most:,} keys, values, lists and mappings")
        if self._level > MAX_DEPTH:
            raise RecursionError
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        return node


class _NewFileComposer(_LimitedComposer):
    most = MAX_NEW_NODES


class _LimitedScanner(Scanner):
    """Stops at too many open brackets: it reads ahead of the composer, in a time that grows with their square."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:  # noqa: N803 - ruamel's name
        if len(self.flow_context) > MAX_DEPTH:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass, to_push)


def compose(text: str, *, source: str, is_new: bool = False) -> Node | None:
    """Return a YAML text as a tree of nodes with their places.

    Args:
        text: The text.
        source: Its name in messages.
        is_new: Whether the limit of files holds that are not yet those of a study.

    Raises:
        SweepFileError: The text is not YAML, or is too large.
    """
    parser = YAML(typ="safe", pure=True)
    parser.Scanner = _LimitedScanner
    parser.Composer = _NewFileComposer if is_new else _LimitedComposer
    try:
        root: Node | None = parser.compose(text)
    except MarkedYAMLError as error:
        problem = _syntax_problem(error)
    except RecursionError:
        problem = Problem(0, "", _TOO_DEEP)
    except _TooLargeError as error:
        problem = Problem(0, "", str(error))
    except (YAMLError, ValueError) as error:  # unprintable characters
        problem = Problem(0, "", f"this is not YAML: {' '.join(str(error).split())}")
    else:
        return root
    raise SweepFileError(source, [problem])


def as_document(root: Node | None, *, source: str) -> tuple[Document, list[Problem]]:
    """Return the data of a tree, and problems that do not affect the rest.

    Raises:
        SweepFileError: A number cannot be read, or the data is too large.
    """
    reader = _Reader()
    try:
        document = Document(reader.plain(root, ()), root, has_lines=source != FROM_MAPPING)
    except RecursionError:
        problem = Problem(0, "", _TOO_DEEP)
    except _TooLargeError as error:
        problem = Problem(0, "", str(error))
    else:
        problems = reader.problems
        if not document.has_lines:
            problems = [replace(problem, line=0) for problem in problems]
        if reader.unreadable_numbers:
            raise SweepFileError(source, problems)
        return document, problems
    raise SweepFileError(source, [problem])


def _syntax_problem(error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = 0 if mark is None else mark.line + 1
    what = " ".join(part for part in (error.context, error.problem) if part)
    where = "" if mark is None else f" (column {mark.column + 1})"
    hint = next((f"; {hint}" for words, hint in _HINTS.items() if words in what), "")
    return Problem(line, "YAML", f"{what}{where}{hint}")


def merged_pairs(node: MappingNode, count: Callable[[], None] = lambda: None) -> Iterator[_Pair]:
    """Yield keys and values; those that ``<<`` merges in come first, so that the mapping's own keys override them.

    Args:
        node: The mapping.
        count: Is called for each merged mapping, whose number can grow as a power of the text's length.
    """
    count()
    for merged in _merged(node):
        yield from merged_pairs(merged, count)
    yield from (pair for pair in node.value if pair[0].tag != _MERGE)


def _merged(node: MappingNode) -> list[MappingNode]:
    """Return the mappings that ``<<`` merges into another one."""
    values = [value for key, value in node.value if key.tag == _MERGE]
    parts = [part for value in values for part in (value.value if isinstance(value, SequenceNode) else [value])]
    return [part for part in parts if isinstance(part, MappingNode)]


def child_pair(node: Node, key: str | int) -> tuple[Node | None, Node] | None:
    """Return a mapping's key and value, or None and the item of a list; None if there is none."""
    if isinstance(node, SequenceNode) and isinstance(key, int) and 0 <= key < len(node.value):
        return None, node.value[key]
    waiting, seen = [node], set[int]()
    while waiting:  # backwards, since later keys override earlier ones; each mapping once, since some are merged often
        one = waiting.pop()
        if not isinstance(one, MappingNode) or id(one) in seen:
            continue
        seen.add(id(one))
        for at, value in reversed(one.value):
            if at.tag != _MERGE and str(at.value) == key:
                return at, value
        waiting += _merged(one)
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

    def _count(self) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            reason = f"the file has more than {MAX_VALUES:,} values, counting those of aliases and merged keys"
            raise _TooLargeError(reason)

    def plain(self, node: Node | None, path: KeyPath) -> Any:
        self._count()
        if len(path) > MAX_DEPTH:
            raise RecursionError
        if node is None:
            return None
        if isinstance(node, MappingNode | SequenceNode) and node.flow_style:
            for at, place, message in join_decimal_commas(node):
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
            if not isinstance(at, ScalarNode) or at.tag not in (TEXT, _MERGE):
                self._add(at, (*path, key), f"a key must be text, not {key!r}; put it in quotes")
            if key in lines:
                self._add(at, (*path, key), f"the key {key!r} is repeated (first on line {lines[key]})")
            lines.setdefault(key, line)
        pairs = merged_pairs(node, self._count)
        return {str(at.value): self.plain(value, (*path, str(at.value))) for at, value in pairs}

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
        self.problems.append(Problem(node.start_mark.line + 1, dotted(path), message, _source(node.start_mark)))


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


def replace_study_name(text: str, name: str) -> str:
    """Return a sweep file's text with another name of the study; nothing else in it changes.

    A text that names no study, such as a damaged one, is returned as it is.
    """
    try:
        root = compose(text, source=FROM_MAPPING)
    except SweepFileError:
        return text
    pairs = root.value if isinstance(root, MappingNode) else []
    node = next((value for key, value in pairs if str(key.value) == "study"), None)
    if not isinstance(node, ScalarNode) or node.value == name:
        return text
    typed = compose(name, source=FROM_MAPPING)
    is_text = typed is not None and typed.tag == TEXT  # not so for names such as 2024 or null
    return text[: node.start_mark.index] + (name if is_text else f'"{name}"') + text[node.end_mark.index :]
