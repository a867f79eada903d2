"""``schema``: prints the JSON Schema with which editors complete and check sweep files and profiles."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cnn_sweep.shipped import schemas


class Kind(StrEnum):
    """A kind of file that users write."""

    sweep = "sweep"
    profile = "profile"


def schema(
    kind: Annotated[Kind, typer.Argument(help="Kind of file.")] = Kind.sweep,
    path: Annotated[bool, typer.Option("--path", help="Print the path of the schema's file.")] = False,
) -> None:
    """Print the JSON Schema of sweep files or profiles, with which editors complete keys and mark mistakes.

    The first line of a sweep file names it: # yaml-language-server: $schema=PATH

    Examples:
      cnn-sweep schema sweep --path
      cnn-sweep schema profile
    """
    file = schemas()[kind]
    print(file if path else file.read_text(encoding="utf-8"), end="\n" if path else "")
