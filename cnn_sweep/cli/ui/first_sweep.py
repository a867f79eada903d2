"""A first sweep for the user's images: shows what was found, asks a few questions, and writes the file."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from cnn_sweep.cli.ui.files import check_folder, create_text
from cnn_sweep.cli.ui.tables import print_table
from cnn_sweep.cli.ui.terminal import print_words, terminal_width
from cnn_sweep.errors import InputError, Interrupted
from cnn_sweep.first_sweep.check import check_text
from cnn_sweep.first_sweep.folders import TABLES, LabelWishes
from cnn_sweep.first_sweep.label_columns import names_labels
from cnn_sweep.first_sweep.look import NAMED, look_at
from cnn_sweep.first_sweep.proposal import TRIALS, Wishes, check_classes, image_size, propose, proposed_name
from cnn_sweep.first_sweep.sweep_text import sweep_text
from cnn_sweep.messages import few, listed, plural, show
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.shipped import example_sweeps
from cnn_sweep.sweep.identity import name_problem
from cnn_sweep.training.data.image_decoder import SUFFIXES
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnn_sweep.first_sweep.findings import Choice, Findings
    from cnn_sweep.search.plan import Plan

_CLASSES_SHOWN: Final = 12
_MANY_CLASSES: Final = 1_000
_FEW_IMAGES: Final = 5  # of a class, in the median, which suggests that folders are not classes
_SIZES: Final = (4, 1_024)  # pixels of a side
_SIZE = re.compile(r"\s*(\d{1,6})(?:\s*[xX]\s*(\d{1,6}))?\s*")
_NOTHING_WRITTEN: Final = "stopped; nothing was written"


@dataclass(frozen=True)
class Request:
    """What the user typed.

    Attributes:
        path: The images, or None.
        labels: A table, or a pattern of file names, or None.
        column: The table's column of classes, or None.
        size: Size of the images as text, or None.
        wishes: Study and budget.
        output: The file to write, or None.
        accepts: Whether to take every default without asking.
    """

    path: str | None
    labels: str | None
    column: str | None
    size: str | None
    wishes: Wishes
    output: Path | None
    accepts: bool

    @property
    def asks(self) -> bool:
        """Whether somebody is there to answer."""
        return not self.accepts and sys.stdin.isatty() and sys.stderr.isatty()


def write_first_sweep(request: Request) -> None:
    """Look at images, ask what only the user knows, and write a sweep file.

    Raises:
        InputError: The images cannot be used, or the file exists.
        Interrupted: The user ended a question with Ctrl-C or Ctrl-D.
    """
    try:
        _write_first_sweep(request)
    except typer.Abort:
        raise Interrupted(_NOTHING_WRITTEN) from None


def _write_first_sweep(request: Request) -> None:
    if request.wishes.hours is not None and not request.wishes.hours > 0:
        raise InputError(f"--hours {request.wishes.hours:g}: must be more than 0")
    if request.wishes.hours is not None and request.wishes.trials is not None:
        raise InputError("give --budget or --hours, not both")
    size = None if request.size is None else _read_size(request.size)
    wishes = replace(request.wishes, size=size)
    if wishes.study is not None:
        _check_study(wishes.study)
    if request.output is not None:
        _check_new(request.output)
    found = _found(request)
    check_classes(found)
    _show(found)
    _check_class_count(found, request)
    wishes = _asked(found, wishes, request) if request.asks else wishes
    wishes = replace(wishes, study=wishes.study or proposed_name(found.name))
    file = Path(f"{wishes.study}.yaml") if request.output is None else request.output
    _check_new(file)
    proposal = propose(found, wishes)
    text = sweep_text(proposal, title=found.what, folder=file.parent)
    plan = check_text(text, file)
    for warning in proposal.warnings:
        print_words(f"Note: {warning}.", stderr=True)
    create_text(file, text)
    _say_what_next(file, plan, str(wishes.study))


def _found(request: Request) -> Findings:
    """Return what the user's images are; ask for them, and for how to read their classes, if there is a choice."""
    wishes = _label_wishes(request.labels, request.column)
    if request.path:
        path = request.path
        found = look_at(path, wishes)
    elif request.asks:
        path, found = _ask_images(wishes)
    else:
        raise InputError(
            f"name your images, as in cnn-sweep init photos: a folder, a table of labels, arrays (.npz, .npy, .rds), "
            f"or {listed(NAMED)}; or copy an example with --example NAME; valid: {listed(example_sweeps())}"
        )
    if len(found.choices) < 2:
        return found
    if request.asks:
        chosen = _ask_choice(found.choices)
        return found if chosen == found.choices[0] else look_at(path, _with_choice(wishes, chosen))
    option = "--labels" if "{class}" in found.choices[0].name else "--label-column"
    others = "; ".join(f"{option} {shlex.quote(one.name)} ({few(one.classes, 3)})" for one in found.choices[1:])
    if option == "--label-column" and not names_labels(found.choices[0].name):
        raise InputError(
            f"{path}: no column's name says that it holds the classes; name it: {option} "
            f"{shlex.quote(found.choices[0].name)} ({few(found.choices[0].classes, 3)}); {others}"
        )
    note = f"the classes are read from {found.choices[0].name!r}; they could also be: {others}"
    return replace(found, notes=(*found.notes, note))


def _label_wishes(labels: str | None, column: str | None) -> LabelWishes:
    """Return what ``--labels`` and ``--label-column`` say.

    Raises:
        InputError: The text is neither a table nor a pattern.
    """
    if labels is None:
        return LabelWishes(column=column)
    if "{class}" in labels:
        return LabelWishes(pattern=labels)
    path = path_in(Path(), labels)
    if path.is_file() and path.suffix.lower() in TABLES:
        return LabelWishes(table=path, column=column)
    reason = "no such file" if not path.exists() else f"not a table ({listed(TABLES)})"
    raise InputError(
        f"--labels {labels!r}: {reason}; name a table, or a pattern of file names with {{class}} in it, such as "
        "'{class}_{number}.jpg'"
    )


def _with_choice(wishes: LabelWishes, chosen: Choice) -> LabelWishes:
    if "{class}" in chosen.name:
        return replace(wishes, pattern=chosen.name)
    return replace(wishes, column=chosen.name)


def _ask_images(wishes: LabelWishes) -> tuple[str, Findings]:
    """Ask where the images are until there are some."""
    here = _has_images(Path())
    while True:
        path = str(
            typer.prompt(
                f"Your images: a folder, a table, arrays, or {listed(NAMED)}",
                default="." if here else "digits",
                err=True,
            )
        ).strip()
        try:
            return path, look_at(path, wishes)
        except InputError as error:
            print(f"{error}", file=sys.stderr)


def _has_images(folder: Path) -> bool:
    """Return whether a folder or one just inside it has an image; nothing deeper is read, which might take long."""
    inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    with contextlib.suppress(OSError):
        return any(name.lower().endswith(SUFFIXES) for one in (folder, *inside) for name in os.listdir(one))  # noqa: PTH208 - names only
    return False


def _ask_choice(choices: tuple[Choice, ...]) -> Choice:
    print("The classes can be read in several ways:", file=sys.stderr)
    for number, one in enumerate(choices, start=1):
        print(f"  {number}  {one.name}: {few(one.classes, 4)}", file=sys.stderr)
    numbers = [str(number) for number in range(1, len(choices) + 1)]
    return choices[int(_ask("Which one", "1", lambda text: _one_of(text, numbers))) - 1]


def _asked(found: Findings, wishes: Wishes, request: Request) -> Wishes:
    """Return the wishes with answers to the questions that no option has answered."""
    if wishes.size is None and found.data["source"] in ("folder", "files"):
        height, width = image_size(found, None)[0]
        text = _ask("Size of the images in pixels, height x width", f"{height}x{width}", _checked_size)
        if text != f"{height}x{width}":
            wishes = replace(wishes, size=_read_size(text))
    if wishes.trials is None and wishes.hours is None:
        wishes = replace(wishes, trials=int(_ask("How many configurations to try", str(TRIALS), _checked_trials)))
    if wishes.study is None:
        check = _checked_study if request.output is not None else _checked_new_study
        wishes = replace(wishes, study=_ask("Name of the study", proposed_name(found.name), check))
    return wishes


def _ask(question: str, default: str, check: Callable[[str], str]) -> str:
    """Ask until the answer is valid; Enter takes the default."""
    return str(typer.prompt(question, default=default, value_proc=check, err=True))


def _checked(check: Callable[[str], object], text: str) -> str:
    """Return a valid answer; an invalid one is asked for again."""
    try:
        check(text.strip())
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    return text.strip()


def _checked_size(text: str) -> str:
    return _checked(_read_size, text)


def _checked_trials(text: str) -> str:
    return _checked(_read_trials, text)


def _checked_study(text: str) -> str:
    return _checked(_check_study, text)


def _checked_new_study(text: str) -> str:
    _checked(_check_study, text)
    return _checked(lambda name: _check_new(Path(f"{name}.yaml")), text)


def _one_of(text: str, valid: list[str]) -> str:
    if text.strip() not in valid:
        raise typer.BadParameter(f"{show(text)} is none of {listed(valid)}")
    return text.strip()


def _read_size(text: str) -> tuple[int, int]:
    match, (least, most) = _SIZE.fullmatch(text), _SIZES
    sides = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(least <= side <= most for side in sides):
        raise InputError(
            f"--size {show(text)} is not a number of pixels, such as 96, or height x width, such as 96x128; each "
            f"from {least} to {most}"
        )
    return sides


def _read_trials(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise InputError(f"{show(text)} is not a number of configurations from 1 to 1000000")
    return int(text)


def _check_study(name: str) -> None:
    if (problem := name_problem(name)) is not None:
        raise InputError(problem)


def _check_new(file: Path) -> None:
    check_folder(file)
    if file.is_dir():
        raise InputError(f"{file} is a folder; name the file to write, such as --output {file / 'sweep.yaml'}")
    if os.path.lexists(file):
        raise InputError(f"{file} exists already and is not replaced; give another name with --output FILE")


def _show(found: Findings) -> None:
    """Print what was found: the images, each class, and remarks."""
    look = found.look
    pixels = f"{look.height} x {look.width} pixels" + (" in the median" if look.smallest != look.largest else "")
    print_words(f"Found {found.what}; {pixels}, {'grey' if look.is_grey else 'colour'}.")
    classes = list(found.counts.items())
    if len(classes) <= _CLASSES_SHOWN:
        print_table(Table(("class", "images"), tuple({"class": name, "images": count} for name, count in classes)))
    else:
        counts = sorted(found.counts.values())
        range_ = f"{counts[0]:,} to {counts[-1]:,}" if counts[0] < counts[-1] else f"{counts[0]:,}"
        print_words(
            f"{len(classes):,} classes, each with {range_} images; {statistics.median(counts):g} in the median."
        )
    if found.sets:
        print_words("Also: " + ", ".join(f"{count:,} {name}" for name, count in found.sets.items()) + " images.")
    sys.stdout.flush()  # before the notes, in a pipe too
    if look.unreadable:
        print_words(
            f"Note: {len(look.unreadable)} of {look.sampled} files looked at cannot be read as images: "
            f"{few(look.unreadable, 3)}. `cnn-sweep data prepare` lists all such files and leaves them out.",
            stderr=True,
        )
    for note in found.notes:
        print_words(f"Note: {note}.", stderr=True)


def _check_class_count(found: Findings, request: Request) -> None:
    """Ask, or refuse, if there are so many classes of so few images that folders may not be classes."""
    counts = [count for count in found.counts.values() if count]
    typical = statistics.median(counts)
    if len(counts) <= _MANY_CLASSES and (typical >= _FEW_IMAGES or len(counts) <= _CLASSES_SHOWN):
        return
    why = (
        f"{len(counts):,} classes with {typical:g} images each (median) may be a mistake: folders or labels that are "
        "individuals, dates or sites rather than classes"
    )
    if request.asks:
        if not typer.confirm(f"{why}. Are they classes?", err=True, default=False):
            raise InputError(f"{_NOTHING_WRITTEN}; put the images of each class into one folder")
    elif not request.accepts:
        raise InputError(f"{why}. If they are classes, add --yes")


def _say_what_next(file: Path, plan: Plan, study: str) -> None:
    name = shlex.quote(str(file))
    trials = plural(len(plan.trials), "trial") if plan.trials else "trials"
    steps = [
        (f"cnn-sweep plan {name}", f"show the {trials}; nothing is trained"),
        (f"cnn-sweep data prepare {name}", "decode and check all images"),
        (f"cnn-sweep run {name}", "train on this machine"),
    ]
    if shutil.which("sbatch"):
        steps += [
            ("cnn-sweep profile detect --output profile.toml", "or describe this cluster, once,"),
            (f"cnn-sweep submit {name} --profile profile.toml", "and train on it"),
        ]
    steps.append((f"cnn-sweep leaderboard {shlex.quote(study)}", "the best trials"))
    width = max(len(command) for command, _ in steps)
    fits = max(width + len(purpose) for _, purpose in steps) + 4 <= (terminal_width() or 80)
    print(f"\nWrote {file}, with a reason beside each value. Next:", file=sys.stderr)
    for command, purpose in steps:
        print(f"  {command:{width}}  {purpose}" if fits else f"  {command}\n      {purpose}", file=sys.stderr)
