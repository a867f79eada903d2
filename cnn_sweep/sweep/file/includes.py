"""``include``: keys of other files, which count where the sweep file itself does not have them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from cnn_sweep.errors import InputError, Problem, SweepFileError
from cnn_sweep.messages import show
from cnn_sweep.sweep.file import yaml
from cnn_sweep.sweep.file.edits import REMOVED
from cnn_sweep.sweep.file.text_file import read_text
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.messages import KeyPath

KEY: Final = "include"
_RULE: Final = "must be the name of a file or a list of names, such as include: common.yaml"


@dataclass
class Included:
    """The content of a file and of those that it includes.

    Attributes:
        root: The content, with the place of each value.
        edits: Paths that the file's own text lacks, each with None, and the key that it has too much.
        problems: Problems in included files that do not affect the rest, such as repeated keys.
    """

    root: Node | None
    edits: dict[KeyPath, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def with_included(
    root: Node | None, *, source: str, folder: Path, chain: tuple[tuple[Path, str], ...] = ()
) -> Included:
    """Add the keys of included files to a file's own.

    Mappings are merged key by key; a list or a value replaces another. Of several files, the last one counts.

    Args:
        root: The file's own content.
        source: Its name in messages.
        folder: Its folder, where the names of included files start.
        chain: The files that include it, each as its path and its name in messages.

    Raises:
        SweepFileError: A file cannot be read, is not a mapping, or includes itself.
    """
    found = yaml.child_pair(root, KEY) if isinstance(root, MappingNode) else None
    if found is None or not isinstance(root, MappingNode):
        return Included(root)
    own = [pair for pair in root.value if pair[0] is not found[0]]
    result = Included(yaml.with_pairs(root, own), {(KEY,): REMOVED})
    for node in reversed(_names(found[1], source)):
        other = _read(node, source=source, folder=folder, chain=chain)
        result.problems += other.problems
        if isinstance(result.root, MappingNode) and isinstance(other.root, MappingNode):
            result.root = _merged(result.root, other.root, (), result.edits)
    return result


def _names(node: Node, source: str) -> list[ScalarNode]:
    """Return the names of the included files."""
    nodes = node.value if isinstance(node, SequenceNode) else [node]
    for one in nodes:
        if not isinstance(one, ScalarNode) or one.tag != yaml.TEXT or not one.value.strip():
            raise _problem(one, source, _RULE)
    return list(nodes)


def _read(node: ScalarNode, *, source: str, folder: Path, chain: tuple[tuple[Path, str], ...]) -> Included:
    try:
        path = path_in(folder, node.value)
    except InputError as error:
        raise _problem(node, source, str(error)) from error
    name, real = str(path), path.resolve()
    if real in [one for one, _ in chain]:
        names = [shown for one, shown in chain[[one for one, _ in chain].index(real) :]]
        raise _problem(node, source, f"the files include each other: {' -> '.join([*names, name])}")
    try:
        text = read_text(path)
    except SweepFileError as error:
        raise _problem(node, source, f"{name}: {error.problems[0].message}") from error
    root = yaml.compose(text, source=name, is_new=True)
    if root is not None and not isinstance(root, MappingNode):
        raise SweepFileError(name, [Problem(1, "file", "must be a mapping with sections of a sweep file")])
    if root is not None:
        yaml.name_source(root, name)
    _, problems = yaml.as_document(root, source=name)
    inner = with_included(root, source=name, folder=path.parent, chain=(*chain, (real, name)))
    inner.problems += problems
    return inner


def _merged(own: MappingNode, other: MappingNode, path: KeyPath, missing: dict[KeyPath, Any]) -> MappingNode:
    """Add the keys that only the other mapping has, and list their paths."""
    pairs = list(own.value)
    for key, value in {str(key.value): (key, value) for key, value in yaml.merged_pairs(other)}.values():
        name = str(key.value)
        found = yaml.child_pair(own, name)
        if found is None:
            pairs.append((key, value))
            missing[*path, name] = None
        elif isinstance(found[1], MappingNode) and isinstance(value, MappingNode):
            inner = _merged(found[1], value, (*path, name), missing)
            place = [at for at, _ in pairs].index(found[0]) if found[0] in [at for at, _ in pairs] else len(pairs)
            pairs[place : place + 1] = [(found[0], inner)]
    return yaml.with_pairs(own, pairs)


def _problem(node: Node, source: str, message: str) -> SweepFileError:
    shown = message if message is not _RULE else f"{_RULE}, not {show(node.value)}"
    return SweepFileError(source, [Problem(node.start_mark.line + 1, KEY, shown, yaml.source_of(node))])
