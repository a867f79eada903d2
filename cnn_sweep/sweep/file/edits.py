"""Edits the text of a sweep file: one value changes, and the rest, comments and spacing included, stays as it is."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node
from ruamel.yaml.scalarstring import LiteralScalarString

from cnn_sweep.errors import SweepFileError
from cnn_sweep.sweep.file.yaml import child_pair, compose, read

if TYPE_CHECKING:
    from cnn_sweep.messages import KeyPath

_WIDTH: Final = 1_000_000  # characters per line, so that no written line is broken
REMOVED: Final = object()  # the value of a key that is removed


def with_values(text: str, values: Mapping[KeyPath, Any], expected: Any = None) -> str:
    """Return a YAML text with some values replaced, added or removed.

    The text is cut at the places of the values. If the result does not mean what it should, as with aliases, the text
    is written anew: with its comments if possible.

    Args:
        text: Valid YAML whose top is a mapping.
        values: New value of each path, in order; ``REMOVED`` removes a key.
        expected: The data that the new text must have; None for that of the text with the values.
    """
    if expected is None:
        expected = read(text, source="")[0].data
        for path, value in values.items():
            _put(expected, path, value)
    for edited in (_spliced, _round_trip):
        try:
            new = edited(text, values)
            if read(new, source="")[0].data == expected:
                return new
        except (SweepFileError, YAMLError, LookupError, TypeError, AttributeError):
            continue  # the text has a form that this way cannot edit
    return _block(expected)


def flow(value: Any) -> str:
    """Return a value on one line, as it stands inside brackets."""
    yaml = YAML()
    yaml.default_flow_style = True
    yaml.width = _WIDTH
    written = io.StringIO()
    yaml.dump({"_": value}, written)  # in a list, a mapping of one key would have no braces
    return written.getvalue().strip().removeprefix("{_: ").removesuffix("}")


def _block(value: Any) -> str:
    """Return a mapping over several lines; only its innermost lists and mappings are in brackets."""
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = _WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    written = io.StringIO()
    yaml.dump(_literal(value), written)
    return written.getvalue()


def _literal(value: Any) -> Any:
    """Mark texts of several lines, so that they are written line by line."""
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return LiteralScalarString(value) if isinstance(value, str) and value.endswith("\n") else value


def _put(data: Any, path: KeyPath, value: Any) -> None:
    """Set, add or remove a value in plain data."""
    for key in path[:-1]:
        if isinstance(data, dict) and data.get(key) is None:
            data[key] = {}
        data = data[key]
    if value is REMOVED:
        del data[path[-1]]
    elif isinstance(data, list) and path[-1] == len(data):
        data.append(value)
    else:
        data[path[-1]] = value


def _spliced(text: str, values: Mapping[KeyPath, Any]) -> str:
    for path, value in values.items():
        root = compose(text, source="")
        if not isinstance(root, MappingNode):
            raise TypeError("only a mapping can be edited")
        text = _without(text, root, path) if value is REMOVED else _with(text, root, path, value)
    return text


def _with(text: str, root: MappingNode, path: KeyPath, value: Any) -> str:
    """Replace the value at a path, or add the keys that are missing on the way to it."""
    node: Node = root
    key: Node | None = None
    for depth, name in enumerate(path):
        found = child_pair(node, name)
        if found is None:
            for missing in reversed(path[depth + 1 :]):
                value = {missing: value}
            if isinstance(node, CollectionNode):
                return _inserted(text, node, name, value)
            return _replaced(text, key, node, {name: value})
        key, node = found
    return _replaced(text, key, node, value)


def _replaced(text: str, key: Node | None, node: Node, value: Any) -> str:
    start, end = node.start_mark.index, _end(text, node)
    if key is not None and _needs_lines(value):
        start = key.start_mark.index
        return text[:start] + _indented({key.value: value}, key.start_mark.column) + text[end:]
    if key is not None and not end:
        start = end = text.index(":", key.end_mark.index) + 1
        return f"{text[:start]} {flow(value)}{text[end:]}"
    if key is not None and "\n" in text[key.end_mark.index : start]:  # a block below its key goes beside it
        start = key.end_mark.index
        return f"{text[:start]}: {flow(value)}{text[end:]}"
    return f"{text[:start]}{flow(value)}{text[end:]}"


def _inserted(text: str, node: CollectionNode, name: str | int, value: Any) -> str:
    if node.flow_style:
        close = node.end_mark.index - 1
        before = text[:close].rstrip()
        comma = "" if before[-1] in "[{" else " " if before[-1] == "," else ", "
        return (
            f"{before}{comma}{flow(value) if isinstance(name, int) else f'{flow(name)}: {flow(value)}'}{text[close:]}"
        )
    end = text.find("\n", _end(text, node))
    head, tail = (text, "") if end < 0 else (text[:end], text[end:])
    column = node.value[0][0].start_mark.column if isinstance(node, MappingNode) else node.start_mark.column
    if isinstance(name, int):
        return f"{head}\n{' ' * column}- {flow(value)}{tail}"
    if _needs_lines(value):
        return f"{head}\n{' ' * column}{_indented({name: value}, column)}{tail}"
    return f"{head}\n{' ' * column}{flow(name)}: {flow(value)}{tail}"


def _needs_lines(value: Any) -> bool:
    """Return whether a value has a text of several lines."""
    if isinstance(value, Mapping):
        return any(map(_needs_lines, value.values()))
    return isinstance(value, str) and value.endswith("\n")


def _indented(value: dict[str, Any], column: int) -> str:
    return _block(value).rstrip("\n").replace("\n", f"\n{' ' * column}")


def _without(text: str, root: MappingNode, path: KeyPath) -> str:
    node: Node = root
    for name in path[:-1]:
        node = _found(node, name)[1]
    key, value = _found(node, path[-1])
    if key is None or (isinstance(node, CollectionNode) and node.flow_style):
        raise TypeError("keys in brackets are removed by writing the text anew")
    end = text.find("\n", _end(text, value))
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    return text[:start] + ("" if end < 0 else text[end + 1 :])


def _found(node: Node, name: str | int) -> tuple[Node | None, Node]:
    found = child_pair(node, name)
    if found is None:
        raise KeyError(name)
    return found


def _end(text: str, node: Node) -> int:
    """Return where a value ends, or 0 if there is none; the parser's mark of a block lies behind later comments."""
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    if not isinstance(node, CollectionNode):
        # Where there is no value, the parser's mark lies at the next key, so the own key counts.
        return start + len(text[start:end].rstrip()) if start < end else 0
    if node.flow_style or not node.value:
        return end
    last = node.value[-1]
    key, value = last if isinstance(node, MappingNode) else (last, last)
    return max(_end(text, key), _end(text, value))


def _round_trip(text: str, values: Mapping[KeyPath, Any]) -> str:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    data = yaml.load(text)
    for path, value in values.items():
        _put(data, path, _literal(value))
    written = io.StringIO()
    yaml.dump(data, written)
    return written.getvalue()
