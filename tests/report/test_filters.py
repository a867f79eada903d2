"""The language of ``--where``: what it means, and that it is never run."""

from __future__ import annotations

import random
import string
import sys

import pandas as pd
import pytest
from helpers import conditions
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_sweep.report.leaderboards.filters import Filter, FilterError

NUMBERS = ("val_accuracy", "parameters")
TEXTS = ("optimizer", "pooling")
WORDS = ("adam", "sgd", "max", "average")

rows = st.lists(
    st.fixed_dictionaries(
        {
            "val_accuracy": st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
            "parameters": st.none() | st.integers(-3, 3),
            "optimizer": st.none() | st.sampled_from(WORDS),
            "pooling": st.none() | st.sampled_from(WORDS),
        }
    ),
    min_size=1,
    max_size=6,
)


@st.composite
def numbers(draw, depth=2):
    """A number as text, and the same with pandas."""
    if depth == 0 or draw(st.booleans()):
        if draw(st.booleans()):
            name = draw(st.sampled_from(NUMBERS))
            return name, lambda frame: frame[name]
        value = draw(st.sampled_from([-2, -1, 0, 0.25, 0.5, 1, 2]))
        return repr(value), lambda frame: pd.Series(value, frame.index, "Float64")
    left, right, sign = draw(numbers(depth=depth - 1)), draw(numbers(depth=depth - 1)), draw(st.sampled_from("+-*"))
    how = {"+": pd.Series.add, "-": pd.Series.sub, "*": pd.Series.mul}[sign]
    return f"({left[0]} {sign} {right[0]})", lambda frame: how(left[1](frame), right[1](frame))


@st.composite
def comparisons(draw):
    """A comparison as text, and the same with pandas."""
    kind = draw(st.sampled_from(["number", "text", "in", "missing"]))
    if kind == "number":
        (left, one), (right, other) = draw(numbers()), draw(numbers())
        sign = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
        name = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}[sign]
        return f"{left} {sign} {right}", lambda frame: getattr(one(frame), name)(other(frame))
    column = draw(st.sampled_from(TEXTS))
    if kind == "text":
        word, sign = draw(st.sampled_from(WORDS)), draw(st.sampled_from(["==", "!="]))
        return f'{column} {sign} "{word}"', lambda f: f[column] == word if sign == "==" else f[column] != word
    if kind == "in":
        words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
        inside = draw(st.booleans())

        def verdict(frame):
            found = frame[column].isin(words).astype("boolean").where(frame[column].notna(), pd.NA)
            return found if inside else ~found

        return f"{column} {'' if inside else 'not '}in {words!r}", verdict
    return f"missing({column})", lambda frame: frame[column].isna().astype("boolean")


@st.composite
def random_conditions(draw, depth=3):
    """A condition as text, and the same with pandas' own three-valued logic."""
    if depth == 0 or draw(st.booleans()):
        return draw(comparisons())
    how = draw(st.sampled_from(["and", "or", "not"]))
    left, one = draw(random_conditions(depth=depth - 1))
    if how == "not":
        return f"not ({left})", lambda frame: ~one(frame)
    right, other = draw(random_conditions(depth=depth - 1))
    if how == "and":
        return f"({left}) and ({right})", lambda frame: one(frame) & other(frame)
    return f"({left}) or ({right})", lambda frame: one(frame) | other(frame)


@settings(max_examples=60, deadline=None)
@given(rows, random_conditions())
def test_a_condition_means_what_pandas_says(found, condition):
    """A row is kept if pandas, with missing values of its own, says true."""
    text, oracle = condition
    types = dict.fromkeys(NUMBERS, "Float64") | dict.fromkeys(TEXTS, "string[python]")
    frame = pd.DataFrame(found, columns=list(types)).astype(types)
    expected = oracle(frame).astype("boolean").fillna(False).tolist()
    assert [Filter(text).accepts(row) for row in found] == expected, text


@pytest.mark.parametrize(("text", "kept"), conditions.VERDICTS)
def test_what_the_language_can_say(text, kept):
    """Missing values, patterns, lists, columns that are no words, chains of comparisons."""
    assert Filter(text).accepts(conditions.ROW) is kept


@pytest.mark.parametrize(("text", "message"), conditions.REFUSALS)
def test_what_the_language_refuses(text, message):
    """No condition, or one that the row has no answer to, is an error with a sentence."""
    with pytest.raises(FilterError) as raised:
        Filter(text).accepts(conditions.ROW)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('true')", "is not possible in a condition; possible are columns"),
        ("().__class__", "'().__class__' is not possible"),
        ("open('x')", "unknown function 'open'; possible are: min(), max(), abs()"),
        ("a == None", "missing()"),
        ("(a := 3)", "is not possible"),
        ("[a for a in b]", "is not possible"),
        ("f'{a}'", "is not possible"),
        ("lambda: 1", "is not possible"),
        ("a is b", "`is` is not possible"),
        ("missing(a, b)", "takes 1 values, not 2"),
        ("", "is not a condition"),
        ("-" * 1900 + "a > 1", "nested too deeply"),
        ("(" * 1500, "is not a condition"),
        ("a > 1" + " and a > 1" * 500, "2,000 characters"),
        ("a > 1\nimport os", "is not a condition"),
        ("learning_rate > 0,01", "is not a condition: write a decimal point: 0.01, not 0,01"),
        ("a > 0,1 and b < 1,5e-3", "is not a condition: write a decimal point: 0.1, not 0,1"),
        ("a > 0,1", "is not a condition: write a decimal point: 0.1, not 0,1"),
        ("a > 1, b > 2", "join two conditions with `and` or `or`"),
    ],
)
def test_what_is_no_condition(text, message):
    """The message has the text, what is wrong, and what is possible."""
    with pytest.raises(FilterError) as raised:
        Filter(text).accepts({"a": True})
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer > 3", "'adam' > 3: only two numbers or two texts have an order"),
        ("optimizer + 1 > 0", "'adam' is not a number"),
        ("parameters", "12345 is a value where a condition should be"),
        ("parameters in 7", "7 is not a list"),
        ("9 ** 9 ** 9 > 1", "too large"),
        ("'a' * 100000000 == 'a'", "not a number"),
        ("like(optimizer, 3)", "pattern"),
    ],
)
def test_a_row_without_an_answer(text, message):
    """The message names values whose kinds do not fit together."""
    with pytest.raises(FilterError) as raised:
        Filter(text).accepts({"optimizer": "adam", "parameters": 12_345})
    assert message in str(raised.value)


def test_hostile_texts_get_an_error_or_an_answer():
    """10,000 texts made of Python's sharpest pieces run nothing: no import, no call, no file, no other exception."""
    pieces = [
        *(
            "__import__",
            "('os')",
            ".system",
            "('true')",
            "().__class__",
            ".__subclasses__()",
            "[0]",
            "lambda",
            ":",
            "x",
        ),
        *(
            "eval",
            "exec",
            "open('/etc/passwd')",
            "`",
            "``",
            "`a`",
            "'",
            '"',
            "\\",
            "\n",
            "\0",
            "{",
            "}",
            "f'{a}'",
            "$a",
        ),
        *(" and ", " or ", " not ", " in ", "(", ")", "[", "]", ",", "==", "<", ">", "**", "9" * 40, "1e308", "*", "/"),
        *("a", "b", "missing(", "like(", "abs(", "log10(", "None", "True", "...", ":=", "await ", "yield ", "*a", "-"),
        *(
            ";--",
            "DROP TABLE trials",
            "é",
            "\u202e",
            "\U0001d7d9",
            "%s",
            "{0.__class__}",
            "0x",
            "1_0",
            "1j",
            "b''",
            "is ",
        ),
        *string.punctuation,
    ]
    events: list[str] = []
    watching = [True]

    def watch(event, _):
        if watching[0] and event.split(".")[0] in {"open", "os", "subprocess", "exec", "import", "socket", "ctypes"}:
            events.append(event)

    sys.addaudithook(watch)
    draw = random.Random(7)
    answers = 0
    row = {"a": 1, "b": "text", "c": None, "x": [1, 2]}
    texts = ["".join(draw.choices(pieces, k=draw.randint(1, 12))) for _ in range(9_000)]
    texts += ["".join(chr(draw.randrange(1, 0x3000)) for _ in range(draw.randint(1, 30))) for _ in range(1_000)]
    try:
        for text in texts:
            try:
                assert Filter(text).accepts(row) in {True, False}
                answers += 1
            except FilterError as error:
                answers -= not str(error)
    finally:
        watching[0] = False
    assert events == []
    assert answers > 10
