"""Arithmetic on hyperparameters: ``$filters * 2`` in a layer, ``filters <= 32`` as a constraint."""

from __future__ import annotations

import ast
import keyword
import math
import re
import warnings
from typing import TYPE_CHECKING, Any, Final

from simpleeval import EvalWithCompoundTypes, InvalidExpression

from cnn_sweep.messages import point_hint
from cnn_sweep.validation import LARGEST, is_truth_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


MAX_LENGTH = 1_000  # characters
MAX_BASE = 1e6
MAX_EXPONENT = 64
MAX_DEPTH = 100  # brackets and operators inside each other
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


def truth(value: Any) -> bool:
    """Return whether a condition holds: a truth value, a number other than 0, or nothing.

    Raises:
        ExpressionError: The value is a text or a list, which Python takes for true.
    """
    if is_truth_word(value):
        raise ExpressionError(
            f"{value!r} is text, not a truth value; write true or false without quotes, or compare it: == {value!r}"
        )
    if isinstance(value, str | list | tuple):
        raise ExpressionError(f"{value!r} is neither true nor false; compare it with something, as in == {value!r}")
    return bool(value)


def _equal(left: Any, right: Any) -> bool:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, bool) and is_truth_word(other):
            raise ExpressionError(f"{other!r} is text, which never equals {str(one).lower()}; compare it with a text")
    return bool(left == right)


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
_CONSTANTS: Final = {"true": True, "false": False, "null": None}  # as YAML writes them
RESERVED: Final = frozenset({*FUNCTIONS, *_CONSTANTS, "index", *keyword.kwlist})
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


class _AbsentError(Exception):
    """An inactive parameter is needed."""


class _Evaluator(EvalWithCompoundTypes):  # type: ignore[misc]
    """Evaluates what a value depends on and no more: the rest may mention inactive parameters."""

    def __init__(self) -> None:
        super().__init__(functions=dict(FUNCTIONS))
        self.operators |= {ast.Pow: _power, ast.Mult: _times, ast.Not: lambda value: not truth(value)}
        self.operators |= {ast.Eq: _equal, ast.NotEq: lambda left, right: not _equal(left, right)}
        self.nodes |= {ast.Name: self._name, ast.Subscript: self._element}
        self.nodes |= {ast.IfExp: self._choice, ast.BoolOp: self._joined}

    def _name(self, node: ast.Name) -> Any:
        value = self.names[node.id]
        if value is ABSENT:
            raise _AbsentError
        return value

    def _element(self, node: ast.Subscript) -> Any:
        if not isinstance(node.value, ast.List | ast.Tuple):
            return self._eval_subscript(node)
        return self._eval(node.value.elts[self._eval(node.slice)])

    def _choice(self, node: ast.IfExp) -> Any:
        return self._eval(node.body if truth(self._eval(node.test)) else node.orelse)

    def _joined(self, node: ast.BoolOp) -> Any:
        decides = isinstance(node.op, ast.Or)
        for part in node.values[:-1]:
            value = self._eval(part)
            if truth(value) is decides:
                return value
        return self._eval(node.values[-1])


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
        self._evaluator = _Evaluator()
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
        """Work out the value, or ``ABSENT`` where it depends on an inactive parameter.

        Parts that are not needed do not count: the other elements of ``[$a, $b][$index]``, the other branch of an
        ``if``, and what follows in an ``and`` or ``or`` that is decided.

        Raises:
            ExpressionError: There is no value, such as after a division by zero.
        """
        values = [params.get(name, ABSENT) for name in self.names]
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

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Return whether the expression, as a condition, is true; one that mentions an inactive parameter is not false.

        Raises:
            ExpressionError: There is no value, or it is no truth value.
        """
        if not all(name in params for name in self.names):
            return True
        try:
            return truth(self.evaluate(params))
        except ExpressionError as error:
            if error.text:
                raise
            raise ExpressionError(f"{self.text!r} is no condition: {error}", text=self.text) from error

    def _compute(self, values: list[Any]) -> Any:
        names = dict(zip(self.names, values, strict=True))
        self._evaluator.names = names
        given = ", ".join(f"{name}={value!r}" for name, value in names.items() if value is not ABSENT)
        try:
            value = self._evaluator.eval(self.text, previously_parsed=self._tree.body)
        except _AbsentError:
            return ABSENT
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
        if type(value) is int and abs(value) > LARGEST:
            raise ExpressionError(f"{self.text!r} is too large with {given}", text=self.text)
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
        reason = point_hint(text).removeprefix("; ") or reason
        reason += "; write == to compare" if _SINGLE_EQUALS.search(text) else ""
        raise ExpressionError(f"{text!r} is not an expression: {reason}") from None
    if _depth(tree) > MAX_DEPTH:
        raise ExpressionError(f"{text!r} is not an expression: nested too deeply")
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            raise ExpressionError(
                f"{text!r}: {_describe(node)} is not possible in an expression; possible are numbers, text, "
                f"parameters, + - * / // % **, comparisons, and, or, not, in, if-else, {', '.join(FUNCTIONS)}"
            )
    return ast.Expression(_Constants().visit(tree.body))


class _Constants(ast.NodeTransformer):
    """Reads ``true``, ``false`` and ``null`` as YAML does."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.copy_location(ast.Constant(_CONSTANTS[node.id]), node) if node.id in _CONSTANTS else node


def _depth(tree: ast.AST) -> int:
    """Count the levels of a tree; without recursion, which a deep one would exhaust."""
    levels, level = 0, [tree]
    while level:
        levels += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return levels


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
