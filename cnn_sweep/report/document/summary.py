"""What a study was and what it took, in words: for the report's summary, its provenance, and its Markdown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.axes import word
from cnn_sweep.report.leaderboards.leaderboard import mean_in_words, shown
from cnn_sweep.sweep.space.space import Choices

if TYPE_CHECKING:
    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import Material
    from cnn_sweep.sweep.space.space import Parameter
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec

_MOST_NAMED = 20  # trials of a front
_MOST_FAILURES = 20


def summary(material: Material) -> list[tuple[str, str]]:
    """Say what was searched, on what, how long, where, and what it cost."""
    found = material.summary
    states = ", ".join(f"{count:,} {state}" for state, count in found["trials"].items() if count)
    skipped = f"; {found['invalid']:,} invalid and {found['duplicates']:,} duplicate configurations were left out"
    return [
        ("objective", "; ".join(f"{one.direction} {one.metric}" for one in material.objectives)),
        ("best", _best(material)),
        *([("Pareto front", _front(material))] if material.front else []),
        ("trials", f"{states or 'none'}, of {found['planned']:,} planned" + skipped),
        ("search", f"{found['method'] or 'unknown'}, {len(found['parameters'])} hyperparameters"),
        ("data", _data(material)),
        ("time", _time(material)),
        ("where", _where(material)),
        ("cost", _cost(material)),
        *([("damage", f"{found['bad_lines']:,} damaged journal lines were skipped")] if found["bad_lines"] else []),
    ]


def _best(material: Material) -> str:
    best = material.summary["best"]
    if best is None:
        return material.nothing_complete[0].lower() + material.nothing_complete[1:].rstrip(".")
    others = [_best_of(material, one) for one in material.objectives[1:]]
    return "; ".join([_best_of_the_first(material, best), *filter(None, others)])


def _best_of_the_first(material: Material, best: Row) -> str:
    """Say what is best by the first objective: a trial, or with repeats a configuration and its mean."""
    configuration = material.best_configuration
    if configuration is None or material.configurations is None:
        return f"{material.metric} {shown(best['value'])} (trial {best['trial']})"
    tied = sum(bool(row["tied"]) for row in material.configurations.rows)
    return (
        f"{material.metric} {mean_in_words(configuration, others=tied - 1)}: the configuration of trial "
        f"{configuration['trial']}; best trial: {shown(best['value'])} (trial {best['trial']}), which is partly luck"
    )


def _best_of(material: Material, objective: ObjectiveSpec) -> str | None:
    """Say which trial is best by one of several objectives alone."""
    rows = [row for row in material.ranked if row.get(objective.metric) is not None]
    if not rows:
        return None
    best = min(rows, key=lambda row: objective.direction.key(row[objective.metric]))
    return f"{objective.metric} {shown(best[objective.metric])} (trial {best['trial']})"


def _front(material: Material) -> str:
    trials = [str(row["trial"]) for row in material.front]
    some = ", ".join(trials[:_MOST_NAMED]) + (", …" if len(trials) > _MOST_NAMED else "")
    return f"{len(trials):,} of {len(material.ranked):,} complete trials: {some}"


def failures(material: Material) -> list[Row]:
    """List the failures by cause and message; beyond the most frequent ones the rest is counted."""
    shown_ones, rest = material.failures[:_MOST_FAILURES], material.failures[_MOST_FAILURES:]
    count = sum(row["count"] for row in rest)
    message = f"{len(rest):,} other messages; `cnn-sweep leaderboard {material.study} --columns trial,cause,message`"
    return shown_ones + ([{"cause": "others", "count": count, "message": message}] if rest else [])


def _data(material: Material) -> str:
    if material.sweep is None:
        return "the sweep file cannot be read"
    settings = material.sweep.data.model_dump(exclude_none=True, mode="json")
    source = settings.pop("source", material.sweep.data.source)
    return ", ".join([str(source), *(f"{name} {shown(value)}" for name, value in settings.items())])


def _time(material: Material) -> str:
    began, ended = material.cost["began"], material.cost["ended"]
    if began is None:
        return "nothing has begun"
    return f"{moment(began)} to {moment(ended)} UTC ({duration(ended - began)})"


def _where(material: Material) -> str:
    hosts = sorted({worker["host"] for worker in material.workers})
    some = ", ".join(hosts[:8]) + (f" and {len(hosts) - 8} more" if len(hosts) > 8 else "")
    places = (
        f"{len(material.workers):,} worker{'s' if len(material.workers) > 1 else ''} on {some}"
        if hosts
        else "no worker has begun"
    )
    clusters: dict[str, list[str]] = {}
    for job in material.jobs:
        clusters.setdefault(job["cluster"], []).append(job["job"])
    return "; ".join([places, *(f"Slurm cluster {name}, jobs {', '.join(jobs)}" for name, jobs in clusters.items())])


def _cost(material: Material) -> str:
    cost = material.cost
    gpus = "" if cost["gpu_seconds"] is None else f"{cost['gpu_seconds'] / 3600:.3g} GPU hours, "
    return gpus + (
        f"{cost['core_seconds'] / 3600:.3g} core hours in {cost['attempts']:,} attempts "
        f"({duration(cost['attempt_seconds'])} of training)"
    )


def space(material: Material) -> list[Row]:
    """Describe each hyperparameter: what it could be and when it counts."""
    if material.sweep is None:
        return [{"hyperparameter": name, "values": "?"} for name in material.summary["parameters"]]
    return [_parameter(parameter) for parameter in material.sweep.space.parameters]


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


def origins(material: Material) -> list[tuple[str, str]]:
    """Say where the study comes from: code, versions, command, host, seeds."""
    found = material.provenance
    if not found:
        return [("provenance", "provenance.json cannot be read")]
    git = found.get("git") or {}
    pairs: list[tuple[str, Any]] = [
        ("created", found.get("created")),
        ("command", found.get("command")),
        ("host", found.get("host")),
        ("folder", found.get("folder")),
        ("git commit", f"{git['sha']}{', with changes' if git.get('diff') else ''}" if git.get("sha") else None),
        ("seeds", ", ".join(map(str, _seeds(material)))),
        ("digest", found.get("digest")),
        ("versions", ", ".join(f"{name} {version}" for name, version in (found.get("versions") or {}).items())),
    ]
    return [(name, str(value)) for name, value in pairs if value]


def _seeds(material: Material) -> list[int]:
    """Return the seeds that were trained; before any was, those that the sweep asked for at first."""
    trained = {row["seed"] for row in material.board.rows if row.get("seed") is not None}
    return sorted(trained) or material.provenance.get("seeds") or []


def moment(seconds: float) -> str:
    """Write a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Write how long something took."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.3g} min" if hours < 1 else f"{hours:.4g} h"
