"""Finds numbers with decimal commas, which YAML reads as two values."""

from __future__ import annotations

from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_TEXT = "tag:yaml.org,2002:str"

_Notes = list[tuple[Node, tuple[str | int, ...], str]]


def join_decimal_commas(node: MappingNode | SequenceNode) -> _Notes:
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
