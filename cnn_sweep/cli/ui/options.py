"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cnn_sweep.errors import InputError
from cnn_sweep.journal.trust import trust_everything

RESULTS: Final = Path("results")
MAX_WORKERS: Final = 4_096  # of one machine
MAX_THREADS: Final = 4_096  # of a worker, as in the spec, whose import takes longer than a command's help


class TableFormat(StrEnum):
    """Format of a table."""

    table = "table"
    csv = "csv"
    spreadsheet = "spreadsheet"
    json = "json"
    markdown = "markdown"
    latex = "latex"
    html = "html"


class LabelledSplit(StrEnum):
    """A split whose images have known classes."""

    train = "train"
    validation = "validation"
    test = "test"


Results = Annotated[
    Path,
    typer.Option(
        "--results", metavar="DIR", envvar="CNN_SWEEP_RESULTS", help="Folder of all studies and of the store."
    ),
]
SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="Sweep file.", show_default=False)]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of the study.", show_default=False)]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-n", min=1, max=MAX_WORKERS, help="Number of worker processes.", show_default="one per core"
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_THREADS,
        help="Threads per worker; fixed when the study starts.",
        show_default="those of the study, else 1",
    ),
]
Notify = Annotated[
    list[str],
    typer.Option(
        metavar="COMMAND|URL",
        help="Shell command to run, or https address to call, when the study ends.",
        show_default=False,
    ),
]
Extend = Annotated[
    bool, typer.Option("--extend", help="Add new choices or trials from the sweep file to the existing study.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Go ahead even if workers that cannot be seen from here may still train it.")
]
Set = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the sweep file, such as training.epochs=5. May be repeated.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Format = Annotated[TableFormat, typer.Option("--format", help="Output format.")]


def _trust(wanted: bool) -> bool:
    if wanted:
        trust_everything()
    return wanted


# Commands do not look at it: it holds for everything that their processes do.
Trust = Annotated[
    bool, typer.Option("--trust", callback=_trust, help="Run code that other users put, or can put, into the study.")
]

# Options of the commands that use a trained model.
Trial = Annotated[str, typer.Option("--trial", metavar="TRIAL|best", help="Number of a complete trial, or best.")]
Split = Annotated[LabelledSplit, typer.Option(help="Images to predict; test only after `finalize`.")]
Sheet = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Draw the images on a contact sheet.", show_default=False)
]

# Options of the commands that make a model of several trials.
Size = Annotated[
    int, typer.Option("--size", metavar="N", min=1, max=50, help="Members of an ensemble, counting those chosen twice.")
]
Calibrated = Annotated[
    bool, typer.Option("--calibrated", help="Scale probabilities by the temperature that `calibration` names.")
]
Refit = Annotated[
    bool, typer.Option("--refit", help="Train the configuration again, with the validation images as well.")
]


def profile_option(purpose: str) -> Any:
    """Return the option ``--profile`` of commands that work here without it, with what they do with it."""
    return typer.Option("--profile", "-p", metavar="PROFILE.toml", help=purpose, show_default=False)


def trial_number(text: str, option: str = "--trial") -> int | None:
    """Return the number given to ``--trial``, or as another argument, or None for ``best``.

    Raises:
        InputError: The text is neither a number nor ``best``.
    """
    if text == "best":
        return None
    if text.isdecimal():
        return int(text)
    raise InputError(f"{option} {text!r} is neither a number nor 'best'")


def split_names(text: str | None) -> tuple[str, ...]:
    """Split a comma-separated list, as in A,B."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()
