"""Arithmetic on hyperparameters: ``$filters * 2`` in a layer, ``filters <= 32`` as a constraint."""

from __future__ import annotations

import ast
import keyword
import math
import re
import warnings
from typing import TYPE_CHECKING, Any, Final

from simpleeval import EvalWithCompoundTypes, InvalidExpression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_LENGTH = 1_000  # characters
MAX_BASE = 1e6
MAX_EXPONENT = 64
_MEMO_SIZE = 20_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SINGLE_EQUALS = re.compile(r"[^=!<>]=[^=]")
REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


class ExpressionError(ValueError):
    """The text is no expression, or it has no value for these parameters.

    Attributes:
        text: The expression, where it is known.
    """

    def __init__(self, message: str, *, text: str = "") -> None:
        self.text = text
        super().__init__(message)


class Absent:
    """The value of an expression in which a parameter is inactive."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = Absent()


def _power(base: Any, exponent: Any) -> Any:
    if abs(base) > MAX_BASE or abs(exponent) > MAX_EXPONENT:
        raise ExpressionError(
            f"{base} ** {exponent} is too large (base up to {MAX_BASE:g}, exponent to {MAX_EXPONENT})"
        )
    return base**exponent


def _times(left: Any, right: Any) -> Any:
    # Python would repeat text and lists.
    if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
        raise ExpressionError(f"{left!r} * {right!r}: only numbers can be multiplied")
    return left * right


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "int": int,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "log2": math.log2,
}
RESERVED: Final = frozenset({*FUNCTIONS, "index", *keyword.kwlist})

_NODES: Final = (
    ast.Expression,
    ast.Constant,
    ast.Name,
    ast.Load,
    ast.UnaryOp,
    ast.UAdd,
    ast.USub,
    ast.Not,
    ast.BinOp,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.Pow,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.Compare,
    ast.Eq,
    ast.NotEq,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
    ast.In,
    ast.NotIn,
    ast.IfExp,
    ast.List,
    ast.Tuple,
    ast.Subscript,
    ast.Call,
    ast.keyword,
)


def is_name(text: str) -> bool:
    """Tell whether a text can name a hyperparameter."""
    return _NAME.fullmatch(text) is not None and text not in RESERVED


class Expression:
    """An expression over hyperparameters, compiled once.

    Attributes:
        text: As the user wrote it.
        names: The parameters in it, in the order of their first appearance.

    Raises:
        ExpressionError: The text is no expression, or uses what is not possible in one.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._tree = _parse(text)
        _check_functions(self._tree)
        called = {id(node.func) for node in ast.walk(self._tree) if isinstance(node, ast.Call)}
        names = [n for n in ast.walk(self._tree) if isinstance(n, ast.Name) and id(n) not in called]
        names.sort(key=lambda node: (node.lineno, node.col_offset))
        self.names: tuple[str, ...] = tuple(dict.fromkeys(node.id for node in names))
        self._evaluator = EvalWithCompoundTypes(functions=dict(FUNCTIONS))
        self._evaluator.operators[ast.Pow] = _power
        self._evaluator.operators[ast.Mult] = _times
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
        """The same text however it was spaced and bracketed."""
        return ast.unparse(self._tree)

    def evaluate(self, params: Mapping[str, Any]) -> Any:
        """Work out the value, or ``ABSENT`` where a parameter of it is inactive.

        Raises:
            ExpressionError: There is no value, such as after a division by zero.
        """
        try:
            values = [params[name] for name in self.names]
        except KeyError:
            return ABSENT
        key = tuple((type(value), value) for value in values)
        try:
            if key in self._memo:
                return self._memo[key]
        except TypeError:  # lists cannot be looked up
            return self._compute(values)
        result = self._compute(values)
        if len(self._memo) < _MEMO_SIZE:
            self._memo[key] = result
        return result

    def _compute(self, values: list[Any]) -> Any:
        names = dict(zip(self.names, values, strict=True))
        self._evaluator.names = names
        given = ", ".join(f"{name}={value!r}" for name, value in names.items())
        try:
            value = self._evaluator.eval(self.text, previously_parsed=self._tree.body)
        except (
            ExpressionError,
            InvalidExpression,
            ArithmeticError,
            TypeError,
            ValueError,
            LookupError,
        ) as error:
            reason = f"{self.text!r} has no value with {given or 'these numbers'}: {error}"
            raise ExpressionError(reason, text=self.text) from error
        if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
            reason = f"{self.text!r} is {value} with {given}, which is not a finite number"
            raise ExpressionError(reason, text=self.text)
        return list(value) if isinstance(value, tuple) else value


def _parse(text: str) -> ast.Expression:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression can have {MAX_LENGTH:,} characters, this one has {len(text):,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as of `1if a else 2`
            tree = ast.parse(REFERENCE.sub(r"\1", text).strip(), mode="eval")
    except (SyntaxError, Warning, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or str(error) or "nested too deeply"
        reason += "; write == to compare" if _SINGLE_EQUALS.search(text) else ""
        raise ExpressionError(f"{text!r} is not an expression: {reason}") from None
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            raise ExpressionError(
                f"{text!r}: {_describe(node)} is not possible in an expression; possible are numbers, text, "
                f"parameters, + - * / // % **, comparisons, and, or, not, in, if-else, {', '.join(FUNCTIONS)}"
            )
    return tree


def _describe(node: ast.AST) -> str:
    try:
        return repr(ast.unparse(node))
    except (AttributeError, ValueError):
        return type(node).__name__


def _check_functions(tree: ast.Expression) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name not in FUNCTIONS:
            raise ExpressionError(f"unknown function {name!r}; possible are: {', '.join(FUNCTIONS)}")
        if node.keywords:
            raise ExpressionError(f"{name}: arguments are given by position")
