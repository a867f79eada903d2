"""``init``: writes a sweep file to start from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cnn_sweep.cli.ui.tables import print_table
from cnn_sweep.errors import InputError
from cnn_sweep.messages import listed
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.shipped import copy_example, describe_example, example_sweeps, images_of_example, make_images


def init(
    example: Annotated[
        str | None, typer.Option("--example", "-e", metavar="NAME", help="Example to copy.", show_default=False)
    ] = None,
    list_examples: Annotated[bool, typer.Option("--list", help="List the examples.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write.", show_default="NAME.yaml")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Also make stand-ins for the example's images.")
    ] = True,
) -> None:
    """Write a sweep file to start from: a copy of one of the examples, with stand-ins for its images.

    Examples:
      cnn-sweep init --list
      cnn-sweep init --example digits
    """
    if list_examples:
        print_table(Table(("example", "content"), tuple(_row(name) for name in example_sweeps())))
        return
    if example is None:
        raise InputError(f"name an example with --example NAME; valid: {listed(example_sweeps())}")
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
