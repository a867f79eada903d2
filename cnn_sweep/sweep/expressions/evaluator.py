"""Evaluates expressions: arithmetic, comparisons, functions, and their results for missing values."""

from __future__ import annotations

import ast
import fnmatch
import math
import operator
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import show
from cnn_sweep.sweep.expressions.parser import ExpressionError
from cnn_sweep.sweep.identity import NULL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_BASE = 1e6
MAX_EXPONENT = 64
MAX_DIGITS = 400  # of round(); floats end below 1e309
_MAX_BITS = 1024  # bits of a whole number; floats end just below 2**1024


def _power(base: Any, exponent: Any) -> Any:
    if abs(base) > MAX_BASE or abs(exponent) > MAX_EXPONENT:
        limits = f"base up to {MAX_BASE:g}, exponent to {MAX_EXPONENT}"
        raise ExpressionError(f"{show(base)} ** {show(exponent)} is too large ({limits})")
    return base**exponent


def _of_numbers(sign: str, done: str, calculate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return an operator that takes only numbers: Python's ``*`` would repeat text, and its ``%`` format it."""

    def calculated(left: Any, right: Any) -> Any:
        if not isinstance(left, int | float) or not isinstance(right, int | float):
            raise ExpressionError(f"{show(left)} {sign} {show(right)}: only numbers can be {done}")
        return calculate(left, right)

    return calculated


def _rounded(value: Any, digits: Any = None) -> Any:
    if digits is not None and abs(digits) > MAX_DIGITS:  # Python would calculate 10 to the power of a million
        raise ExpressionError(f"round() to {show(digits)} digits; it takes -{MAX_DIGITS} to {MAX_DIGITS}")
    return round(value, digits)


_ARITHMETIC: Final[Mapping[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _of_numbers("*", "multiplied", operator.mul),
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: _of_numbers("%", "divided", operator.mod),
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_ORDERS: Final[Mapping[type[ast.AST], tuple[str, Callable[[Any, Any], bool]]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "round": _rounded,
    "int": int,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "log2": math.log2,
    "log10": math.log10,
}


class Evaluator:
    """Evaluates expressions for a row of a table, in which None is a missing value and ``NULL`` the value ``null``.

    Arithmetic on a missing value gives a missing value, and a condition on it is unknown, also None (Kleene's
    three-valued logic, as in SQL).

    Attributes:
        null: The value of ``null``.
        missing: The value that stands for a missing one.
    """

    null: Any = NULL
    missing: Any = None

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row

    def value(self, node: ast.expr) -> Any:
        """Evaluate a node, without the parts on which its value does not depend.

        Raises:
            ExpressionError: An operation does not accept values of these kinds.
        """
        found: Any
        match node:
            case ast.Constant(value=constant):
                found = self.null if constant is None else constant
            case ast.Name(id=name):
                found = self.named(name)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                found = [self.value(item) for item in items]
            case ast.Subscript(value=group, slice=index):
                found = self._element(group, self.value(index))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                holds = self.truth(self.value(test))
                found = self.missing if holds is None else self.value(body if holds else orelse)
            case ast.BoolOp(op=join, values=parts):
                found = self.joined(parts, decides=isinstance(join, ast.Or))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                found = _opposite(self.truth(self.value(operand)))
            case ast.UnaryOp(op=sign, operand=operand):
                found = self.calculated(_ARITHMETIC[type(sign)], self.value(operand))
            case ast.BinOp(left=left, op=sign, right=right):
                found = self.calculated(_ARITHMETIC[type(sign)], self.value(left), self.value(right))
            case ast.Compare(left=left, ops=signs, comparators=others):
                found = self._chain(left, signs, others)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                found = self._call(function, arguments)
        return found

    def named(self, name: str) -> Any:
        """Return the value of a column or parameter."""
        return self.row.get(name)

    def truth(self, value: Any) -> bool | None:
        """Return whether a value is true; None if that is unknown."""
        if value is None or isinstance(value, bool):
            return value
        raise ExpressionError(f"{value!r} is a value where a condition should be; compare it, as in `epochs > 5`")

    def joined(self, parts: Sequence[ast.expr], *, decides: bool) -> Any:
        """Evaluate ``and`` or ``or``; the first condition equal to ``decides`` (False or True) decides."""
        verdict: bool | None = not decides
        for part in parts:
            found = self.truth(self.value(part))
            if found is decides:
                return decides
            verdict = None if found is None else verdict
        return verdict

    def calculated(self, how: Callable[..., Any], *values: Any) -> Any:
        """Calculate with numbers; a result that is not finite, as after a division by zero, is missing."""
        numbers = values[0] if how in {min, max} and len(values) == 1 and isinstance(values[0], list) else values
        if any(number is None or number is NULL for number in numbers):
            return None
        for number in numbers:
            if not isinstance(number, int | float):
                raise ExpressionError(f"{number!r} is not a number")
        try:
            result = how(*values)
        except ExpressionError:
            raise
        except (ArithmeticError, ValueError):
            return None
        return result if _is_usable(result, numbers) else None

    def equal(self, left: Any, right: Any) -> bool | None:
        """Return whether two values are equal."""
        return None if left is self.missing or right is self.missing else bool(left == right)

    def at(self, group: Any, index: Any) -> Any:
        """Return an element of a list, or a character of a text; missing if there is none."""
        if group is None or index is None:
            return None
        if not isinstance(group, list | str) or not isinstance(index, int):
            raise ExpressionError(f"{group!r} has no element {index!r}; only lists and texts do, from 0")
        return group[index] if -len(group) <= index < len(group) else None

    def is_missing(self, node: ast.expr) -> bool:
        """Return whether a node has no value."""
        return self.value(node) is None

    def _element(self, group: ast.expr, index: Any) -> Any:
        if not isinstance(group, ast.List | ast.Tuple):
            return self.at(self.value(group), index)
        found = self.at(group.elts, index)
        return self.value(found) if isinstance(found, ast.expr) else found  # the other elements are not evaluated

    def _chain(self, left: ast.expr, signs: Sequence[ast.cmpop], others: Sequence[ast.expr]) -> bool | None:
        one, verdict = self.value(left), bool(signs) or None
        for sign, right in zip(signs, others, strict=True):
            other = self.value(right)
            found = self._compared(one, sign, other)
            if found is False:
                return False
            one, verdict = other, None if found is None else verdict
        return verdict

    def _compared(self, one: Any, sign: ast.cmpop, other: Any) -> bool | None:
        match sign:
            case ast.Eq():
                return self.equal(one, other)
            case ast.NotEq():
                return _opposite(self.equal(one, other))
            case ast.In():
                return self._within(one, other)
            case ast.NotIn():
                return _opposite(self._within(one, other))
        return self._ordered(one, *_ORDERS[type(sign)], other)

    def _within(self, member: Any, group: Any) -> bool | None:
        if member is self.missing or group is self.missing:
            return None
        if isinstance(group, str) and isinstance(member, str):  # "ad" in optimizer
            return member in group
        if not isinstance(group, list):
            raise ExpressionError(f"{group!r} is not a list, so it cannot contain {member!r}")
        unknown = any(one is self.missing for one in group)
        return member in group or (None if unknown else False)

    def _ordered(self, one: Any, symbol: str, order: Callable[[Any, Any], bool], other: Any) -> bool | None:
        if any(value is self.missing or value is NULL for value in (one, other)):
            return None
        if not any(isinstance(one, kind) and isinstance(other, kind) for kind in (int | float, str, list)):
            raise ExpressionError(f"{one!r} {symbol} {other!r}: only two numbers or two texts have an order")
        return order(one, other)

    def _call(self, function: str, arguments: Sequence[ast.expr]) -> Any:
        if function == "missing":
            return self.is_missing(arguments[0])
        values = [self.value(argument) for argument in arguments]
        if function != "like":
            return self.calculated(_FUNCTIONS[function], *values)
        text, pattern = values
        if not isinstance(pattern, str) and pattern is not self.missing:
            raise ExpressionError(f"like() takes a column and a pattern such as 'ad*', not {pattern!r}")
        unknown = text is self.missing or pattern is self.missing
        return None if unknown else fnmatch.fnmatchcase(str(text), pattern)


def _opposite(verdict: Any) -> bool | None:
    return None if verdict is None else not verdict


def _is_usable(result: Any, numbers: Sequence[Any]) -> bool:
    """Return whether a result is real and not too large; it may be NaN or infinite only if the data are."""
    if isinstance(result, complex) or (isinstance(result, int) and result.bit_length() > _MAX_BITS):
        return False
    return not isinstance(result, float) or math.isfinite(result) or not all(map(math.isfinite, numbers))
