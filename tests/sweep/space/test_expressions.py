"""Arithmetic on hyperparameters."""

from __future__ import annotations

import pickle
import re

import pytest

from cnn_sweep.sweep.space.expressions import ABSENT, Expression, ExpressionError


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
        ("a = 3", "write == to compare"),
        ("", "not an expression"),
        ("import os", "not an expression"),
        ("a.__class__", "'a.__class__' is not possible"),
        ("__import__('os')", "unknown function '__import__'"),
        ("open('x')", "unknown function 'open'; possible are: min, max"),
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
