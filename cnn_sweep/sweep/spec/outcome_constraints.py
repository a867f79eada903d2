"""Constraints on what trials measure: ``search: {constraints: ["parameters <= 1e5", "val_recall_fox >= 0.9"]}``.

A result that violates one is *infeasible* and ranks behind all feasible ones. Unlike the section ``constraints``, which
rejects configurations before training, these are known only when a trial has trained.
"""

from __future__ import annotations

import ast
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import show
from cnn_sweep.sweep.expressions.evaluator import Evaluator
from cnn_sweep.sweep.expressions.parser import ExpressionError, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_LENGTH: Final = 1_000  # characters
MAX_CONSTRAINTS: Final = 20
_EXAMPLE: Final = "as in 'parameters <= 1e5'"


class OutcomeConstraint:
    """One constraint, parsed once, in the language of ``--where``.

    Attributes:
        text: The constraint as the user wrote it.
        names: The quantities in it, in order of first appearance.

    Raises:
        ExpressionError: The text is not a comparison of numbers by ``<=`` or ``>=``.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        tree, self.names = parse(text, "a constraint", max_length=MAX_LENGTH)
        if not isinstance(tree, ast.Compare) or len(tree.ops) != 1 or not isinstance(tree.ops[0], ast.LtE | ast.GtE):
            raise ExpressionError(f"{show(text)} must be one comparison by <= or >=, {_EXAMPLE}; list several")
        self.canonical = ast.unparse(tree)
        sides = (tree.left, tree.comparators[0])
        self._small, self._large = sides if isinstance(tree.ops[0], ast.LtE) else sides[::-1]
        bounds = [abs(self._number(side, {})) for side in sides if not _has_names(side)]
        if len(bounds) == len(sides):
            raise ExpressionError(f"{show(text)} mentions nothing that is measured, {_EXAMPLE}")
        self._scale = next((bound for bound in bounds if bound and math.isfinite(bound)), 1.0)
        self.value(dict.fromkeys(self.names, 1.0))  # texts and lists in it are found now

    def value(self, measured: Mapping[str, float | None]) -> float:
        """Return by how much a result violates the constraint, as a fraction of the bound; negative if by less.

        The bound is the side that is a number; if that is 0, or both sides are measured, the difference is not divided.
        Fractions make constraints of different units comparable (Deb, Comput. Methods Appl. Mech. Eng. 186, 2000).

        Args:
            measured: Quantities by name; None, NaN and absent ones are missing.

        Returns:
            At most 0 if the constraint is satisfied; infinity if a quantity is missing.

        Raises:
            ExpressionError: The constraint compares something else than numbers.
        """
        difference = self._number(self._small, measured) - self._number(self._large, measured)
        return math.inf if math.isnan(difference) else difference / self._scale

    def _number(self, side: ast.expr, measured: Mapping[str, float | None]) -> float:
        found: Any = Evaluator(measured).value(side)
        if found is None:
            return math.nan
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise ExpressionError(f"{show(self.text)} compares {show(found)}, which is not a number")
        return float(found)


def _has_names(side: ast.expr) -> bool:
    functions = {id(node.func) for node in ast.walk(side) if isinstance(node, ast.Call)}
    return any(isinstance(node, ast.Name) and id(node) not in functions for node in ast.walk(side))


@lru_cache(maxsize=256)
def outcome_constraints(texts: tuple[str, ...]) -> tuple[OutcomeConstraint, ...]:
    """Parse constraints, each once in a process.

    Raises:
        ExpressionError: One is invalid.
    """
    return tuple(map(OutcomeConstraint, texts))


def total_violation(values: Iterable[float]) -> float:
    """Return the sum of the constraints' values that are above 0; 0 for a feasible result."""
    return sum(max(value, 0.0) for value in values)
