"""The problems of one sweep file, each with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import MAX_SHOWN, Problem, SweepFileError
from cnn_sweep.messages import dotted, listed, show, unknown
from cnn_sweep.validation import Spec, file_keys, validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.file.yaml import Document
    from cnn_sweep.validation import InvalidValue


class Problems:
    """The problems found so far in one file."""

    def __init__(self, document: Document, source: str, found: Iterable[Problem] = ()) -> None:
        self._document = document
        self._source = source
        self._header: int | None = None
        self._problems = dict.fromkeys(found)

    def __len__(self) -> int:
        return len(self._problems)

    @property
    def found(self) -> tuple[Problem, ...]:
        """The problems so far."""
        return tuple(self._problems)

    def has(self, path: KeyPath) -> bool:
        """Return whether the file has a value with this path."""
        return self._document.locate(path).path == path

    def add(self, path: KeyPath, message: str) -> None:
        """Add a problem at the value with this path, or at the nearest value in the file."""
        if self._header is not None and path[:1] == ("space",):
            self.add_in_table(self._header, dotted(path[1:]) or "header", message)
            return
        place = self._document.locate(path)
        self._problems[
            Problem(place.line, dotted(place.path) or ("file" if place.line else ""), message, place.source)
        ] = None

    def add_unknown(self, path: KeyPath, what: str, name: Any, choices: Sequence[Any], hint: str = "") -> None:
        """Add the problem that a name is not among the valid ones; after 50 problems, without what may be meant.

        Args:
            path: Path of keys to the name.
            what: What is named, such as ``"key"``.
            name: The name.
            choices: The valid names.
            hint: More words for the end of the message.
        """
        if len(self) < MAX_SHOWN:
            self.add(path, unknown(what, name, choices) + hint)
        else:
            self.add(path, f"unknown {what} {show(name)}")

    def show_space_in_table(self, header: int) -> None:
        """From now on, report problems of the space at the header of the table that stands for it.

        Args:
            header: Line of the header in the table.
        """
        self._header = header

    def add_in_table(self, line: int, column: str, message: str) -> None:
        """Add a problem at a line of the table of configurations."""
        place = self._document.locate(("search", "rows", line))
        self._problems[Problem(place.line, column, message, place.source)] = None

    def table_place(self, line: int) -> str:
        """Return the file and the line for a line of the table of configurations."""
        place = self._document.locate(("search", "rows", line))
        return f"{place.source or self._source}:{place.line}"

    def line(self, path: KeyPath) -> int:
        """Return the 1-based line of the value with this path, or of the nearest value; 0 if it is in no file."""
        if self._header is not None and path[:1] == ("space",):
            return 0
        return self._document.locate(path).line

    def mapping(self, value: Any, path: KeyPath, keys: Sequence[str]) -> Mapping[str, Any]:
        """Return a mapping's valid keys; other keys, and other values than a mapping, become problems.

        Args:
            value: The value in the file.
            path: Path of keys to it.
            keys: The valid keys.
        """
        if not isinstance(value, dict):
            self.add(path, f"must be a mapping with the keys {listed(keys)}, not {show(value)}")
            return {}
        for key in value:
            if key not in keys:
                self.add_unknown((*path, key), "key", key, keys)
        return {key: value[key] for key in value if key in keys}

    def raise_any(self) -> None:
        """Raise an error if there are problems.

        Raises:
            SweepFileError: There are problems; the error lists all of them.
        """
        if self._problems:
            raise SweepFileError(self._source, self.found)


def add_invalid_values(invalid: Iterable[InvalidValue], path: KeyPath, problems: Problems) -> None:
    """Add invalid values as problems; a missing key is reported at the mapping that should have it."""
    for one in invalid:
        place = (*path, *one.path)
        problems.add(place[:-1] if one.kind == "missing" else place, str(one))


def validate_section(model: type[Spec], value: Any, path: KeyPath, problems: Problems) -> Any:
    """Return a section without references as a model; if it is invalid, add problems and return None."""
    if not isinstance(value, dict):
        problems.add(path, f"must be a mapping with the keys {listed(file_keys(model))}, not {show(value)}")
        return None
    spec, invalid = validate(model, value)
    add_invalid_values(invalid, path, problems)
    return spec
