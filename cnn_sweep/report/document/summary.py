"""Text and tables of a report: summary, search space, rungs, provenance, and commands to reproduce the study."""

from __future__ import annotations

import re
import shlex
import statistics
from typing import TYPE_CHECKING, Any

from cnn_sweep.execution.study.git_state import changed_files
from cnn_sweep.masking import masked
from cnn_sweep.messages import duration, few, moment, plural, time_unit
from cnn_sweep.report.axes import word
from cnn_sweep.report.leaderboards.leaderboard import Table, incomplete_in_words, mean_in_words, shown, value_in_words
from cnn_sweep.report.report_data import rung_levels
from cnn_sweep.search.rungs import Ladder
from cnn_sweep.sweep.repeats import read_more_repeats
from cnn_sweep.sweep.space.space import Choices

if TYPE_CHECKING:
    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData
    from cnn_sweep.search.importance import Findings
    from cnn_sweep.sweep.repeats import MoreRepeats
    from cnn_sweep.sweep.space.space import Parameter
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec

_MOST_NAMED = 20  # trials of a Pareto front
_MOST_FAILURES = 20
_MOST_MESSAGES = 5  # of one exception
_MOST_INTERACTIONS = 10
FAILURES = ("exception", "cause", "count", "trial", "message")
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Iteration))\b")


def summary(data: ReportData) -> list[tuple[str, str]]:
    """Return a summary of the search, its data, time, place and cost, as pairs of name and text."""
    found = data.summary
    states = ", ".join(f"{count:,} {state}" for state, count in found["trials"].items() if count)
    skipped = f"; {found['invalid']:,} invalid and {found['duplicates']:,} duplicate configurations were left out"
    return [
        (
            "objective",
            "; ".join(
                [
                    *(f"{one.direction} {one.metric}" for one in data.objectives),
                    *value_in_words(data.metric, found["last_epochs"]),
                ]
            ),
        ),
        *([("constraints", _constraints(data))] if found["constraints"] else []),
        ("best", _best(data)),
        *([("Pareto front", _front(data))] if data.front else []),
        ("trials", f"{states or 'none'}, of {found['planned']:,} planned" + skipped),
        ("search", f"{found['method'] or 'unknown'}, {len(found['parameters'])} hyperparameters"),
        ("data", _dataset(data)),
        ("time", _time(data)),
        ("where", _where(data)),
        ("cost", _cost(data)),
        *([("damage", f"{found['bad_lines']:,} damaged journal lines were skipped")] if found["bad_lines"] else []),
        *(("incomplete", note) for note in incomplete_in_words(data.board.rows)),
    ]


def _constraints(data: ReportData) -> str:
    violated = len(data.ranked) - len(data.feasible)
    counts = f"violated by {violated:,} of {plural(len(data.ranked), 'complete trial')}"
    return "; ".join([*data.summary["constraints"], counts])


def _best(data: ReportData) -> str:
    best = data.summary["best"]
    if best is None:
        return data.nothing_complete[0].lower() + data.nothing_complete[1:].rstrip(".")
    others = [_best_of(data, one) for one in data.objectives[1:]]
    return "; ".join([_best_of_the_first(data, best), *filter(None, others)])


def _best_of_the_first(data: ReportData, best: Row) -> str:
    """Describe the best trial by the first objective; with repeats, the best configuration and its mean."""
    configuration = data.best_configuration
    if configuration is None or data.configurations is None:
        return f"{data.metric} {shown(best['value'])} (trial {best['trial']})"
    tied = sum(bool(row["tied"]) for row in data.configurations.rows)
    return (
        f"{data.metric} {mean_in_words(configuration, others=tied - 1)}: the configuration of trial "
        f"{configuration['trial']}; best trial: {shown(best['value'])} (trial {best['trial']}), best of "
        f"{len(data.ranked):,} trials, so optimistic (selection bias)"
    )


def _best_of(data: ReportData, objective: ObjectiveSpec) -> str | None:
    """Describe the best trial by one of several objectives alone."""
    rows = [row for row in data.ranked if row.get(objective.metric) is not None]
    if not rows:
        return None
    best = min(rows, key=lambda row: objective.direction.key(row[objective.metric]))
    return f"{objective.metric} {shown(best[objective.metric])} (trial {best['trial']})"


def _front(data: ReportData) -> str:
    trials = [str(row["trial"]) for row in data.front]
    some = ", ".join(trials[:_MOST_NAMED]) + (", …" if len(trials) > _MOST_NAMED else "")
    knee = data.knee
    if knee is None:
        return f"{len(trials):,} of {len(data.ranked):,} complete trials: {some}"
    values = ", ".join(f"{one.metric} {shown(knee[one.metric])}" for one in data.objectives)
    return f"{len(trials):,} of {len(data.ranked):,} complete trials: {some}; knee: trial {knee['trial']} ({values})"


def failures(data: ReportData) -> list[Row]:
    """List the most frequent failures by exception and message, and count the others.

    Those of one exception stand together, the most frequent exception first, with a few of their messages.
    """
    groups: dict[str, list[Row]] = {}
    for row in data.failures:
        name = _exception(row)
        groups.setdefault(name, []).append({"exception": name, **row})
    ordered = sorted(groups.values(), key=lambda group: -sum(row["count"] for row in group))
    found = [row for group in ordered for row in group[:_MOST_MESSAGES]][:_MOST_FAILURES]
    rest = len(data.failures) - len(found)
    count = sum(row["count"] for row in data.failures) - sum(row["count"] for row in found)
    message = f"{rest:,} other messages; `cnn-sweep leaderboard {data.study} --columns trial,cause,message`"
    return found + ([{"exception": "others", "count": count, "message": message}] if rest else [])


def _exception(failure: Row) -> str:
    """Return the exception that a failure's message begins with, or the cause if it begins with none."""
    found = _EXCEPTION.match(failure["message"] or "")
    return str(found[1] if found else failure["cause"])


def _dataset(data: ReportData) -> str:
    if data.sweep is None:
        return "the sweep file cannot be read"
    settings = data.sweep.data.model_dump(exclude_none=True, mode="json")
    if data.sweep.data.validation_set is None:  # with folds, each of them validates
        settings.pop("validation", None)
    source = settings.pop("source", data.sweep.data.source)
    return ", ".join([str(source), *(f"{name} {shown(value)}" for name, value in settings.items())])


def _time(data: ReportData) -> str:
    began, ended = data.cost["began"], data.cost["ended"]
    if began is None:
        return "nothing has begun"
    return f"{moment(began)} to {moment(ended)} UTC ({duration(ended - began)})"


def _where(data: ReportData) -> str:
    hosts = sorted({worker["host"] for worker in data.workers})
    some = ", ".join(hosts[:8]) + (f" and {len(hosts) - 8} more" if len(hosts) > 8 else "")
    places = (
        f"{len(data.workers):,} worker{'s' if len(data.workers) > 1 else ''} on {some}"
        if hosts
        else "no worker has begun"
    )
    clusters: dict[str, list[str]] = {}
    for job in data.jobs:
        clusters.setdefault(job["cluster"], []).append(job["job"])
    return "; ".join([places, *(f"Slurm cluster {name}, jobs {', '.join(jobs)}" for name, jobs in clusters.items())])


def _cost(data: ReportData) -> str:
    cost = data.cost
    gpus = "" if cost["gpu_seconds"] is None else f"{computing(cost['gpu_seconds'], 'GPU')}, "
    return gpus + (
        f"{computing(cost['core_seconds'], 'core')} in {cost['attempts']:,} attempts "
        f"({duration(cost['attempt_seconds'])} of training)"
    )


def computing(seconds: float, device: str) -> str:
    """Format a computing time.

    >>> computing(162.4, "core"), computing(1.2e6, "GPU"), computing(60, "core")
    ('2.71 core minutes', '333 GPU hours', '1 core minute')
    """
    divisor, unit = time_unit(seconds)
    number = f"{seconds / divisor:,.0f}" if seconds >= 1000 * divisor else f"{seconds / divisor:.3g}"
    return f"{number} {device} {unit}{'' if number == '1' else 's'}"


def space(data: ReportData) -> list[Row]:
    """Describe each hyperparameter: its values, and the conditions under which it is active."""
    if data.sweep is None:
        return [{"hyperparameter": name, "values": "?"} for name in data.summary["parameters"]]
    return [_parameter(parameter) for parameter in data.sweep.space.parameters]


def _parameter(parameter: Parameter) -> Row:
    domain = parameter.domain
    if isinstance(domain, Choices):
        values = ", ".join(word(value) for value in domain.values)
    else:
        values = f"{shown(domain.low)} to {shown(domain.high)}"
        values += f" in steps of {shown(domain.step)}" if domain.step is not None else ""
        values += ", logarithmic" if domain.log else ""
    when = ", ".join(f"{name} in ({', '.join(map(word, values))})" for name, values in parameter.when.items())
    return {"hyperparameter": parameter.name, "values": values, "only with": when}


def origins(data: ReportData) -> list[tuple[str, str]]:
    """Return the study's provenance (code, versions, command, host, seeds) as pairs of name and text."""
    found = data.provenance
    if not found:
        return [("provenance", "provenance.json cannot be read")]
    pairs: list[tuple[str, Any]] = [
        ("created", found.get("created")),
        ("command", masked(str(found.get("command") or ""))),
        ("host", found.get("host")),
        ("folder", found.get("folder")),
        ("git commit", _commit(found.get("git") or {})),
        ("seeds", ", ".join(map(str, _seeds(data)))),
        ("digest", found.get("digest")),
        ("versions", ", ".join(f"{name} {version}" for name, version in (found.get("versions") or {}).items())),
    ]
    return [(name, str(value)) for name, value in pairs if value]


def _commit(git: dict[str, Any]) -> str | None:
    """Name the commit and the files that differed from it; what differed stays in the study's own folder."""
    if not git.get("sha"):
        return None
    names = changed_files(git)
    return f"{git['sha']}, with changes in {plural(len(names), 'file')}: {few(names)}" if names else str(git["sha"])


def _seeds(data: ReportData) -> list[int]:
    """Return the seeds of the trials; before the first trial, those of the sweep."""
    trained = {row["seed"] for row in data.board.rows if row.get("seed") is not None}
    return sorted(trained) or data.provenance.get("seeds") or []


def rung_table(data: ReportData) -> Table | None:
    """Count the trials at each rung.

    Returns:
        A row for each bracket and rung: its epochs; the numbers of trials that ``reached`` it, ``went on`` from it and
        ``rest`` at it; and the best, the median and the worst promoted of the trials' values there. A trial's value is
        its best up to these epochs, by which it is promoted. Repeats do not compete and are left out. None if the study
        has no rungs.
    """
    sweep = data.sweep
    ladder = Ladder.of(sweep.pruner) if sweep is not None else None
    if ladder is None:
        return None
    rows = []
    for bracket in range(ladder.brackets):
        rivals = (row for row in data.board.rows if not row.get("repeat"))
        own = [row for row in rivals if ladder.bracket(row["trial"]) == bracket]
        longest = max((row["epochs"] or 0 for row in own), default=0)
        for level in rung_levels(ladder, bracket, longest):
            reached = [row for row in own if (row["epochs"] or 0) >= level]
            results = data.at_rungs.get(level, {})
            values = [results[row["trial"]] for row in reached if row["trial"] in results]
            promoted = [results[row["trial"]] for row in reached if row["epochs"] > level and row["trial"] in results]
            rows.append(
                {
                    "bracket": bracket,
                    "epochs": level,
                    "reached": len(reached),
                    "went on": sum(row["epochs"] > level for row in reached),
                    "rest": sum(row["epochs"] == level and row["state"] in {"paused", "pruned"} for row in reached),
                    f"best {data.metric}": min(values, key=data.direction.key, default=None),
                    "median": statistics.median(values) if values else None,
                    "worst promoted": max(promoted, key=data.direction.key, default=None),
                }
            )
    leading = ("bracket",) if ladder.brackets > 1 else ()
    found = ("epochs", "reached", "went on", "rest", f"best {data.metric}", "median", "worst promoted")
    return Table((*leading, *found), tuple(rows))


def rung_rule(data: ReportData) -> str:
    """Say what happens at rungs, and which one pilots chose as the first that decides, if they did."""
    rule = "Trials pause at rungs, and the best at each rung go on."
    return rule if data.first_rung is None else f"{rule} The first rung that decides: {data.first_rung}."


def interaction_table(findings: dict[str, Findings]) -> Table | None:
    """List the pairs with the strongest interactions for each objective; None if no pair could be judged."""
    rows = [
        {
            "objective": metric,
            "hyperparameters": f"{one.first} and {one.second}",
            "share of the variance": one.share,
            "p": one.p,
        }
        for metric, found in findings.items()
        for one in found.interactions[:_MOST_INTERACTIONS]
    ]
    leading = ("objective",) if len(findings) > 1 else ()
    return Table((*leading, "hyperparameters", "share of the variance", "p"), tuple(rows)) if rows else None


def sweep_files(data: ReportData) -> dict[str, str]:
    """Return the text of each sweep file by name, the oldest first; revisions by ``repeat`` are not sweep files."""
    return {name: text for name, text in data.revisions.items() if read_more_repeats(text) is None}


def commands(data: ReportData) -> str:
    """Write the commands that reproduce the study and show its best trial."""
    versions = data.provenance.get("versions") or {}
    sha = (data.provenance.get("git") or {}).get("sha")
    pins = " ".join(
        shlex.quote(f"{name}=={versions[name]}") for name in ("cnn-sweep", "tensorflow", "keras") if name in versions
    )
    files = "Save the sweep file below as sweep.yaml"
    if len(sweep_files(data)) > 1:
        files = "Save the sweep files below under their names"
    lines = [f"# {files}. The same versions and seeds give the same results."]
    lines += _what_may_differ(data)
    lines += [f"git checkout {shlex.quote(sha)}"] if sha else []
    lines += [f"pip install {pins}"] if pins else []
    lines += [line for name, text in data.revisions.items() for line in _of_revision(data, name, text)]
    lines += [f"cnn-sweep leaderboard {data.study} --top 10"]
    lines += [f"cnn-sweep show {data.study} {data.best_trial}"] if data.best_trial is not None else []
    return "\n".join(lines)


def _what_may_differ(data: ReportData) -> list[str]:
    sweep = data.sweep
    if sweep is None or not (sweep.search.is_adaptive or sweep.pruner):
        return []
    return [
        "# This search chooses or stops trials depending on which others are complete: several workers may try other",
        "# trials than in this study. The same hyperparameters and seed still give the same result.",
    ]


def _of_revision(data: ReportData, name: str, text: str) -> list[str]:
    if (more := read_more_repeats(text)) is not None:
        return _of_repeats(data, more)
    if name == next(iter(data.revisions)):
        return [f"cnn-sweep run {name}{_threads(data)}"]
    return [f"cnn-sweep run {name} --extend"]


def _of_repeats(data: ReportData, more: MoreRepeats) -> list[str]:
    if more.round is not None:
        added = filter(None, map(read_more_repeats, data.revisions.values()))
        most = max(other.at_most or other.repeats for other in added if other.round is not None)
        one = f"cnn-sweep repeat {data.study} --until-decided --top {len(more.trials)} --at-most {most}"
        return [one] if more.round == 1 else []  # the first round's command goes on with the others
    study = data.study
    chosen = ", ".join(map(str, more.trials))
    which = "the configuration of trial" if len(more.trials) == 1 else "the configurations of trials"
    return [
        f"# `repeat` chose {which} {chosen}; it chooses the same again if the same trials are complete by then.",
        f"cnn-sweep repeat {study} --top {len(more.trials)} --repeats {more.repeats}",
        f"cnn-sweep resume {study}",
    ]


def _threads(data: ReportData) -> str:
    """Return the option ``--threads``, since results depend on it; empty if the sweep file or the default sets it."""
    found = {worker["threads"] for worker in data.workers}
    is_said = data.sweep is not None and data.sweep.threads is not None
    return "" if is_said or found <= {1} else f" --threads {max(found)}"
