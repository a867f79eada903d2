"""What a sweep file means together with what is added to it: included files, changes, and the rows of a table."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml.nodes import MappingNode

from cnn_sweep.errors import InputError, Problem, SweepFileError
from cnn_sweep.sweep.file import yaml
from cnn_sweep.sweep.file.changes import Change, apply_change
from cnn_sweep.sweep.file.edits import REMOVED, with_values
from cnn_sweep.sweep.file.includes import KEY, with_included
from cnn_sweep.sweep.file.table_section import table_text
from cnn_sweep.sweep.file.used_parameters import used_parameters
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ruamel.yaml.nodes import Node

    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.file.yaml import Document


@dataclass
class Composition:
    """The content of a sweep file, and how its text must change to have the same content alone.

    Attributes:
        text: The file's own text.
        source: Name of the file in messages.
        root: The content, with the place of each value.
        edits: New value of each path that differs from the text; None for the value in the content.
        problems: Problems that do not affect the rest.
        changed: A line for each change, such as ``training.epochs: 10 -> 5``.
    """

    text: str
    source: str
    root: Node | None
    edits: dict[KeyPath, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def document(self) -> Document:
        """Return the content; problems with it are added to the others."""
        document, found = yaml.as_document(self.root, source=self.source)
        self.problems += found
        return document

    def change(self, change: Change) -> None:
        """Change a key."""
        if (line := change.described(yaml.as_document(self.root, source=self.source)[0].data)) is not None:
            self.changed.append(line)
        self.root, path = apply_change(self.root, change)
        self.edits = {other: value for other, value in self.edits.items() if other[: len(path)] != path}
        self.edits[path] = None

    def remove_parameter(self, name: str, space: tuple[Node | None, Node], pairs: list[tuple[Node, Node]]) -> None:
        """Remove a hyperparameter from the space.

        Args:
            name: The hyperparameter.
            space: Key and value of the space.
            pairs: Those of the other hyperparameters.
        """
        inner = yaml.with_pairs(space[1], pairs)
        top = self.root.value if isinstance(self.root, MappingNode) else []
        self.root = yaml.with_pairs(self.root, [(key, inner if key is space[0] else value) for key, value in top])
        self.edits = {path: value for path, value in self.edits.items() if path[:2] != ("space", name)}
        if self.has_text("space", name):
            self.edits["space", name] = REMOVED
        self.changed.append(f"space.{name}: removed, since nothing uses it any more")

    def has_text(self, *keys: str) -> bool:
        """Return whether the file's own text has a value at a path of keys."""
        node = yaml.compose(self.text, source=self.source)
        for key in keys:
            found = yaml.child_pair(node, key) if node is not None else None
            if found is None:
                return False
            node = found[1]
        return True

    def whole_text(self, data: Any) -> str:
        """Return the text with all that was added to it.

        Args:
            data: The whole content.
        """
        if not self.edits:
            return self.text
        values = {path: _value(data, path) if value is None else value for path, value in self.edits.items()}
        return with_values(self.text, values, expected=data)


def compose(
    text: str, *, source: str, folder: Path, changes: Sequence[Change] = (), is_new: bool = False
) -> Composition:
    """Read a sweep file's text and what is added to it.

    Args:
        text: The file's own text.
        source: Its name in messages.
        folder: Its folder.
        changes: Changes of keys, the last of which count.
        is_new: As for `yaml.compose`.

    Raises:
        SweepFileError: A text is not YAML, an included file cannot be read, or a change has no place.
    """
    composed = Composition(text, source, yaml.compose(text, source=source, is_new=is_new))
    for change in changes:
        if change.key == KEY:
            composed.change(change)
    _include(composed, folder)
    used = used_parameters(yaml.as_document(composed.root, source=source)[0].data) if changes else set()
    for change in changes:
        if change.key != KEY:
            composed.change(change)
    _remove_replaced(composed, used)
    _inline_table(composed, folder)
    return composed


def _remove_replaced(composed: Composition, used_before: set[str]) -> None:
    """Remove the hyperparameters whose last reference was replaced by a change, unless something else names them.

    Args:
        composed: The content with all changes.
        used_before: The hyperparameters that had an effect before the changes.
    """
    if not used_before:
        return
    data = yaml.as_document(composed.root, source=composed.source)[0].data
    others = repr([data.get("constraints"), data.get("search")])
    for name in sorted(used_before - used_parameters(data)):
        space = yaml.child_pair(composed.root, "space") if composed.root else None
        if space is None or not isinstance(space[1], MappingNode) or re.search(rf"\b{name}\b", others):
            continue
        pairs = [pair for pair in space[1].value if str(pair[0].value) != name]
        if len(pairs) < len(space[1].value):
            composed.remove_parameter(name, space, pairs)


def _inline_table(composed: Composition, folder: Path) -> None:
    """Put the rows of a table in the place of its file's name, so that a study does not need the file."""
    root = composed.root
    search = yaml.child_pair(root, "search") if root else None
    method, file = (yaml.child_pair(search[1], key) for key in ("method", "file")) if search else (None, None)
    if (
        not isinstance(root, MappingNode)
        or search is None
        or method is None
        or file is None
        or method[1].value != "table"
    ):
        return
    if yaml.child_pair(search[1], "rows") is not None or not isinstance(file[1].value, str):
        return  # reported when the section is read
    try:
        path = path_in(folder, file[1].value)
        text = table_text(path)
    except InputError as error:
        line, name = file[1].start_mark.line + 1, yaml.source_of(file[1])
        raise SweepFileError(composed.source, [Problem(line, "search.file", str(error), name)]) from error
    rows = yaml.text_node(text, str(path))
    key = yaml.text_node("rows", str(path))
    inner = yaml.with_pairs(search[1], [(key, rows) if pair[0] is file[0] else pair for pair in search[1].value])
    pairs = [(pair[0], inner) if pair[0] is search[0] else pair for pair in root.value]
    composed.root = yaml.with_pairs(root, pairs)
    composed.edits = {place: value for place, value in composed.edits.items() if place[0] != "search"}
    composed.edits["search",] = None


def _include(composed: Composition, folder: Path) -> None:
    own = ((folder / Path(composed.source).name).resolve(), composed.source)
    included = with_included(composed.root, source=composed.source, folder=folder, chain=(own,))
    composed.problems += included.problems
    composed.edits |= included.edits
    composed.root = included.root
    if composed.edits.get((KEY,)) is REMOVED and not composed.has_text(KEY):
        del composed.edits[KEY,]


def _value(data: Any, path: KeyPath) -> Any:
    for key in path:
        data = data[key]
    return data
