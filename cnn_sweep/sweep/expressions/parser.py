"""The grammar of conditions and arithmetic in sweep files, in ``--where`` and in the filter of a report's page.

A text becomes a tree of :mod:`ast` nodes, but Python neither parses nor runs it: only this parser creates nodes.
``docs/reference/expressions.md`` is the reference; ``report/document/filters.js`` is the same parser in JavaScript.
"""

from __future__ import annotations

import ast
import keyword
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cnn_sweep.messages import point_hint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Parsed = tuple[ast.expr, tuple[str, ...]]

MAX_DEPTH = 100  # nested brackets and operators

CONSTANTS: Final[Mapping[str, Any]] = {"true": True, "false": False, "True": True, "False": False, "null": None}
# Number of values that each function takes; empty means any number.
FUNCTIONS: Final[Mapping[str, tuple[int, ...]]] = {
    **dict.fromkeys(("min", "max"), ()),
    **dict.fromkeys(("abs", "int", "floor", "ceil", "sqrt", "log2", "log10", "missing"), (1,)),
    "round": (1, 2),
    "like": (2,),
}

# Precedence of operators, lowest first.
_CHOICE, _OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _SIGNED, _POWER = range(9)
_ARITHMETIC: Final[Mapping[str, tuple[int, type[ast.operator]]]] = {
    "+": (_SUM, ast.Add),
    "-": (_SUM, ast.Sub),
    "*": (_PRODUCT, ast.Mult),
    "/": (_PRODUCT, ast.Div),
    "//": (_PRODUCT, ast.FloorDiv),
    "%": (_PRODUCT, ast.Mod),
    "**": (_POWER, ast.Pow),
}
_COMPARISONS: Final[Mapping[str, type[ast.cmpop]]] = {
    **dict.fromkeys(("=", "=="), ast.Eq),
    "!=": ast.NotEq,
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
    "in": ast.In,
    "not": ast.NotIn,  # with the `in` that follows it
}
_JOINS: Final[Mapping[str, tuple[int, type[ast.boolop]]]] = {"or": (_OR, ast.Or), "and": (_AND, ast.And)}
_WORDS: Final = frozenset({"and", "or", "not", "in", "if", "else"})
_END: Final = "the end"
_INSTEAD: Final = {"&": "and", "&&": "and", "|": "or", "||": "or", "!": "not", "^": "**", "<>": "!="}
_NAMED: Final = ", ".join(f"{name}()" for name in FUNCTIONS)
_POSSIBLE: Final = (
    "possible are columns and parameters, numbers, text in quotes, lists, + - * / // % **, comparisons, in, not in, "
    f"and, or, not, if-else, {_NAMED}"
)
_TOO_DEEP: Final = "nested too deeply"

_TOKEN = re.compile(
    r"""(?:\s|\#[^\n]*)*(?:
      (?P<number>(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+
        |(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)(?!\w))
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<quoted>`[^`]+`)
    | \$?(?P<word>[^\W\d]\w*)(?!["'])
    | (?P<sign>\*\*|//|<>|[<>=!]=|[-+*/%<>=()\[\],.]|&&?|\|\|?|[!^])
    | (?P<end>\Z))""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\n": "", "\\": "\\", "'": "'", '"': '"'}


class ExpressionError(ValueError):
    """The text is not an expression, or it has no value for these parameters.

    Attributes:
        text: The expression; empty if unknown.
    """

    def __init__(self, message: str, *, text: str = "") -> None:
        self.text = text
        super().__init__(message)


def parse(text: str, what: str, *, max_length: int, constants: Mapping[str, Any] = CONSTANTS) -> Parsed:
    """Parse a text; return its tree, and the parameters or columns in it in order of first appearance.

    Args:
        text: The text as the user wrote it.
        what: What the text should be, for messages, such as ``"a condition"``.
        max_length: Largest number of characters.
        constants: Values of reserved words, such as ``true``.

    Raises:
        ExpressionError: The text is not valid; the message says where, and what is possible.
    """
    if len(text) > max_length:
        raise ExpressionError(f"{what} can have {max_length:,} characters, this one has {len(text):,}")
    try:
        parser = _Parser(text, what, constants)
        tree = parser.whole()
        _check_depth(tree)
    except ExpressionError as error:
        reason = point_hint(text).removeprefix("; ") or error
        raise ExpressionError(f"{shortened(text)} is not {what}: {reason}") from None
    _check_calls(tree)
    return tree, tuple(parser.names)


def shortened(text: str) -> str:
    """Quote a text for a message, and shorten a long one."""
    return repr(text if len(text) <= 100 else f"{text[:97]}...")


class _Token(NamedTuple):
    kind: str  # number, text, quoted, word or sign
    value: str
    start: int
    end: int


def _tokens(text: str, what: str) -> Iterator[_Token]:
    place = 0
    while match := _TOKEN.match(text, place):
        kind, place = match.lastgroup or "", match.end()
        if kind == "end":
            yield _Token("sign", _END, place, place)
            return
        yield _Token("sign" if match[kind] in _WORDS else kind, match[kind], match.start(kind), place)
    place = len(text) - len(text[place:].lstrip())
    shown = text[place : place + 12].split(maxsplit=1)[0]
    if shown[0] in "\"'`":
        raise ExpressionError(f"the quotation mark at character {place + 1} has no partner")
    raise _impossible(shown, place, what)


def _impossible(shown: str, place: int, what: str) -> ExpressionError:
    marked = f"`{shown}`" if keyword.iskeyword(shown) else repr(shown)
    return ExpressionError(f"at character {place + 1}, {marked} is not possible in {what}; {_POSSIBLE}")


class _Parser:
    """Parses an operand, then the operators after it that bind tightly enough to take it (Pratt's method)."""

    def __init__(self, text: str, what: str, constants: Mapping[str, Any]) -> None:
        self._text, self._what, self._constants = text, what, constants
        self._tokens = [*_tokens(text, what)]
        self._at = self._depth = 0
        self.names: dict[str, None] = {}

    def whole(self) -> ast.expr:
        """Parse the whole text; commas outside brackets form a list, like a tuple in Python."""
        tree = self._expression()
        if self._sign == ",":
            return ast.Tuple(self._items(_END, [tree]), ast.Load())
        self._expect(_END)
        return tree

    @property
    def _token(self) -> _Token:
        return self._tokens[self._at]

    @property
    def _sign(self) -> str:
        return self._token.value if self._token.kind == "sign" else ""

    def _takes(self, sign: str) -> bool:
        """Consume this sign if it is the next token; return whether it was."""
        taken = self._sign == sign
        self._at += taken
        return taken

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise self._unexpected("" if sign == _END else f"; expected {sign}")

    def _unexpected(self, hint: str = "") -> ExpressionError:
        token = self._token
        if token.value == _END:
            return ExpressionError(f"it ends too early{hint}")
        if token.kind == "word" and keyword.iskeyword(token.value):
            return _impossible(token.value, token.start, self._what)
        word = _INSTEAD.get(token.value, token.value.lower())
        hint = f"; write {word}" if word != token.value and word in {*_WORDS, "**", "!="} else hint
        shown = self._text[token.start : token.end]
        return ExpressionError(f"{shown!r} is unexpected at character {token.start + 1}{hint}")

    def _expression(self, level: int = _CHOICE) -> ast.expr:
        """Parse an operand and the operators after it that bind at least as tightly as ``level``."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(_TOO_DEEP)
        start = self._token.start
        left = self._operand(level)
        while self._sign in {"(", "[", "."}:
            left = self._element(left, start)
        while (longer := self._operated(left, level)) is not None:
            left = longer
        self._depth -= 1
        return left

    def _operated(self, left: ast.expr, level: int) -> ast.expr | None:
        """Parse an operator and its right operand; None if the next operator binds less tightly than ``level``."""
        sign = self._sign
        if sign == "if" and level == _CHOICE:
            self._at += 1
            test = self._expression(_OR)
            self._expect("else")
            return ast.IfExp(test, left, self._expression())
        if sign in _COMPARISONS and level <= _COMPARISON:
            return self._comparison(left)
        if sign in _JOINS and level <= _JOINS[sign][0]:
            own, join = _JOINS[sign]
            parts = [left]
            while self._takes(sign):
                parts.append(self._expression(own + 1))
            return ast.BoolOp(join(), parts)
        if sign in _ARITHMETIC and level <= _ARITHMETIC[sign][0]:
            own, operator = _ARITHMETIC[sign]
            self._at += 1
            right = self._expression(_SIGNED if own == _POWER else own + 1)  # 2 ** 3 ** 2 is 2 ** (3 ** 2)
            return ast.BinOp(left, operator(), right)
        return None

    def _comparison(self, left: ast.expr) -> ast.expr:
        """Parse a chain: ``a < b < c`` is ``a < b and b < c``."""
        operators: list[ast.cmpop] = []
        others = []
        while (sign := self._sign) in _COMPARISONS:
            self._at += 1
            if sign == "not":
                self._expect("in")
            operators.append(_COMPARISONS[sign]())
            others.append(self._expression(_SUM))
        return ast.Compare(left, operators, others)

    def _element(self, left: ast.expr, start: int) -> ast.expr:
        """Parse ``[index]``; refuse attributes, and calls of anything but a function."""
        shown = self._text[start : self._tokens[self._at - 1].end]
        if self._sign == "(":
            raise ExpressionError(f"unknown function {shown!r}; possible are: {_NAMED}")
        if self._takes("."):
            raise _impossible(self._text[start : self._token.end], start, self._what)
        self._expect("[")
        index = self._expression()
        self._expect("]")
        return ast.Subscript(left, index, ast.Load())

    def _operand(self, level: int) -> ast.expr:
        token = self._token
        self._at += 1
        node: ast.expr
        match token.kind, token.value:
            case "number", digits:
                node = ast.Constant(self._number(digits))
            case "text", text:
                while self._token.kind == "text":  # "a" "b" is "ab"
                    text, self._at = f"{text[:-1]}{self._token.value[1:]}", self._at + 1
                node = ast.Constant(_ESCAPE.sub(_unescaped, text[1:-1]))
            case "quoted", name:
                node = self._name(name[1:-1])
            case "word", word:
                node = self._word(word)
            case "sign", ("+" | "-") as sign:
                node = ast.UnaryOp(ast.USub() if sign == "-" else ast.UAdd(), self._expression(_SIGNED))
            case "sign", "not" if level <= _NOT:
                node = ast.UnaryOp(ast.Not(), self._expression(_NOT))
            case "sign", "[":
                node = ast.List(self._items("]", []), ast.Load())
            case "sign", "(":
                node = self._brackets()
            case _:
                self._at -= 1
                raise self._unexpected()
        return node

    def _number(self, digits: str) -> int | float:
        try:
            return int(digits, 0) if digits[:2].lower() == "0x" or not re.search("[.eE]", digits) else float(digits)
        except ValueError:
            raise ExpressionError(f"{digits!r} is not a number") from None

    def _word(self, word: str) -> ast.expr:
        start = self._tokens[self._at - 1].start
        if self._takes("("):
            return ast.Call(ast.Name(word, ast.Load()), self._items(")", [], word), [])
        if word in self._constants:
            return ast.Constant(self._constants[word])
        if keyword.iskeyword(word):
            raise _impossible(word, start, self._what)
        return self._name(word)

    def _name(self, name: str) -> ast.expr:
        self.names[name] = None
        return ast.Name(name, ast.Load())

    def _brackets(self) -> ast.expr:
        if self._takes(")"):
            return ast.Tuple([], ast.Load())
        first = self._expression()
        if self._takes(")"):
            return first
        return ast.Tuple(self._items(")", [first]), ast.Load())

    def _items(self, end: str, items: list[ast.expr], function: str = "") -> list[ast.expr]:
        """Parse the rest of a list up to its closing bracket: expressions separated by commas."""
        more = not items or self._takes(",")
        while more and self._sign != end:
            if function and self._token.kind == "word" and self._tokens[self._at + 1].value == "=":
                raise ExpressionError(f"{function}: arguments are given by position; write == to compare")
            items.append(self._expression())
            more = self._takes(",")
        self._expect(end)
        return items


def _check_depth(tree: ast.expr) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):  # iterative, because a deep tree would exceed the recursion limit
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        raise ExpressionError(_TOO_DEEP)


def _check_calls(tree: ast.expr) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name, wanted = node.func.id, FUNCTIONS.get(node.func.id)
            if wanted is None:
                raise ExpressionError(f"unknown function {name!r}; possible are: {_NAMED}")
            if wanted and len(node.args) not in wanted:
                raise ExpressionError(f"{name}() takes {' or '.join(map(str, wanted))} values, not {len(node.args)}")


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _ESCAPES.get(match[3], match[0])
