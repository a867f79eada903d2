"""``init``: writes a sweep file to start from."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.ui.first_sweep import Request, write_first_sweep
from cnn_sweep.cli.ui.tables import print_table
from cnn_sweep.errors import InputError
from cnn_sweep.first_sweep.proposal import Wishes
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.shipped import copy_example, describe_example, example_sweeps, images_of_example, make_images

_Images = Annotated[
    str | None,
    typer.Argument(
        metavar="PATH",
        help="Your images: a folder, a table of labels, or arrays (.npz, .npy, .rds); or digits, mnist and the like.",
        show_default=False,
    ),
]
_Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write.", show_default="STUDY.yaml")
]
_Study = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the study.", show_default="that of the images")
]
_Size = Annotated[
    str | None,
    typer.Option(metavar="N|HxW", help="Pixels of an image in training.", show_default="theirs, at most 128"),
]
_Budget = Annotated[
    int | None,
    typer.Option(metavar="TRIALS", min=1, max=1_000_000, help="Number of configurations to try.", show_default="30"),
]
_Hours = Annotated[
    float | None, typer.Option(metavar="H", help="Hours of training, in place of --budget.", show_default=False)
]
_Labels = Annotated[
    str | None,
    typer.Option(metavar="TABLE|PATTERN", help="Where the classes are: a table, or file names.", show_default=False),
]
_LabelColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="The table's column of classes.", show_default=False)
]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Accept every proposal without questions.")]
_Example = Annotated[
    str | None, typer.Option("--example", "-e", metavar="EXAMPLE", help="Example to copy instead.", show_default=False)
]
_List = Annotated[bool, typer.Option("--list", help="List the examples.")]
_MakeImages = Annotated[
    bool, typer.Option("--images/--no-images", help="Also make stand-ins for the example's images.")
]


def init(
    context: typer.Context,
    path: _Images = None,
    output: _Output = None,
    study: _Study = None,
    size: _Size = None,
    budget: _Budget = None,
    hours: _Hours = None,
    labels: _Labels = None,
    label_column: _LabelColumn = None,
    yes: _Yes = False,
    example: _Example = None,
    list_examples: _List = False,
    images: _MakeImages = True,
) -> None:
    """Write a sweep file to start from: for your own images, or a copy of one of the examples.

    It looks at your images, asks a few questions on a terminal, and gives a reason for each value in the file.

    Examples:
      cnn-sweep init photos
      cnn-sweep init photos --budget 50 --size 96 --yes
      cnn-sweep init photos --labels '{class}_{number}.jpg'
      cnn-sweep init labels.csv --label-column species
      cnn-sweep init --list
      cnn-sweep init --example digits
    """
    if list_examples:
        print_table(Table(("example", "content"), tuple(_row(name) for name in example_sweeps())))
    elif example is None:
        write_first_sweep(Request(path, labels, label_column, size, Wishes(study, None, budget, hours), output, yes))
    else:
        if unused := _given(context, besides=("example", "output", "images")):
            raise InputError(f"--example copies a whole sweep file, so it does not go with {', '.join(unused)}")
        _copy_example(example, output, images)


def _given(context: typer.Context, *, besides: Collection[str]) -> list[str]:
    """Return the arguments and options that the user typed, besides some."""
    return [
        param.metavar if param.param_type_name == "argument" and param.metavar else param.opts[0]
        for param in context.command.params
        if param.name not in besides
        and (source := context.get_parameter_source(param.name or "")) is not None
        and source.name == "COMMANDLINE"
    ]


def _copy_example(example: str, output: Path | None, images: bool) -> None:
    file = Path(f"{example}.yaml") if output is None else output
    copy_example(example, file)
    print(f"the sweep of the example {example!r} is in {file}", file=sys.stderr)
    if images_of_example(example):
        _provide_images(example, file, images)
    print(f"next: cnn-sweep plan {file}", file=sys.stderr)


def _row(name: str) -> dict[str, str]:
    return {"example": name, "content": describe_example(name)}


def _provide_images(example: str, file: Path, wanted: bool) -> None:
    if not wanted:
        print("no images were made; put the paths of yours under `data`", file=sys.stderr)
        return
    print("looking for its images, and making stand-ins for those that are missing …", file=sys.stderr)
    made, kept = make_images(example, file.parent)
    for folder in made:
        print(f"stand-ins are in {folder}: cuts of two photographs, so results on them mean nothing", file=sys.stderr)
    for folder in kept:
        print(f"{folder} exists already and is left as it is", file=sys.stderr)
