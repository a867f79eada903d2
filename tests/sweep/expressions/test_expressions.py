"""Arithmetic on hyperparameters."""

from __future__ import annotations

import ast
import pickle
import random
import re

import pytest
from helpers import conditions

from cnn_sweep.sweep.expressions.expression import ABSENT, Expression
from cnn_sweep.sweep.expressions.parser import ExpressionError, parse
from cnn_sweep.sweep.identity import NULL


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$a * 2", 6),
        ("a + b", 3.5),
        ("-a ** 2", -9),
        ("7 // a", 2),
        ("7 % a", 1),
        ("a / 2", 1.5),
        ("min(a, 2)", 2),
        ("max(a, b, 8)", 8),
        ("round(2.6)", 3),
        ("int(b * 5)", 2),
        ("floor(2.7) + ceil(2.1)", 5),
        ("sqrt(16)", 4.0),
        ("log2(8)", 3.0),
        ("abs(-a)", 3),
        ("a if name == 'sgd' else 0", 3),
        ("name in ['sgd', 'adam']", True),
        ("not (a > 2 and b < 1)", False),
        ("1 < a <= 3", True),
        ("a = 3", True),
        ("size == (5, 3)", True),
        ("$a, b", [3, 0.5]),
        ("size[0]", 5),
        ("[a, a]", [3, 3]),
        ("(a, a)", [3, 3]),
    ],
)
def test_an_expression_has_its_value(text, value):
    """Arithmetic, comparisons, choices and the listed functions give what Python gives."""
    found = Expression(text).evaluate({"a": 3, "b": 0.5, "name": "sgd", "size": [5, 3]})
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("text", "kept"), conditions.VERDICTS)
def test_sweep_files_read_the_conditions_of_where(text, kept):
    """A condition on complete values has one verdict everywhere; a missing value is an inactive parameter here."""
    params = {name: None if value is NULL else value for name, value in conditions.ROW.items() if value is not None}
    wanted = conditions.IN_SWEEP_FILES.get(text, kept)
    if not isinstance(wanted, str):
        assert Expression(text).evaluate(params) is wanted
        return
    with pytest.raises(ExpressionError, match=re.escape(wanted)):
        Expression(text).evaluate(params)


def _random_text(draw, depth):
    """Return a text of the language that is Python's, too."""
    if depth == 0:
        return draw.choice(["a", "b", "2", ".5", "1_0e-3", "0x1F", "'x y'", "True", "()", "(a,)", "[1, 2,]", "max()"])
    one, other, third = (_random_text(draw, depth - 1) for _ in range(3))
    signs = ["+", "-", "*", "/", "//", "%", "**", "<", "<=", "==", "!=", " in ", " not in ", " and ", " or "]
    forms = [f"{one}{draw.choice(signs)}{other}", f"{one} {draw.choice(signs)} {other} {draw.choice(signs)} {third}"]
    forms += [f"({one})", f"-{one}", f"not {one}", f"{one}[{other}]", f"max({one}, {other})", f"[{one}, {other}]"]
    return draw.choice([*forms, f"{one} if {other} else {third}"])


def test_operators_bind_as_in_python():
    """Of 3,000 random texts, Python's parser makes the same trees, or refuses them, too."""
    draw, same = random.Random(5), 0
    for _ in range(3_000):
        text = _random_text(draw, draw.randint(1, 4))
        try:
            wanted = ast.dump(ast.parse(text, mode="eval").body)
        except SyntaxError:
            with pytest.raises(ExpressionError):
                parse(text, "an expression", max_length=1_000)
            continue
        assert ast.dump(parse(text, "an expression", max_length=1_000)[0]) == wanted, text
        same += 1
    assert same > 1_500


def test_the_names_of_an_expression_are_its_parameters():
    """Names come in the order of their appearance, each once, without functions."""
    assert Expression("max($b, a) + a * $b").names == ("b", "a")


def test_an_inactive_parameter_makes_the_value_absent():
    """An expression with a parameter that is not there has no value, and that is no error."""
    assert Expression("a * b").evaluate({"a": 1}) is ABSENT
    assert not ABSENT


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[$a, $b][0]", 3),
        ("($b, $a)[1] * 2", 6),
        ("[$a, $b][$a - 3]", 3),
        ("$a if $a > 2 else $b", 3),
        ("$b if $a < 2 else 7", 7),
        ("$a < 2 and $b > 1", False),
        ("$a > 2 or $b > 1", True),
        ("[$a, $b][1]", ABSENT),
        ("$b if $a > 2 else $a", ABSENT),
        ("$b > 1 or $a > 2", ABSENT),
        ("[$a, $b]", ABSENT),
    ],
)
def test_an_inactive_parameter_counts_only_where_it_is_needed(text, value):
    """What a value does not depend on may be inactive: other elements, the other branch, what is decided already."""
    assert Expression(text).evaluate({"a": 3}) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("8 if $flag else 32", "'no' is text, not a truth value; write true or false without quotes"),
        ("not $flag", "or compare it: == 'no'"),
        ("$flag and $a > 2", "'no' is text"),
        ("$a > 5 or not $flag", "'no' is text"),
        ("$flag == true", "'no' is text, which never equals true"),
        ("1 if false != $flag else 2", "'no' is text, which never equals false"),
        ("8 if $name else 32", "'sgd' is neither true nor false; compare it with something, as in == 'sgd'"),
        ("8 if $size else 32", "[5, 3] is neither true nor false"),
    ],
)
def test_text_is_no_condition(text, words):
    """A text or a list where a truth value is needed is a mistake with the way out, since Python takes it for true."""
    with pytest.raises(ExpressionError, match=re.escape(words)):
        Expression(text).evaluate({"a": 3, "flag": "no", "name": "sgd", "size": [5, 3]})


def test_what_is_true_is_a_condition():
    """Truth values, numbers, null and comparisons of texts decide as in Python."""
    params = {"flag": True, "zero": 0, "none": None, "text": "no", "mixed": 0.5}
    conditions = {"$flag": 1, "$zero": 2, "$none": 2, "$text == 'no'": 1, "$flag == true": 1, "$mixed == 'no'": 2}
    conditions |= {"$flag and $mixed": 1, "not $zero": 1, "$text in ['yes', 'no']": 1}
    # YAML's true is Python's True in an expression, as a person expects.
    for text, value in conditions.items():
        assert Expression(f"1 if {text} else 2").evaluate(params) == value, text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$a *", "not an expression"),
        ("a = ", "ends too early"),
        ("a & b", "'&' is unexpected at character 3; write and"),
        ("a <> b", "'<>' is unexpected at character 3; write !="),
        ("a not b", "expected in"),
        ("", "not an expression"),
        ("import os", "not an expression"),
        ("a.__class__", "'a.__class__' is not possible"),
        ("__import__('os')", "unknown function '__import__'"),
        ("open('x')", "unknown function 'open'; possible are: min(), max()"),
        ("[x for x in a]", "not possible"),
        ("lambda: 1", "not possible"),
        ("{1: 2}", "not possible"),
        ("f'{a}'", "not possible"),
        ("(a := 3)", "not possible"),
        ("a if b", "not an expression"),
        ("max(a, key=b)", "by position"),
        ("8 (a)", "unknown function '8'"),
        ("1if a else 2", "not an expression"),
        ("a.b(3)", "not possible"),
        ("(" * 300 + "1" + ")" * 300, "not an expression"),
        ("1" * 2_000, "1,000 characters"),
        ("-" * 900 + "a", "nested too deeply"),
        ("a" + "+1" * 400, "nested too deeply"),
    ],
)
def test_what_is_no_expression_is_refused_at_once(text, words):
    """Bad syntax, attributes, unknown functions and the like are errors before anything is evaluated."""
    with pytest.raises(ExpressionError) as caught:
        Expression(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 / (a - 3)", "division by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("a ** 1000000000", "too large"),
        ("'x' * 1000000000", "only numbers can be multiplied"),
        ("[1] * 1000000", "only numbers can be multiplied"),
        ("a + name", "a=3, name='sgd'"),
        ("sqrt(0 - a)", "math domain error"),
        ("(0 - a) ** 0.5", "not a finite number"),
        ("1e308 * 10", "not a finite number"),
        ("size[5]", "index out of range"),
        ("max()", "no value"),
        ("a ** 60", "too large"),
    ],
)
def test_an_expression_without_a_value_says_why(text, words):
    """Division by zero, huge powers and mixed types are errors that name the parameters' values."""
    with pytest.raises(ExpressionError) as caught:
        Expression(text).evaluate({"a": 3, "name": "sgd", "size": [1, 2]})
    assert words in str(caught.value)


def test_values_are_not_mixed_up_by_the_memory_of_earlier_ones():
    """1, 1.0 and true are equal in Python but different parameters' values here."""
    expression = Expression("a == 1 and a / 2")
    half = Expression("a")
    assert [repr(half.evaluate({"a": value})) for value in (1, 1.0, True, 1)] == ["1", "1.0", "True", "1"]
    assert [expression.evaluate({"a": value}) for value in (1, 2, 1)] == [0.5, False, 0.5]


def test_expressions_travel_between_processes():
    """A pickled expression is the same expression."""
    expression = pickle.loads(pickle.dumps(Expression("a *  2")))
    assert expression.evaluate({"a": 2}) == 4
    assert expression == Expression("a*2")
