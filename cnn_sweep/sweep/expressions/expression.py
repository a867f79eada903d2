"""Arithmetic on hyperparameters: ``$filters * 2`` in a layer, ``filters <= 32`` as a constraint."""

from __future__ import annotations

import ast
import keyword
import math
import re
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.sweep.expressions.evaluator import Evaluator
from cnn_sweep.sweep.expressions.parser import CONSTANTS, FUNCTIONS, ExpressionError, parse
from cnn_sweep.validation import LARGEST, is_truth_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_LENGTH = 1_000  # characters
_MEMO_SIZE = 20_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_CONSTANTS: Final = {**CONSTANTS, "None": None}
# Functions added later reserve no names, because hyperparameters in older sweep files may have them.
RESERVED: Final = frozenset({*FUNCTIONS, *_CONSTANTS, "index", *keyword.kwlist} - {"log10", "like", "missing"})


class Absent:
    """The value of an expression in which a parameter is inactive."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = Absent()


def truth(value: Any) -> bool:
    """Return whether a condition holds; numbers other than 0 are true, None is false.

    Raises:
        ExpressionError: The value is a text or a list, which Python would treat as true.
    """
    if is_truth_word(value):
        raise ExpressionError(
            f"{value!r} is text, not a truth value; write true or false without quotes, or compare it: == {value!r}"
        )
    if isinstance(value, str | list | tuple):
        raise ExpressionError(f"{value!r} is neither true nor false; compare it with something, as in == {value!r}")
    return bool(value)


def is_name(text: str) -> bool:
    """Return whether a text can name a hyperparameter."""
    return _NAME.fullmatch(text) is not None and text not in RESERVED


class _AbsentError(Exception):
    """An inactive parameter is needed."""


class _Evaluator(Evaluator):
    """Evaluates expressions for a configuration as Python does, except that text is not a condition."""

    null = None
    missing = ABSENT

    def named(self, name: str) -> Any:
        value = self.row[name]
        if value is ABSENT:
            raise _AbsentError
        return value

    def truth(self, value: Any) -> bool:
        return truth(value)

    def joined(self, parts: Sequence[ast.expr], *, decides: bool) -> Any:
        for part in parts[:-1]:
            value = self.value(part)
            if truth(value) is decides:
                return value
        return self.value(parts[-1])

    def calculated(self, how: Callable[..., Any], *values: Any) -> Any:
        return how(*values)

    def equal(self, left: Any, right: Any) -> bool | None:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, bool) and is_truth_word(other):
                never = f"{other!r} is text, which never equals {str(one).lower()}"
                raise ExpressionError(f"{never}; compare it with a text")
        return super().equal(left, right)

    def at(self, group: Any, index: Any) -> Any:
        return group[index]

    def is_missing(self, node: ast.expr) -> bool:
        try:
            self.value(node)
        except _AbsentError:
            return True
        return False


class Expression:
    """An expression over hyperparameters, compiled once.

    Attributes:
        text: The expression as the user wrote it.
        tree: The parsed expression.
        names: The parameters in it, in order of first appearance.

    Raises:
        ExpressionError: The text is not a valid expression.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree, self.names = parse(text, "an expression", max_length=MAX_LENGTH, constants=_CONSTANTS)
        self._memo: dict[tuple[Any, ...], Any] = {}

    def __reduce__(self) -> tuple[type[Expression], tuple[str]]:
        return Expression, (self.text,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.canonical == self.canonical

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    @property
    def canonical(self) -> str:
        """The expression as text, independent of spaces and redundant brackets."""
        return ast.unparse(self.tree)

    def evaluate(self, params: Mapping[str, Any]) -> Any:
        """Return the value, or ``ABSENT`` if it depends on an inactive parameter.

        Parts that are not evaluated may be inactive: the other elements of ``[$a, $b][$index]``, the other branch of an
        ``if``, and the operands after the one that decides an ``and`` or ``or``.

        Raises:
            ExpressionError: There is no value, as after a division by zero.
        """
        values = [params.get(name, ABSENT) for name in self.names]
        key = tuple((type(value), value) for value in values)
        try:
            if key in self._memo:
                return self._memo[key]
        except TypeError:  # lists are not hashable
            return self._compute(values)
        result = self._compute(values)
        if len(self._memo) < _MEMO_SIZE:
            self._memo[key] = result
        return result

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Return whether the expression holds as a condition; one on an inactive parameter does.

        Raises:
            ExpressionError: There is no value, or it is not a truth value.
        """
        if not all(name in params for name in self.names):
            return True
        try:
            return truth(self.evaluate(params))
        except ExpressionError as error:
            if error.text:
                raise
            raise ExpressionError(f"{self.text!r} is not a condition: {error}", text=self.text) from error

    def _compute(self, values: list[Any]) -> Any:
        names = dict(zip(self.names, values, strict=True))
        given = ", ".join(f"{name}={value!r}" for name, value in names.items() if value is not ABSENT)
        try:
            value = _Evaluator(names).value(self.tree)
        except _AbsentError:
            return ABSENT
        except (ExpressionError, ArithmeticError, TypeError, ValueError, LookupError) as error:
            reason = f"{self.text!r} has no value with {given or 'these numbers'}: {error}"
            raise ExpressionError(reason, text=self.text) from error
        if type(value) is int and abs(value) > LARGEST:
            raise ExpressionError(f"{self.text!r} is too large with {given}", text=self.text)
        if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
            reason = f"{self.text!r} is {value} with {given}, which is not a finite number"
            raise ExpressionError(reason, text=self.text)
        return value
