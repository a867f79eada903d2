"""Numbers with a decimal comma, which ends a value between brackets: ``{low: 0,01}`` has a key ``01`` without one."""

from __future__ import annotations

from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_TEXT = "tag:yaml.org,2002:str"

Told = list[tuple[Node, tuple[str | int, ...], str]]


def join_decimals(node: MappingNode | SequenceNode) -> Told:
    """Join what decimal commas parted in a mapping or list between brackets, so that no other mistake follows from it.

    Args:
        node: Changed in place.

    Returns:
        Each number, its key or place in the list, and what is wrong with it.
    """
    told: Told = []
    node.value = _of_mapping(node.value, told) if isinstance(node, MappingNode) else _of_list(node.value, told)
    return told


def _of_mapping(pairs: list[tuple[Node, Node]], told: Told) -> list[tuple[Node, Node]]:
    joined: list[tuple[Node, Node]] = []
    for key, value in pairs:
        before = joined[-1][1] if joined else None
        ends_in_digit = isinstance(before, ScalarNode) and before.style is None and before.value[-1:].isdecimal()
        if before is not None and ends_in_digit and _is_number(key) and value.value == "" and _is_tight(before, key):
            last = joined[-1][0]
            joined[-1] = last, _join(before, key, (str(last.value),), told)
        else:
            joined.append((key, value))
    return joined


def _of_list(items: list[Node], told: Told) -> list[Node]:
    joined: list[Node] = []
    for item in items:
        before = joined[-1] if joined else None
        if before is not None and _is_fraction(before, item):
            joined[-1] = _join(before, item, (len(joined) - 1,), told)
        else:
            joined.append(item)
    return joined


def _join(whole: Node, fraction: Node, place: tuple[str | int, ...], told: Told) -> ScalarNode:
    number = f"{whole.value}.{fraction.value}"
    comma = f"{whole.value},{fraction.value}"
    told.append((whole, place, f"{comma} is read as two values; write a decimal point: {number}"))
    tag = _NUMBERS[1] if _is_number(whole) else _TEXT
    return ScalarNode(tag, number, whole.start_mark, fraction.end_mark)


def _is_number(node: Any) -> bool:
    return isinstance(node, ScalarNode) and node.style is None and node.tag in _NUMBERS


def _is_tight(one: Node, other: Node) -> bool:
    """Return whether nothing but a comma is between two items."""
    return bool(one.end_mark.index + 1 == other.start_mark.index)


def _is_fraction(before: Node, item: Node) -> bool:
    """Return whether an item follows a decimal comma; that ``[0,5]`` is meant as 0.5 cannot be told."""
    if not (_is_number(before) and _is_number(item) and _is_tight(before, item)) or "." in before.value:
        return False
    return len(item.value) > 1 and item.value[0] == "0" and item.value.isdecimal()
