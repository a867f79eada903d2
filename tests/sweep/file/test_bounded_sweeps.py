"""Sweep files that would fill memory or take for ever are refused in a moment, with the limit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest
from helpers.bounded import Answer, check, typed

from cnn_sweep.errors import SweepFileError
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from pathlib import Path

_ALIASES: Final = "".join(f"a{i}: &a{i} [{', '.join(['*a' + str(i - 1)] * 9)}]\n" for i in range(1, 9))
_MERGES: Final = "".join(f"a{i}: &a{i} {{<<: [{', '.join(['*a' + str(i - 1)] * 9)}]}}\n" for i in range(1, 9))
_MANY: Final = range(9_000)
_TEN: Final = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
_TOO_MANY_VALUES: Final = "more than 100,000 values, counting those of aliases and merged keys"


def sweep(
    *, f: str = "[8, 16]", space: str = "", search: str = "{method: grid}", epochs: str = "2", more: str = ""
) -> str:
    """Return a sweep file, with some parts replaced."""
    layers = "[{conv2d: {filters: $f, kernel_size: 3}}, flatten, output]"
    return (
        f"study: s\ndata: {{source: digits}}\nmodel: {{layers: {layers}}}\ntraining: {{epochs: {epochs}}}\n"
        f"space:\n  f: {f}\n{space}search: {search}\n{more}"
    )


def constraint(text: str) -> str:
    """Return a sweep file with a constraint."""
    return sweep(more=f'constraints:\n  - "{text}"\n')


CASES: Final = {
    "aliases": ("a0: &a0 [x, x]\n" + _ALIASES, _TOO_MANY_VALUES),
    "merged keys": ("a0: &a0 {}\n" + _MERGES, _TOO_MANY_VALUES),
    "merged keys in a sweep": (sweep(more="a0: &a0 {x: 1}\n" + _MERGES), _TOO_MANY_VALUES),
    "9,000 unknown keys": (sweep(more="".join(f"key_{i}: 1\n" for i in _MANY)), "and 8,950 more mistakes"),
    "9,000 hyperparameters": (
        sweep(space="".join(f"  p{i}: [1]\n" for i in _MANY)),
        "a sweep can have 500 hyperparameters, this one has 9,001",
    ),
    "900 constraints": (
        sweep(more="constraints:\n" + "  - f > 1\n" * 900),
        "a sweep can have 200 constraints, this one has 900",
    ),
    "a key of 900 letters": (sweep(more=f"? {'k' * 900}\n: 1\n"), "unknown key"),
    "lists in lists": (f"a: {'[' * 3000}{']' * 3000}", "nested more than 50 levels deep"),
    "lists without end": (f"a: {'[' * 30_000}", "nested more than 50 levels deep"),
    "mappings in mappings": (f"a: {'{a: ' * 3000}{'}' * 3000}", "nested more than 50 levels deep"),
    "100 MB": (None, "larger than 1,000,000 bytes"),
    "a pipe": ("pipe", "a named pipe, not a regular file"),
    "a device": ("/dev/zero", "a device, not a regular file"),
    "an included pipe": (sweep(more="include: pipe\n"), "a named pipe, not a regular file"),
    "a table that is a pipe": (sweep(search="{method: table, file: pipe}"), "a named pipe, not a regular file"),
    "1e9 repeats": (sweep(search="{method: grid, repeats: 1000000000}"), "must be at most 10,000"),
    "1e9 trials": (sweep(search="{method: random, trials: 1000000000}"), "must be at most 1,000,000"),
    "a range of 1e9": (sweep(f="{low: 1, high: 1000000000}"), "would take all 1,000,000,000 values"),
    "1e9 points": (sweep(f="{low: 1.0, high: 9.0, points: 1000000000}"), "a whole number from 1 to 100,000"),
    "steps of 1e-12": (sweep(f="{low: 0.0, high: 1.0, step: 1.0e-12}"), "more than 100,000 values"),
    "a grid of 1e12": (sweep(space="".join(f"  p{i}: {_TEN}\n" for i in range(12))), "more than 200,000 config"),
    "a grid of 1e12, of which 10 are trained": (
        sweep(space="".join(f"  p{i}: {_TEN}\n" for i in range(12)), search="{method: grid, trials: 10}"),
        "more than 200,000 configurations",
    ),
    "a network of 1e15 weights": (sweep(f="[1000000000000000]"), "370,000,000,000,000,010 weights, which take"),
    "images of 1e12 pixels": (
        sweep().replace("source: digits", "source: digits, image_size: [1000000, 1000000]"),
        "image_size [1000000, 1000000] is more than 125,000,000 pixels",
    ),
    "1e9 brackets": (sweep(more="pruner: {hyperband: {brackets: 1000000000}}\n"), "more than 100,000"),
    "1e9 layers": (
        sweep().replace("flatten", "{repeat: {times: 1000000000, layers: [batch_norm]}}, flatten"),
        "a whole number from 0 to 1,000",
    ),
    "a number of 400 digits": (sweep(epochs="9" * 400), "too large for a whole number"),
    "a number of 900,000 digits": (sweep(epochs="9" * 900_000), "is too large"),
    "a formatted number": (constraint("'%999999999d' % f == 'a'"), "only numbers can be divided"),
    "a repeated text": (constraint("'a' * 10 ** 9 == f"), "only numbers can be multiplied"),
    "a tower of powers": (constraint("9 ** 9 ** 9 > f"), "is too large"),
    "a product of powers": (constraint(f"({'*'.join(['999999**64'] * 60)}) ** 2 > f"), "digits ** 2 is too large"),
    "rounded to 1e9 digits": (constraint("round(f, -999999999) > 1"), "it takes -400 to 400"),
    "a shift": (constraint("1 << 10 ** 9 > f"), "is not an expression"),
    "900 brackets": (constraint("(" * 450 + "f" + ")" * 450), "nested too deeply"),
    "an expression of 100,000 letters": (constraint("f > 1" + "1" * 100_000), "can have 1,000 characters"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Plan all cases, in forks of one process."""
    folder = tmp_path_factory.mktemp("bounded")
    os.mkfifo(folder / "pipe")
    commands = []
    for number, (text, _) in enumerate(CASES.values()):
        file = folder / f"{number}.yaml"
        if text is None:
            file.touch()
            os.truncate(file, 100_000_000)
        elif "\n" in text or ":" in text:
            file.write_text(text, encoding="utf-8")
        commands.append(["plan", file.name if file.exists() else str(text)])
    return dict(zip(CASES, typed(commands, folder), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_what_would_take_for_ever_is_refused(case: str, answers: dict[str, Answer]) -> None:
    """Each refusal names the limit, and takes less than 5 s and 500 MB."""
    check(answers[case], CASES[case][1])


@pytest.mark.parametrize("method", ["{method: random, trials: 3}", "{method: tpe, trials: 3}"])
def test_methods_that_need_no_list_accept_huge_spaces(method: str, tmp_path: Path) -> None:
    """A range of a billion values, or a grid of 10 ** 12, is no problem for random draws."""
    text = sweep(f="{low: 1, high: 1000000000}", search=method).replace("filters: $f", "filters: 8 + $f // 10000000")
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    (found,) = typed([["plan", "s.yaml"]], tmp_path)
    assert found.exit_code == 0, found
    assert found.seconds < 5


def test_options_have_limits(tmp_path: Path) -> None:
    """A billion workers or threads are refused before one is started, and so are huge values of `--set`."""
    (tmp_path / "s.yaml").write_text(sweep(), encoding="utf-8")
    plan = ["plan", "s.yaml", "--set"]
    commands = [
        (["run", "s.yaml", "--workers", "1000000000"], "must be at most 4,096"),
        (["run", "s.yaml", "--threads", "1000000000"], "must be at most 4,096"),
        ([*plan, "training.threads=1000000000"], "must be at most 4,096"),
        ([*plan, "training.steps_per_epoch=1000000000"], "must be at most 10,000,000"),
        ([*plan, f"training.epochs={'9' * 100_000}"], "is too large"),
    ]
    for (_, words), answer in zip(commands, typed([words for words, _ in commands], tmp_path), strict=True):
        check(answer, words)


def test_the_message_about_a_shells_pipe_says_what_to_do_instead() -> None:
    """A sweep file given as `<(…)` is refused by every command with the same words."""
    ours, theirs = os.pipe()
    try:
        with pytest.raises(SweepFileError, match=r"a pipe, as from `<\(…\)` or `\|`, .*; write its text to a file"):
            Sweep.load(f"/dev/fd/{ours}")
    finally:
        os.close(ours)
        os.close(theirs)
