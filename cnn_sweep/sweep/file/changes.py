"""Changes of a sweep file's keys before it is read: ``--set training.epochs=5``, and the same from Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from cnn_sweep.errors import InputError, Problem, SweepFileError
from cnn_sweep.messages import show
from cnn_sweep.sweep.file import yaml
from cnn_sweep.sweep.file.edits import flow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cnn_sweep.messages import KeyPath

OPTION: Final = "--set"
_EXAMPLE: Final = f"{OPTION} training.epochs=5"


@dataclass(frozen=True)
class Change:
    """A new value of one key.

    Attributes:
        key: The keys from the top of the file to the value, with dots; a number is the index of a list's item.
        value: The new value.
        source: What the change comes from, in messages.
    """

    key: str
    value: Any
    source: str

    def described(self, data: Any) -> str | None:
        """Return a line such as ``training.epochs: 10 -> 5``; None if the value is the same.

        Args:
            data: The content of the file before the change.
        """
        for key in self.key.split("."):
            if isinstance(data, list) and key.isdecimal() and int(key) < len(data):
                data = data[int(key)]
            elif isinstance(data, dict) and key in data:
                data = data[key]
            else:
                return f"{self.key}: {flow(self.value)} (new)"
        old, new = flow(data), flow(self.value)
        return None if old == new else f"{self.key}: {old} -> {new}"


def parse_changes(options: Iterable[str]) -> tuple[Change, ...]:
    """Read the values of ``--set``, each as ``key=value`` with a value in YAML.

    Raises:
        InputError: An option has no key or no value.
        SweepFileError: A value is not YAML.
    """
    return tuple(_parse(option) for option in options)


def _parse(option: str) -> Change:
    key, equals, text = option.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise InputError(f"{OPTION} {show(option)} must be key=value, as in {_EXAMPLE}")
    source = f"{OPTION} {key}"
    try:
        document, problems = yaml.read(text, source=source)
    except SweepFileError as error:
        raise SweepFileError(source, [Problem(0, "", one.message) for one in error.problems]) from None
    if problems:
        raise SweepFileError(source, [Problem(0, "", one.message) for one in problems])
    return Change(key, document.data, source)


def changes_from(values: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return changes that a Python program makes, each from a key with dots to its value."""
    return tuple(Change(key, value, f"changes[{key!r}]") for key, value in values.items())


def apply_change(root: Node | None, change: Change) -> tuple[MappingNode, KeyPath]:
    """Return a tree with a change, and the path of its key; the given tree stays as it is.

    Raises:
        SweepFileError: A key on the way to the value belongs to something without keys.
    """
    if root is None:
        root = MappingNode(yaml.MAPPING, [])
    changed, path = _with_value(root, change.key.split("."), (), change)
    if not isinstance(changed, MappingNode):
        raise _refusal(change, "the file has no keys at its top")
    return changed, path


def named_node(value: Any, source: str) -> Node:
    """Return a value as a tree whose places name its source, without lines."""
    node = yaml.compose(f"- {flow(value)}\n", source=source)
    if not isinstance(node, SequenceNode):
        raise TypeError("a list was written as something else")
    yaml.name_source(node, source, line=-1)
    found: Node = node.value[0]
    return found


def _with_value(node: Node, keys: list[str], done: KeyPath, change: Change) -> tuple[Node, KeyPath]:
    """Return a copy of a node in which one key, perhaps in a part of it, has another value; and the key's path."""
    if not keys:
        return named_node(change.value, change.source), done
    if isinstance(node, ScalarNode) and node.tag == yaml.NOTHING:
        node = MappingNode(yaml.MAPPING, [], start_mark=node.start_mark, end_mark=node.end_mark)
    if isinstance(node, SequenceNode):
        return _with_item(node, keys, done, change)
    if not isinstance(node, MappingNode):
        where = ".".join(map(str, done)) or "the file"
        raise _refusal(change, f"{where} is {node.value}, which has no keys; set {where} itself")
    key, found = keys[0], yaml.child_pair(node, keys[0])
    inner = found[1] if found else MappingNode(yaml.MAPPING, [])
    value, path = _with_value(inner, keys[1:], (*done, key), change)
    at = found[0] if found and keys[1:] else named_node(key, change.source)
    at = at if isinstance(at, ScalarNode) and at.tag == yaml.TEXT else ScalarNode(yaml.TEXT, key, at and at.start_mark)
    pairs = [pair for pair in node.value if str(pair[0].value) != key]
    places = [place for place, pair in enumerate(node.value) if str(pair[0].value) == key]
    pairs.insert(places[0] if places else len(pairs), (at, value))
    return _copy(node, pairs), path


def _with_item(node: SequenceNode, keys: list[str], done: KeyPath, change: Change) -> tuple[Node, KeyPath]:
    index = int(keys[0]) if keys[0].isdecimal() else -1
    items = list(node.value)
    if not 0 <= index <= len(items):
        where, many = ".".join(map(str, done)), len(items)
        raise _refusal(change, f"{where} is a list with the items 0 to {many - 1}, so {show(keys[0])} is none of them")
    inner = items[index] if index < len(items) else ScalarNode(yaml.NOTHING, "")
    value, path = _with_value(inner, keys[1:], (*done, index), change)
    items[index : index + 1] = [value]
    return _copy(node, items), path


def _copy(node: Any, value: list[Any]) -> Any:
    return type(node)(node.tag, value, node.start_mark, node.end_mark, flow_style=node.flow_style)


def _refusal(change: Change, message: str) -> SweepFileError:
    return SweepFileError(change.source, [Problem(0, "", message)])
