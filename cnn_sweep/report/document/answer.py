"""What a report says first: the best trial, whether it is really better, what matters, what to do next, the cost."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import duration, few, plural, span
from cnn_sweep.report.axes import word
from cnn_sweep.report.document.summary import computing
from cnn_sweep.report.leaderboards.leaderboard import not_counted, shown
from cnn_sweep.report.models.openings import count_in_words
from cnn_sweep.store.column_names import VIOLATION
from cnn_sweep.sweep.space.space import Choices, Range
from cnn_sweep.sweep.states import unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData
    from cnn_sweep.search.importance import Findings
    from cnn_sweep.sweep.space.space import Parameter

# The parts of the answer, with their headings.
PARTS: Final = {
    "best": "Best",
    "verdict": "Is it really better?",
    "drivers": "What matters",
    "steps": "What next",
    "cost": "Cost",
}
_DRIVERS: Final = 3
_MOST_CHIPS: Final = 16
_MOST_REPEATED: Final = 10  # configurations that one `repeat` is advised for
_SEEDS: Final = 5  # repeats that are advised for configurations with one seed
_MORE_SEEDS: Final = 3  # repeats that are advised on top of several
_LEADERS: Final = 3  # the best few trials, most of which must be at an edge before widening is advised
_AT_EDGE: Final = 0.02  # share of a range that counts as its edge
_ENDS: Final = ("lowest", "highest")
# Parts of the training time that count for nothing.
_WASTE: Final = {"failed": "failed trials", "repeated": "repeated epochs"}


@dataclass(frozen=True)
class Chip:
    """A hyperparameter of the best trial.

    Attributes:
        name: The hyperparameter.
        value: Its value as text.
        differs: Whether the second best trial has another value.
    """

    name: str
    value: str
    differs: bool


@dataclass(frozen=True)
class Best:
    """The best trial, or the configuration with the best mean.

    Attributes:
        metric: The objective.
        value: Its value.
        interval: The 95% interval and its kind; empty if it is unknown.
        of: Which trial or configuration it is.
        notes: Sentences: the other objectives, the score on the test set, selection bias.
        chips: Its hyperparameters that vary in the study.
    """

    metric: str
    value: str
    interval: str
    of: str
    notes: tuple[str, ...]
    chips: tuple[Chip, ...]


@dataclass(frozen=True)
class Step:
    """Something to do.

    Attributes:
        why: The reason, a sentence without its full stop.
        command: The command to type; empty if there is nothing to type.
    """

    why: str
    command: str = ""


@dataclass(frozen=True)
class Driver:
    """A hyperparameter that matters.

    Attributes:
        name: The hyperparameter.
        share: Its share of the explained variance (fANOVA), 0 to 1.
        best: The value, or group of values, with the best mean.
    """

    name: str
    share: float
    best: str


def headline(data: ReportData) -> str:
    """Return the objectives and the trials by state in one line."""
    counts = ", ".join(f"{count:,} {state}" for state, count in data.summary["trials"].items() if count)
    goals = "; ".join(f"{one.direction} {one.metric}" for one in data.objectives)
    cancelled = ", cancelled" if data.summary["cancelled"] else ""
    return f"{goals} · {counts or 'no trial'} of {data.summary['planned']:,} planned{cancelled}"


def best(data: ReportData) -> Best | None:
    """Describe the best trial or configuration; None if no trial is complete."""
    if not data.contenders:
        return None
    first, *rest = data.contenders
    pairs = [(axis, data.setting(first, axis)) for axis in data.axes.values() if axis.varies]
    chips = [
        Chip(axis.label, word(value), bool(rest) and data.setting(rest[0], axis) != value)
        for axis, value in pairs
        if value is not None
    ]
    interval = data.interval(first)
    kind = "over trainings" if data.has_means else f"Wilson, {data.validation_images:,} validation images"
    return Best(
        metric=data.metric,
        value=shown(data.score(first)),
        interval="" if interval is None else f"{span(*interval)} (95%, {kind})",
        of=_which(data, first),
        notes=(*_left_out(len(chips) - _MOST_CHIPS), *_notes(data, first)),
        chips=tuple(sorted(chips, key=lambda chip: not chip.differs)[:_MOST_CHIPS]),
    )


def _left_out(chips: int) -> list[str]:
    more = plural(chips, "more hyperparameter is", "more hyperparameters are")
    return [f"{more} in the leaderboard"] if chips > 0 else []


def _which(data: ReportData, first: Row) -> str:
    if not data.has_means:
        return f"trial {first['trial']}"
    return f"mean of {first['n']} trainings, sd {first['sd']:.2g}, of the configuration of trial {first['trial']}"


def _notes(data: ReportData, first: Row) -> Iterator[str]:
    if first.get(VIOLATION):
        yield f"no complete trial satisfies the constraints; its violation is {shown(first[VIOLATION])}"
    others = [
        f"{one.metric} {shown(value)}" for one in data.objectives[1:] if (value := first.get(one.metric)) is not None
    ]
    if others:
        knee = f", whose knee is trial {data.knee['trial']}" if data.knee else ""
        yield f"with {', '.join(others)}; {plural(len(data.front), 'trial is', 'trials are')} on the Pareto front{knee}"
    tested = next((row for row in data.board.rows if row["trial"] == first["trial"]), {})
    scores = [f"{name} {shown(value)}" for name, value in tested.items() if _is_test(data, name) and value is not None]
    if scores:
        yield f"on the test set: {', '.join(scores)}"
    elif len(data.contenders) > 1 and (data.corrected or not data.has_means):
        without = f": {data.corrected.in_words}" if data.corrected else ""
        yield f"best of {len(data.contenders):,}, so optimistic (selection bias){without}"
    name = f"test_{data.metric.removeprefix('val_')}"
    for model, row in data.tests.items():
        if row["model"] and name in row["metrics"]:
            yield f"{model} on the test set: {name} {shown(row['metrics'][name])}"
    if (count := count_in_words(data.openings)) is not None:
        yield count


def _is_test(data: ReportData, column: str) -> bool:
    return column.removesuffix("_finalized") == f"test_{data.metric.removeprefix('val_')}"


def verdict(data: ReportData) -> Step:
    """Say whether the best is really better than the others, and which command would settle it."""
    if len(data.contenders) < 2:
        return Step("There is no other complete trial to compare it with")
    found = _of_means(data) if data.has_means else _of_single_seeds(data)
    left = unfinished(data.summary["trials"]) and not data.summary["cancelled"]
    return Step(f"{found.why}. First wait for the trials that are left") if left and found.command else found


def _of_means(data: ReportData) -> Step:
    """Judge configurations with several seeds by the intervals of their differences."""
    first, *rest = data.contenders
    several = [row for row in rest if row["n"] > 1]
    singles = len(rest) - len(several)
    alone = f". {plural(singles, 'other', 'others')} with one seed cannot be judged" if singles else ""
    if not several:
        top = min(len(rest) + 1, _SEEDS)
        return Step("No other configuration has several seeds", _repeat(data, top, max(first["n"], _SEEDS)))
    tied = [row for row in several if row["tied"] is not False]
    if not tied:
        others = plural(len(several), "other configuration is", "other configurations are")
        return Step(f"Yes: {others} worse, by the 95% intervals of the differences{alone}")
    trials = few([str(row["trial"]) for row in tied])
    which = f"the configuration of trial {trials}" if len(tied) == 1 else f"the configurations of trials {trials}"
    again = _repeat(data, len(tied) + 1, first["n"] + _MORE_SEEDS)
    return Step(f"Not certain: {which} cannot be distinguished from it (95%){alone}", again)


def _of_single_seeds(data: ReportData) -> Step:
    """Judge trials by the error of the validation set alone."""
    first, second, *_ = data.contenders
    interval = data.interval(first)
    if interval is None:
        lead = f"its lead over trial {second['trial']} is {abs(first['value'] - second['value']):.2g}"
        return Step(f"Unknown: {lead}, and with one seed each that may be luck", _repeat(data, _SEEDS, _SEEDS))
    low, high = interval
    tied = [row for row in data.contenders[1:] if low <= row["value"] <= high]
    of = f"its interval, {span(low, high)}"
    if not tied:
        return Step(
            f"Probably: no other trial lies within the validation set's own error ({of}); another seed may still "
            "change the order",
            _repeat(data, 2, _SEEDS),
        )
    count = plural(len(tied), "other trial lies", "other trials lie")
    return Step(
        f"Not certain: {count} within the validation set's own error ({of}), and each has one seed",
        _repeat(data, len(tied) + 1, _SEEDS),
    )


def _repeat(data: ReportData, top: int, repeats: int) -> str:
    top = min(top, _MOST_REPEATED, len(data.contenders))
    return f"cnn-sweep repeat {data.study} --top {top} --repeats {repeats}"


def drivers(data: ReportData) -> list[Driver]:
    """Return the hyperparameters that matter most, and more than chance, with the values whose mean is best."""
    findings = data.findings
    if findings is None:
        return []
    least = findings.noise or 0.0
    known = [one for one in findings.importances if one.fanova is not None and least <= one.fanova < math.inf]
    return [
        Driver(
            one.parameter + (" (where active)" if one.conditional else ""),
            one.fanova or 0.0,
            _best_value(data, findings, one.parameter),
        )
        for one in known[:_DRIVERS]
    ]


def certainty(data: ReportData) -> str:
    """Say what the shares of `drivers` are worth; empty if nothing was estimated."""
    if data.findings is None or not data.findings.importances:
        return ""
    nothing = "" if drivers(data) else "No single hyperparameter matters more than chance. "
    return f"{nothing}{data.findings.certainty} {not_counted(data.summary['trials'])}".strip()


def in_lines(data: ReportData) -> dict[str, list[Step]]:
    """Return the answer as sentences under the headings of its parts, for a report without cards."""
    found = best(data)
    if found is None:
        top = [Step(data.nothing_complete.rstrip("."))]
    else:
        chips = ", ".join(f"{chip.name} {chip.value}" for chip in found.chips)
        interval = f", {found.interval}" if found.interval else ""
        top = [Step(f"{found.metric} {found.value}{interval}: {found.of}"), *([Step(chips)] if chips else [])]
        top += [Step(note[0].upper() + note[1:]) for note in found.notes]
    matters = [
        Step(f"{one.name}: {one.share:.0%}" + (f", best on average: {one.best}" if one.best else ""))
        for one in drivers(data)
    ]
    matters += [Step(certainty(data).rstrip("."))] if certainty(data) else []
    return {
        PARTS["best"]: top,
        PARTS["verdict"]: [verdict(data)],
        PARTS["drivers"]: matters,
        PARTS["steps"]: next_steps(data),
        PARTS["cost"]: [Step(f"{name}: {text}") for name, text in cost(data)],
    }


def _best_value(data: ReportData, findings: Findings, parameter: str) -> str:
    effects = [one for one in findings.effects if one.parameter == parameter]
    if not effects:
        return ""
    return word(min(effects, key=lambda one: data.direction.key(one.mean)).value)


def next_steps(data: ReportData) -> list[Step]:
    """List what follows: unfinished and failed trials, ranges to widen, the test set."""
    steps = [*_unfinished(data), *_failed(data), *_wider(data)]
    left = unfinished(data.summary["trials"]) and not data.summary["cancelled"]
    if data.ranked and not left and _has_test_images(data) and not data.tests:
        steps.append(Step("Once you have chosen: score it on the sealed test set", f"cnn-sweep finalize {data.study}"))
    return steps


def _has_test_images(data: ReportData) -> bool:
    return data.images is None or sum(data.images.get("test", {}).values()) > 0


def _unfinished(data: ReportData) -> Iterator[Step]:
    counts = data.summary["trials"]
    left = unfinished(counts)
    profile = f" --profile {shlex.quote(data.jobs[-1]['profile'])}" if data.jobs and data.jobs[-1]["profile"] else ""
    resume = f"cnn-sweep resume {data.study}{profile}"
    if not left:
        return
    if data.summary["cancelled"]:
        yield Step("It was cancelled; this continues it", resume)
    elif counts.get("running"):
        others = f", {left - counts['running']:,} wait" if left > counts["running"] else ""
        yield Step(f"{counts['running']:,} running{others}: follow them", f"cnn-sweep status {data.study} --watch")
    elif data.sweep is not None and data.sweep.search.has_budget:
        yield Step("See whether a limit of the search has ended it", f"cnn-sweep status {data.study}")
    else:
        yield Step(f"{plural(left, 'trial is', 'trials are')} not finished, and none is running", resume)


def _failed(data: ReportData) -> Iterator[Step]:
    count = data.summary["trials"].get("failed", 0)
    if count and data.failures:
        most = data.failures[0]
        message = shown(most["message"] or most["cause"])
        said = message if len(message) <= 60 else f"{message[:57]}…"
        yield Step(
            f"{plural(count, 'trial')} failed, most often with: {said}", f"cnn-sweep show {data.study} {most['trial']}"
        )


def _wider(data: ReportData) -> Iterator[Step]:
    """Advise to widen ranges at whose edge most of the best few trials are."""
    leaders = data.contenders[:_LEADERS]
    if data.sweep is None or len(leaders) < _LEADERS:
        return
    by_name = data.sweep.space.by_name
    for axis in data.axes.values():
        parameter = by_name.get(axis.label)
        if parameter is None or not axis.numeric or "." in axis.label:
            continue
        values = [value for row in leaders if (value := data.setting(row, axis)) is not None]
        if not values or (found := _edge(parameter, values)) is None:
            continue
        end, change = found
        copied = f"cnn-sweep copy {data.study} {data.study}-wider.yaml --set {shlex.quote(change)}"
        yield Step(f"Most of the best have the {end} {axis.label}, {word(values[0])}: try beyond", copied)


def _edge(parameter: Parameter, values: Sequence[float]) -> tuple[str, str] | None:
    """Return the end of a domain at which the first and most of these values are, and a change that widens it."""
    domain = parameter.domain
    if isinstance(domain, Choices):
        if len(domain.values) <= len(_ENDS) or not all(map(_is_number, domain.values)):
            return None
        ends: tuple[float, float] = min(domain.values), max(domain.values)
    else:
        ends = domain.low, domain.high
    for place, end in enumerate(ends):
        there = [_is_near(domain, value, end) for value in values]
        if there[0] and 2 * sum(there) > _LEADERS and (beyond := _beyond(domain, place)) is not None:
            return _ENDS[place], f"space.{parameter.name}.{beyond}" if isinstance(domain, Range) else (
                f"space.{parameter.name}{'.choices' if parameter.when else ''}={beyond}"
            )
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_near(domain: Choices | Range, value: float, end: float) -> bool:
    if isinstance(domain, Choices) or domain.low == domain.high:
        return value == end
    scale = math.log if domain.log else float
    return abs(scale(value) - scale(end)) <= _AT_EDGE * (scale(domain.high) - scale(domain.low))


def _beyond(domain: Choices | Range, place: int) -> str | None:
    """Return the wider domain as its key's text in a sweep file; None if nothing sensible lies beyond that end."""
    if isinstance(domain, Choices):
        ordered = sorted(domain.values, reverse=place == 0)
        last, before = ordered[-1], ordered[-2]
        further = last * last / before if before > 0 and last > 0 else None
        if further is None:
            return None
        new = round(further) if all(isinstance(one, int) for one in domain.values) else float(f"{further:.3g}")
        wider = [new, *domain.values] if place == 0 else [*domain.values, new]
        return None if new in domain.values or new <= 0 else json.dumps(wider).replace(" ", "")
    old = (domain.low, domain.high)[place]
    if domain.log:
        new = old * (0.1, 10.0)[place]
    elif place == 0:
        new = old / 2 if old >= 0 else old - (domain.high - old) / 2
    else:
        is_share = domain.low >= 0 and old <= 1 and not domain.integer
        new = (1 + old) / 2 if is_share else old + (old - domain.low) / 2
    text = str(round(new)) if domain.integer else f"{float(f'{new:.3g}')!r}"
    return None if float(text) == old or (domain.integer and float(text) < 1) else f"{('low', 'high')[place]}={text}"


def cost(data: ReportData) -> list[tuple[str, str]]:
    """Return computing time, wall time and the share of training that did not count, as names and texts."""
    found = data.cost
    if found["began"] is None:
        return [("cost", "nothing has begun")]
    pairs = [("computing", computing(found["core_seconds"], "core"))]
    if found["gpu_seconds"] is not None:
        pairs.append(("GPUs", computing(found["gpu_seconds"], "GPU")))
    pairs.append(("wall time", duration(found["ended"] - found["began"])))
    pairs.append(("attempts", f"{found['attempts']:,} at {plural(len(data.board.rows), 'trial')}"))
    total = sum(found[name] for name in ("counted", *_WASTE, "between"))
    if total:
        parts = [f"{words} {found[name] / total:.0%}" for name, words in _WASTE.items() if found[name]]
        wasted = sum(found[name] for name in _WASTE) / total
        pairs.append(("wasted", f"{wasted:.0%}" + (f" ({', '.join(parts)})" if parts else "")))
    return pairs
