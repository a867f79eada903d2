"""Helpers for messages: show values, list valid choices, and guess what the user meant."""

from __future__ import annotations

import difflib
import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KeyPath = tuple[str | int, ...]  # keys and indices from the top of the file to a value

_SHOWN = 60  # characters of a value in a message
_BITS = 1_100  # bits of a whole number that is shown
_LISTED = 100  # choices in a message
# Comparing spellings takes about 10 us for each choice, so suggestions for long names and in long lists are limited.
_COMPARED = 1_000  # choices
_NAME_LENGTH = 100  # characters
_TIME_UNITS: Final = ((3600, "hour"), (60, "minute"), (1, "second"))
# Maps names in Keras, PyTorch and other tools, without underscores, to ours; of several, the first valid one is meant.
_SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "acc": ("accuracy", "val_accuracy"),
    "valacc": ("val_accuracy",),
    "auc": ("val_auc",),
    "f1": ("val_macro_f1",),
    "valf1": ("val_macro_f1",),
    "validationaccuracy": ("val_accuracy",),
    "validationloss": ("val_loss",),
    "lr": ("learning_rate",),
    "alpha": ("learning_rate",),
    "bs": ("batch_size",),
    "batch": ("batch_size",),
    "nepochs": ("epochs",),
    "numepochs": ("epochs",),
    "maxepochs": ("epochs",),
    "numtrials": ("trials",),
    "ntrials": ("trials",),
    "clipnorm": ("clip_norm",),
    "gradclip": ("clip_norm",),
    "wd": ("weight_decay",),
    "betas": ("beta_1",),
    "randomseed": ("seed",),
    "randomstate": ("seed",),
    "validationsplit": ("validation",),
    "valsplit": ("validation",),
    "testsplit": ("test",),
    "targetsize": ("image_size",),
    "inputshape": ("image_size",),
    "optim": ("optimizer",),
    "earlystop": ("early_stopping",),
    "scheduler": ("schedule",),
    "lrscheduler": ("schedule",),
    "amp": ("precision",),
    "maxpooling": ("pool",),
    "maxpooling2d": ("pool",),
    "maxpool": ("pool",),
    "maxpool2d": ("pool",),
    "averagepooling2d": ("pool",),
    "avgpool2d": ("pool",),
    "globalaveragepooling2d": ("global_pool",),
    "globalmaxpooling2d": ("global_pool",),
    "gap": ("global_pool",),
    "conv": ("conv2d",),
    "convolution": ("conv2d",),
    "separableconv2d": ("separable_conv2d",),
    "batchnormalization": ("batch_norm",),
    "batchnorm2d": ("batch_norm",),
    "bn": ("batch_norm",),
    "linear": ("dense",),
    "fc": ("dense",),
    "softmax": ("output",),
    "kernel": ("kernel_size",),
    "poolsize": ("size",),
    "outchannels": ("filters",),
    "channels": ("filters",),
    "neurons": ("units",),
    "stride": ("strides",),
    "min": ("low", "minimize"),
    "max": ("high", "maximize"),
    "values": ("choices",),
    "num": ("points",),
    "hyperparameters": ("space",),
    "parameters": ("space",),
    "network": ("model",),
    "dataset": ("data",),
    "gridsearch": ("grid",),
    "randomsearch": ("random",),
    "bayesian": ("tpe", "gp"),
    "runtime": ("seconds",),
    "duration": ("seconds",),
    "score": ("value",),
    "objective": ("value",),
    "number": ("trial",),
    "params": ("parameters",),
}


def show(value: Any) -> str:
    """Return a value in the notation of sweep files, cut to 60 characters."""
    if isinstance(value, int) and value.bit_length() > _BITS:  # Python refuses to write thousands of digits
        return f"a whole number of {value.bit_length() * math.log10(2):.0f} digits"
    text = repr(_plain(value[:_SHOWN] if isinstance(value, str | bytes | list | tuple) else value))
    text = {"None": "nothing", "True": "true", "False": "false"}.get(text, text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def listed(choices: Iterable[Any]) -> str:
    """Return the choices separated by commas, or ``(none)``; of more than 100, the first ones and their number."""
    names = [str(choice) for choice in choices]
    return few(names, _LISTED) if names else "(none)"


def closest(name: Any, choices: Iterable[Any]) -> str | None:
    """Return the choice that the user probably meant, by another tool's name or by spelling; None if none is close."""
    if len(str(name)) > _NAME_LENGTH:
        return None
    names = map(str, islice(choices, _COMPARED))
    return _closest(str(name).lower(), tuple(one for one in names if len(one) <= _NAME_LENGTH))


@lru_cache
def _closest(name: str, choices: tuple[str, ...]) -> str | None:
    names = {choice.lower(): choice for choice in choices}
    word = name.removeprefix("$")  # hyperparameters may have a `$` before their names
    for synonym in _SYNONYMS.get(word.replace("_", "").replace("-", ""), ()):
        if found := names.get(synonym, names.get(f"${synonym}")):
            return found
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return names[close[0]] if close else None


def near(name: Any, choices: Iterable[Any]) -> str:
    """Return `` (did you mean 'x'?)`` if one of the choices is close, otherwise an empty string."""
    close = closest(name, choices)
    return "" if close is None else f" (did you mean {close!r}?)"


def no_trial(study: str, number: int, planned: int) -> str:
    """Say that a trial of a study has not begun, or that no trial has this number."""
    what = f"trial {number} has not begun" if 0 <= number < planned else f"there is no trial {number}"
    return f"{study}: {what}; {planned} are planned, numbered from 0"


def missing(keys: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return the keys that are absent and that no present key seems to misspell."""
    present = list(present)
    keys = list(keys)
    misspelt = {closest(name, keys) for name in islice((name for name in present if name not in keys), _COMPARED)}
    return [key for key in keys if key not in present and key not in misspelt]


def unknown(what: str, name: Any, choices: Sequence[Any]) -> str:
    """Return the message that a name is not among the valid ones."""
    return f"unknown {what} {show(name)}{near(name, choices)}; valid: {listed(choices)}"


def plural(count: int, one: str, several: str | None = None) -> str:
    """Return a count with its noun, and the verb if there is one, in the singular or plural.

    >>> plural(1, "trial"), plural(2, "trial"), plural(0, "image is", "images are")
    ('1 trial', '2 trials', '0 images are')
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def span(low: float, high: float, digits: int = 4) -> str:
    """Return the ends of an interval with as many decimals as the one that needs more.

    >>> span(0.76612, 0.847), span(9.981, 12.3456), span(1e-9, 1)
    ('0.7661 to 0.8470', '9.981 to 12.346', '1e-09 to 1')
    """
    ends = [f"{end:.{digits}g}" for end in (low, high)]
    if not any("e" in end for end in ends):
        decimals = max(len(end.partition(".")[2]) for end in ends)
        ends = [f"{end:.{decimals}f}" for end in (low, high)]
    return " to ".join(ends)


def moment(seconds: float) -> str:
    """Format a time, in seconds since 1970, as UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def time_unit(seconds: float) -> tuple[int, str]:
    """Return the largest unit of time that a duration fills, in seconds, and its name in the singular.

    >>> time_unit(9_000.0), time_unit(90.0), time_unit(0.5)
    ((3600, 'hour'), (60, 'minute'), (1, 'second'))
    """
    return next((size, unit) for size, unit in _TIME_UNITS if seconds >= size or size == 1)


def duration(seconds: float) -> str:
    """Format a duration in seconds.

    >>> duration(7.26), duration(754.0), duration(9_000.0)
    ('7.26 s', '12.6 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.3g} min" if hours < 1 else f"{hours:.4g} h"


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that orders names as people do, by the numbers in them.

    >>> sorted(["rate_10", "rate_2", "rate"], key=natural)
    ['rate', 'rate_2', 'rate_10']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(part), part) if part[0] in "0123456789" else (1, 0, part) for part in parts]


def in_bytes(count: float) -> str:
    """Return a number of bytes in the largest fitting unit.

    >>> in_bytes(999), in_bytes(12_345_678)
    ('999 B', '12.3 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def dotted(path: KeyPath) -> str:
    """Return a path of keys in dotted form, such as ``model.layers[0].conv2d``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


_DECIMAL_COMMA = re.compile(r"(?<![\w.,(\[])([0-9]+),([0-9]+(?:[eE][-+]?[0-9]+)?)(?![\w.,])")


def point_hint(text: Any) -> str:
    """Return a hint to write a decimal point if a text has a number with a decimal comma, otherwise an empty string.

    >>> point_hint("learning_rate > 0,01")
    '; write a decimal point: 0.01, not 0,01'
    """
    found = _DECIMAL_COMMA.search(text) if isinstance(text, str) else None
    return f"; write a decimal point: {found[1]}.{found[2]}, not {found[0]}" if found else ""


def number_hint(value: Any) -> str:
    """Return a hint how to write a value that should be a number, if it is text that nearly is one.

    >>> number_hint("0,01"), number_hint("1e-3"), number_hint(True), number_hint("fast"), number_hint("nan")
    ('; write a decimal point: 0.01, not 0,01', '; without quotes', '', '', '')
    """
    try:
        is_quoted = isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        is_quoted = False
    return "; without quotes" if is_quoted else point_hint(value)


def few(names: Sequence[str], shown: int = 8) -> str:
    """Return the first names with commas, and the number of those left out."""
    rest = f", and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest
