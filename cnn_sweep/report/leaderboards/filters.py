"""Conditions on rows of a leaderboard, as in ``val_accuracy > 0.9 and optimizer in ("adam", "sgd")``.

A condition is an expression as in sweep files (``docs/reference/expressions.md``), on values that may be missing. A row
is kept only if its condition is true; a condition on missing values is unknown.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError
from cnn_sweep.messages import point_hint
from cnn_sweep.sweep.expressions.evaluator import Evaluator
from cnn_sweep.sweep.expressions.parser import ExpressionError, parse, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LENGTH = 2_000  # characters


class FilterError(InputError):
    """The text is not a condition, or cannot be evaluated for a row."""


class Filter:
    """A condition, parsed once.

    Example:
        ``Filter("parameters < 5e4 and not missing(momentum)").accepts({"parameters": 100, "momentum": 0.9})``

    Attributes:
        text: The condition as the user wrote it.
        names: The columns in it, in order of first appearance.

    Raises:
        FilterError: The text is not a valid expression; the message says what is possible.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._tree, self.names = parse(text, "a condition", max_length=MAX_LENGTH)
        except ExpressionError as error:
            raise FilterError(str(error)) from None
        if isinstance(self._tree, ast.Tuple):
            reason = point_hint(text).removeprefix("; ") or "join two conditions with `and` or `or`"
            raise FilterError(f"{shortened(text)} is not a condition: {reason}")

    def accepts(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row meets the condition; False if that is unknown.

        Raises:
            FilterError: The condition orders values of different kinds, or is not true or false.
        """
        evaluator = Evaluator(row)
        try:
            return evaluator.truth(evaluator.value(self._tree)) is True
        except (ExpressionError, TypeError) as error:
            raise FilterError(f"{shortened(self.text)}: {error}") from None
