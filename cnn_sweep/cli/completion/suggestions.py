"""What can come next on a command line that somebody is typing.

A shell asks at each press of Tab, so nothing slow is imported here, and a damaged study has no suggestions instead of
an error. Options come from ``commands.json``, which ``make completion`` writes from the commands themselves.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.journal.paths import archived_studies, existing_studies
from cnn_sweep.shipped import example_sweeps
from cnn_sweep.store.column_names import leaderboard_columns, trial_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TABLE: Final = Path(__file__).with_name("commands.json")
_LAST_NAME: Final = re.compile(r"[A-Za-z0-9_.]*\Z")
_OF_THE_PROGRAM: Final = {"--help": "Show the help and exit.", "--version": "Show the version and exit."}
# Values by the word that a help shows for them. Other words, such as N, have no suggestions.
_FILES: Final = {"FILE", "PATH", "IMAGE", "DEST", "STORAGE"}
_FOLDERS: Final = {"DIR", "FOLDER"}
_COLUMNS: Final = {"COLUMN", "COLUMNS", "CONDITION"}


@dataclass(frozen=True)
class Suggestions:
    """What a shell should offer.

    Attributes:
        values: Whole words and a line about each.
        kind: ``values``, or ``files`` or ``folders``, which the shell completes by itself, after the values.
        ending: With ``files``, how the names of fitting files end; empty if all fit.
        goes_on: Whether a word goes on after a suggestion, so that no space follows.
    """

    values: dict[str, str]
    kind: str = "values"
    ending: str = ""
    goes_on: bool = False

    def lines(self) -> list[str]:
        """Return the form that the shells' scripts read: a line that says how to complete, then one for each value."""
        how = self.ending or ("nospace" if self.goes_on else "")
        return [f"{self.kind} {how}".rstrip(), *(f"{value}\t{line}" for value, line in self.values.items())]


@dataclass(frozen=True)
class _Typed:
    """The words of a command before the one that is being typed.

    Attributes:
        arguments: Its arguments.
        options: Its options and their values.
        open: The option whose value is being typed, or None.
        only_arguments: Whether ``--`` was typed, after which no word is an option.
    """

    arguments: Sequence[str]
    options: Mapping[str, str]
    open: str | None
    only_arguments: bool


def suggestions(words: Sequence[str], commands: Mapping[str, str]) -> Suggestions:
    """Return what can come next.

    Args:
        words: The words after the program's name; the last one is being typed and may be empty.
        commands: The program's commands and their lines.
    """
    *before, last = words or [""]
    if not before:
        return _beginning_with(last, _OF_THE_PROGRAM if last.startswith("-") else commands)
    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    name, rest = before[0], before[1:]
    members = {key.split()[1]: row["help"] for key, row in table.items() if key.startswith(f"{name} ")}
    if members and not rest:
        return _beginning_with(last, members)
    if members:
        name, rest = f"{name} {rest[0]}", rest[1:]
    return _within(table[name], rest, last) if name in table else Suggestions({})


def _within(command: Mapping[str, Any], before: Sequence[str], last: str) -> Suggestions:
    """Return what can come next in a command."""
    options, arguments = command["options"], command["arguments"]
    typed = _read(options, before)
    if typed.open is not None:
        return _values(options[typed.open]["value"], last, typed)
    name, equals, value = last.partition("=")
    if not typed.only_arguments and equals and name in options:
        found = _values(options[name]["value"], value, typed)
        return replace(found, values={f"{name}={one}": line for one, line in found.values.items()})
    place = len(typed.arguments)
    if arguments and place >= len(arguments) and arguments[-1].endswith("..."):
        place = len(arguments) - 1
    if place < len(arguments) and (typed.only_arguments or not last.startswith("-")):
        return _values(arguments[place], last, typed)
    unused = {one: row["help"] for one, row in options.items() if "repeats" in row or one not in typed.options}
    return _beginning_with(last, unused)


def _read(options: Mapping[str, Any], words: Sequence[str]) -> _Typed:
    """Split words into arguments and options as the command itself will."""
    long = {row["short"]: name for name, row in options.items() if "short" in row}
    arguments: list[str] = []
    given: dict[str, str] = {}
    open_option: str | None = None
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        name = long.get(name, name)
        if open_option is not None:
            given[open_option], open_option = word, None
        elif word == "--":
            return _Typed([*arguments, *words[place + 1 :]], given, None, only_arguments=True)
        elif name in options:
            given[name] = value
            open_option = name if options[name]["value"] and not equals else None
        elif not word.startswith("-"):
            arguments.append(word)
    return _Typed(arguments, given, open_option, only_arguments=False)


def _values(word: str, last: str, typed: _Typed) -> Suggestions:
    """Return the values for which a help shows a word, such as ``STUDY``."""
    word = word.removesuffix("...")
    kinds = word.split("|")
    if word in _COLUMNS:
        return _columns(word, last, typed)
    found = _beginning_with(last, _plain(name for kind in kinds for name in _names(kind, typed)))
    endings = {kind.rpartition(".")[2] for kind in kinds if "." in kind}
    if endings or _FILES.intersection(kinds):
        return replace(found, kind="files", ending=f".{endings.pop()}" if len(endings) == 1 else "")
    if _FOLDERS.intersection(kinds):
        return Suggestions({}, "folders")
    # In a list such as TRIAL|best, words in capitals stand for values; the others are values.
    listed = (one for one in word.split("|") if one and not one.isupper())
    return replace(found, values=found.values | _beginning_with(last, _plain(listed)).values)


def _names(kind: str, typed: _Typed) -> Iterable[str]:
    """Return the names of the things of a kind, such as ``STUDY``; none for other kinds."""
    results = _results(typed)
    if kind == "STUDY":
        return [name for name in existing_studies(results) if name not in typed.arguments]
    if kind == "ARCHIVE":
        return archived_studies(results)
    if kind == "EXAMPLE":
        return example_sweeps()
    if kind == "TRIAL":
        return trial_numbers(results, typed.arguments[0]) if typed.arguments else ()
    return ()


def _results(typed: _Typed) -> Path:
    text = typed.options.get("--results") or os.environ.get("CNN_SWEEP_RESULTS") or "results"
    return Path(text).expanduser()


def _columns(word: str, last: str, typed: _Typed) -> Suggestions:
    """Return the columns of studies' leaderboards; lists and conditions go on after one."""
    names = dict.fromkeys(name for study in typed.arguments for name in leaderboard_columns(_results(typed), study))
    if word == "COLUMN":  # -COLUMN sorts in descending order
        begin = last[: last.startswith("-")]
    elif word == "COLUMNS":
        begin = last[: last.rfind(",") + 1]
        names = {name: None for name in names if name not in begin.split(",")}
    else:
        begin = _LAST_NAME.sub("", last, count=1)
    found = _beginning_with(last, _plain(f"{begin}{name}" for name in names))
    return replace(found, goes_on=word != "COLUMN")


def _beginning_with(last: str, values: Mapping[str, str]) -> Suggestions:
    return Suggestions({value: line for value, line in values.items() if value.startswith(last)})


def _plain(values: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(values, "")
