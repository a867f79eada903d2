"""``completion``: prints the script that makes a shell complete commands."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from cnn_sweep.cli.completion.scripts import script


class Shell(StrEnum):
    """A shell that can complete commands."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="Your shell.", show_default=False)],
) -> None:
    """Print the script with which Tab completes commands, options, studies and columns in a shell.

    bash: add `eval "$(cnn-sweep completion bash)"` to ~/.bashrc. zsh: add `eval "$(cnn-sweep completion zsh)"` to
    ~/.zshrc, below `autoload -U compinit; compinit`. fish: save it as ~/.config/fish/completions/cnn-sweep.fish.

    Examples:
      cnn-sweep completion bash
      cnn-sweep completion fish
    """
    sys.stdout.write(script(shell.value))
