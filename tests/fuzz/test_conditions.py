"""Expressions of sweep files and conditions of `--where`: any text has a value or a message that names it."""

from __future__ import annotations

import pytest
from helpers.fuzzing import ODD_SCALARS, Found, check_message, corpus, finding, fuzz, mutated
from hypothesis import strategies as st

from cnn_sweep.errors import InputError
from cnn_sweep.report.leaderboards.filters import Filter
from cnn_sweep.sweep.expressions.expression import Expression
from cnn_sweep.sweep.expressions.parser import ExpressionError

CASES = corpus("conditions")
NAMES = ["a", "b", "c", "rate", "missing_one", "trial"]
NUMBERS = [
    "0",
    "1",
    "-1",
    "2",
    "0.5",
    "1e308",
    "1e-320",
    "1e999",
    "9" * 400,
    "0x1f",
    "1_000",
    "007",
    "64",
    "1.",
    ".5",
    "1j",
]
WORDS = [f'"{text}"' for text in ("adam", "", "%s", "%999d", "{}", "é", "a" * 50)] + [
    "true",
    "null",
    "None",
    "nan",
    "inf",
]
SIGNS = [
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "<",
    "<=",
    "==",
    "!=",
    "in",
    "not in",
    "and",
    "or",
    "is",
    "if",
    "@",
    "<<",
    ":=",
]
FUNCTIONS = [
    "min",
    "max",
    "abs",
    "round",
    "int",
    "float",
    "sqrt",
    "log",
    "log2",
    "log10",
    "exp",
    "len",
    "missing",
    "str",
]
# As the store and the space of a sweep file can have them.
VALUES = [value for value in ODD_SCALARS if not (isinstance(value, int) and abs(value) >= 2**63)]
VALUES = [*(value for value in VALUES if not isinstance(value, dict)), [1, 2], [3.5, None], "adam"]


@st.composite
def texts(draw, depth=4):
    """A text of the grammar, with values of all kinds in all places."""
    kind = draw(st.integers(0, 8)) if depth else draw(st.integers(0, 2))
    inner = texts(depth=depth - 1) if depth else None
    if kind <= 2:
        return draw(st.sampled_from((NAMES, NUMBERS, WORDS)[kind]))
    if kind == 3:
        return f"{draw(st.sampled_from(FUNCTIONS))}({', '.join(draw(st.lists(inner, max_size=3)))})"
    if kind == 4:
        return f"[{', '.join(draw(st.lists(inner, max_size=3)))}]" + draw(st.sampled_from(["", f"[{draw(inner)}]"]))
    if kind == 5:
        return f"({draw(inner)} if {draw(inner)} else {draw(inner)})"
    if kind == 6:
        return f"{draw(st.sampled_from(['not ', '-', '+', '~', '$']))}{draw(inner)}"
    return f"({draw(inner)} {draw(st.sampled_from(SIGNS))} {draw(inner)})"


def examine(content):
    """Evaluate a text for configurations and rows of odd values, which the content chooses."""
    text = content.decode("utf-8", "replace")
    rows = [
        {name: VALUES[(7 * place + 3 * number + len(content)) % len(VALUES)] for place, name in enumerate(NAMES)}
        for number in range(6)
    ]
    for kind, used in ((Filter, "accepts"), (Expression, "evaluate"), (Expression, "holds")):
        try:
            parsed = kind(text)
            repr(parsed)
        except (InputError, ExpressionError) as error:
            check_message(str(error))
            continue
        for row in rows:
            try:
                found = getattr(parsed, used)(row)
            except (InputError, ExpressionError) as error:
                check_message(str(error))
            else:
                if used != "evaluate" and not isinstance(found, bool):
                    raise Found(f"{kind.__name__}.{used} is {found!r}")


@pytest.mark.parametrize("case", CASES)
def test_kept_conditions(case):
    """Texts that once made trouble, and sound ones to begin with."""
    assert finding(examine, CASES[case]) is None


def test_conditions():
    """Any text is evaluated or refused."""
    contents = st.one_of(texts().map(str.encode), texts().map(str.encode), mutated(list(CASES.values())))
    fuzz("conditions", examine, contents, few=150, share=0.1)
