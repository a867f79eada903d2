"""Conditions on rows, as in ``val_accuracy > 0.9 and optimizer in ("adam", "sgd")``: a small language of its own.

It is written like Python and read with Python's grammar, but never run: each construct that the language has becomes
a closure, any other is refused. A value that a row does not have is *missing*, and conditions on it are neither true
nor false but unknown, as in SQL (three-valued logic of Kleene); a row is kept if its condition is true.
"""

from __future__ import annotations

import ast
import fnmatch
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

from cnn_sweep.errors import InputError
from cnn_sweep.messages import point_hint
from cnn_sweep.sweep.identity import NULL

MAX_LENGTH = 2_000  # characters
MAX_BASE = 1e6
MAX_EXPONENT = 64
_MAX_BITS = 1024  # of a whole number: those of the greatest float

Row = Mapping[str, Any]
Term = Callable[[Row], Any]

_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_ORDER: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SYMBOLS: Final = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_FUNCTIONS: Final = ("abs", "like", "log10", "missing")
_WORDS: Final = {"true": True, "false": False, "null": NULL}
_POSSIBLE = (
    "possible are columns, numbers, text in quotes, lists, + - * / // % **, comparisons, in, not in, and, or, not, "
    + ", ".join(f"{name}()" for name in _FUNCTIONS)
)
# Text in quotes is passed over; a column whose name is no word stands between backquotes.
_BACKQUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|`([^`]+)`""")
_SINGLE_EQUALS = re.compile(r"[^=!<>]=[^=]")


class FilterError(InputError):
    """The text is no condition, or a row has no answer to it."""


class Filter:
    """A condition, compiled once.

    Example:
        ``Filter("parameters < 5e4 and not missing(momentum)").accepts({"parameters": 100, "momentum": 0.9})``

    Attributes:
        text: As the user wrote it.
        names: The columns in it, in the order of their first appearance.

    Raises:
        FilterError: The text is not in the language; the message says what is possible.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._quoted: dict[str, str] = {}
        self._names: dict[str, None] = {}
        try:
            self._term = self._compile(self._parse())
        except RecursionError:
            raise FilterError(f"{_short(text)} is nested too deeply") from None
        self.names = tuple(self._names)

    def accepts(self, row: Row) -> bool:
        """Tell whether a row meets the condition; where that is unknown, it does not.

        Raises:
            FilterError: Values of different kinds were to be ordered, or the condition is a value.
        """
        try:
            return _truth(self._term(row)) is True
        except FilterError as error:
            raise FilterError(f"{_short(self.text)}: {error}") from None
        except RecursionError:
            raise FilterError(f"{_short(self.text)} is nested too deeply") from None

    def _parse(self) -> ast.expr:
        if len(self.text) > MAX_LENGTH:
            raise FilterError(f"a condition can have {MAX_LENGTH:,} characters, this one has {len(self.text):,}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # such as of `1if a else 2`
                parsed = ast.parse(_BACKQUOTED.sub(self._name_quoted, self.text).strip(), mode="eval").body
        except (SyntaxError, Warning, ValueError, MemoryError) as error:
            reason = getattr(error, "msg", None) or str(error) or "nested too deeply"
            reason = point_hint(self.text).removeprefix("; ") or reason
            reason += "; write == to compare" if _SINGLE_EQUALS.search(self.text) else ""
            raise FilterError(f"{_short(self.text)} is not a condition: {reason}") from None
        if isinstance(parsed, ast.Tuple):
            reason = point_hint(self.text).removeprefix("; ") or "join two conditions with `and` or `or`"
            raise FilterError(f"{_short(self.text)} is not a condition: {reason}")
        return parsed

    def _name_quoted(self, match: re.Match[str]) -> str:
        """Put a word for a column between backquotes."""
        if match[1]:
            return match[1]
        word = f"quoted_column_{len(self._quoted)}_"
        self._quoted[word] = match[2]
        return word

    def _compile(self, node: ast.expr) -> Term:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                term: Term = lambda _: value  # noqa: E731 - as short as the other cases
            case ast.Name(id=word):
                term = self._name(word)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                term = self._list(elements)
            case ast.BoolOp(op=op, values=values):
                term = _all([*map(self._compile, values)], decides=isinstance(op, ast.Or))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                term = _not(self._compile(operand))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                term = _signed(self._compile(operand), -1 if isinstance(sign, ast.USub) else 1)
            case ast.BinOp(left=left, op=how, right=right) if type(how) in _ARITHMETIC:
                term = _calculated(self._compile(left), _ARITHMETIC[type(how)], self._compile(right))
            case ast.Compare():
                term = self._comparison(node)
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
                term = self._call(function, arguments)
            case _:
                raise FilterError(f"{_short(self.text)}: {_shown(node)} is not possible in a condition; {_POSSIBLE}")
        return term

    def _name(self, word: str) -> Term:
        if word in _WORDS and word not in self._quoted:
            value = _WORDS[word]
            return lambda _: value
        name = self._quoted.get(word, word)
        self._names[name] = None
        return lambda row: row.get(name)

    def _list(self, elements: list[ast.expr]) -> Term:
        terms = [*map(self._compile, elements)]
        return lambda row: [term(row) for term in terms]

    def _comparison(self, node: ast.Compare) -> Term:
        terms = [*map(self._compile, (node.left, *node.comparators))]
        pairs = zip(terms, node.ops, terms[1:], strict=False)  # a < b < c is a < b and b < c
        return _all([_compared(left, how, right) for left, how, right in pairs], decides=False)

    def _call(self, function: str, arguments: list[ast.expr]) -> Term:
        if function not in _FUNCTIONS:
            names = ", ".join(f"{name}()" for name in _FUNCTIONS)
            raise FilterError(f"{_short(self.text)}: unknown function {function!r}; possible are: {names}")
        terms = [*map(self._compile, arguments)]
        wanted = 2 if function == "like" else 1
        if len(terms) != wanted:
            raise FilterError(f"{_short(self.text)}: {function}() takes {wanted} values, not {len(terms)}")
        match function:
            case "missing":
                return lambda row: terms[0](row) is None
            case "like":
                return _like(*terms)
            case "abs":
                return _calculated(terms[0], lambda value, _: abs(value), lambda _: 0)
        return _calculated(terms[0], lambda value, _: math.log10(value), lambda _: 0)


def _truth(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise FilterError(f"{value!r} is a value where a condition should be, such as `{value!r} > 0`")


def _all(terms: list[Term], *, decides: bool) -> Term:
    """Join conditions; one that is ``decides`` decides: True for ``or``, False for ``and``."""

    def joined(row: Row) -> bool | None:
        verdict: bool | None = not decides
        for term in terms:
            found = _truth(term(row))
            if found is decides:
                return decides
            verdict = None if found is None else verdict
        return verdict

    return terms[0] if len(terms) == 1 else joined


def _not(term: Term) -> Term:
    def negated(row: Row) -> bool | None:
        found = _truth(term(row))
        return None if found is None else not found

    return negated


def _signed(term: Term, sign: int) -> Term:
    return _calculated(lambda _: sign, operator.mul, term)


def _calculated(left: Term, how: Callable[[Any, Any], Any], right: Term) -> Term:
    """Calculate with numbers; what has no finite value (a division by zero) is missing."""

    def value(row: Row) -> Any:
        numbers = left(row), right(row)
        if any(number is None or number is NULL for number in numbers):
            return None
        for number in numbers:
            if not isinstance(number, int | float):
                raise FilterError(f"{number!r} is no number to calculate with")
        if how is operator.pow and (abs(numbers[0]) > MAX_BASE or abs(numbers[1]) > MAX_EXPONENT):
            limits = f"base up to {MAX_BASE:g}, exponent to {MAX_EXPONENT}"
            raise FilterError(f"{numbers[0]} ** {numbers[1]} is too large ({limits})")
        try:
            result = how(*numbers)
        except (ArithmeticError, ValueError):
            return None
        return result if _is_usable(result, numbers) else None

    return value


def _is_usable(result: Any, numbers: tuple[Any, Any]) -> bool:
    """Tell whether a result is a number that is not beyond all bounds; NaN and infinities of the data stay."""
    if isinstance(result, complex) or (isinstance(result, int) and result.bit_length() > _MAX_BITS):
        return False
    return not isinstance(result, float) or math.isfinite(result) or not all(map(math.isfinite, numbers))


def _compared(left: Term, how: ast.cmpop, right: Term) -> Term:
    match how:
        case ast.Eq() | ast.NotEq():
            return _equal(left, right, wanted=isinstance(how, ast.Eq))
        case ast.In() | ast.NotIn():
            return _within(left, right, wanted=isinstance(how, ast.In))
        case _ if type(how) in _ORDER:
            return _ordered(left, right, _ORDER[type(how)], _SYMBOLS[type(how)])
    raise FilterError(f"`is` is not possible in a condition; {_POSSIBLE}")


def _equal(left: Term, right: Term, *, wanted: bool) -> Term:
    def verdict(row: Row) -> bool | None:
        one, other = left(row), right(row)
        return None if one is None or other is None else (one == other) is wanted

    return verdict


def _within(left: Term, right: Term, *, wanted: bool) -> Term:
    def verdict(row: Row) -> bool | None:
        member, group = left(row), right(row)
        if member is None or group is None:
            return None
        if isinstance(group, str) and isinstance(member, str):  # "ad" in optimizer
            return (member in group) is wanted
        if not isinstance(group, list):
            raise FilterError(f"{group!r} is no list to look for {member!r} in")
        if member in group:
            return wanted
        return None if None in group else not wanted

    return verdict


def _ordered(left: Term, right: Term, order: Callable[[Any, Any], bool], symbol: str) -> Term:
    def verdict(row: Row) -> bool | None:
        one, other = left(row), right(row)
        if one is None or other is None or one is NULL or other is NULL:
            return None
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        if not numbers and not (isinstance(one, str) and isinstance(other, str)):
            raise FilterError(f"{one!r} {symbol} {other!r}: only two numbers or two texts have an order")
        return order(one, other)

    return verdict


def _like(left: Term, right: Term) -> Term:
    """Match a text with a pattern of a shell: ``*`` is any text, ``?`` any character."""

    def verdict(row: Row) -> bool | None:
        text, pattern = left(row), right(row)
        if not isinstance(pattern, str | None):
            raise FilterError(f"like() takes a column and a pattern such as 'ad*', not {pattern!r}")
        return None if text is None or pattern is None else fnmatch.fnmatchcase(str(text), pattern)

    return verdict


def _shown(node: ast.AST) -> str:
    try:
        return _short(ast.unparse(node))
    except (AttributeError, ValueError, RecursionError):
        return type(node).__name__


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:97]}...")
