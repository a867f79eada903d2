"""What somebody else needs to do a study again: its sweep files and the commands, in order."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from cnn_sweep.sweep.repeats import read_more_repeats

if TYPE_CHECKING:
    from cnn_sweep.report.report_data import Material
    from cnn_sweep.sweep.repeats import MoreRepeats


def sweep_files(material: Material) -> dict[str, str]:
    """Return name to text of the sweep files, the oldest first; what ``repeat`` added is a command and no file."""
    return {name: text for name, text in material.revisions.items() if read_more_repeats(text) is None}


def commands(material: Material) -> str:
    """Write the commands that do the study again, and show its best trial again."""
    versions = material.provenance.get("versions") or {}
    sha = (material.provenance.get("git") or {}).get("sha")
    pins = " ".join(
        shlex.quote(f"{name}=={versions[name]}") for name in ("cnn-sweep", "tensorflow", "keras") if name in versions
    )
    files = "The sweep file below, saved as sweep.yaml"
    if len(sweep_files(material)) > 1:
        files = "The sweep files below, saved under their names"
    lines = [f"# {files}; the same versions; the same seeds give the same results."]
    lines += _what_may_differ(material)
    lines += [f"git checkout {shlex.quote(sha)}"] if sha else []
    lines += [f"pip install {pins}"] if pins else []
    lines += [line for name, text in material.revisions.items() for line in _of_revision(material, name, text)]
    lines += [f"cnn-sweep leaderboard {material.study} --top 10"]
    lines += [f"cnn-sweep show {material.study} {material.best_trial}"] if material.best_trial is not None else []
    return "\n".join(lines)


def _what_may_differ(material: Material) -> list[str]:
    sweep = material.sweep
    if sweep is None or not (sweep.search.is_adaptive or sweep.pruner):
        return []
    return [
        "# What this search tries or stops depends on which trials were complete by then: with several workers other",
        "# trials may be tried than in this study, each with the same result for the same hyperparameters and seed.",
    ]


def _of_revision(material: Material, name: str, text: str) -> list[str]:
    if (more := read_more_repeats(text)) is not None:
        return _of_repeats(material.study, more)
    if name == next(iter(material.revisions)):
        return [f"cnn-sweep run {name}{_threads(material)}"]
    return [f"cnn-sweep run {name} --extend"]


def _of_repeats(study: str, more: MoreRepeats) -> list[str]:
    chosen = ", ".join(map(str, more.trials))
    which = "the configuration of trial" if len(more.trials) == 1 else "the configurations of trials"
    return [
        f"# `repeat` chose {which} {chosen}; it does so again if the same trials are complete by then.",
        f"cnn-sweep repeat {study} --top {len(more.trials)} --repeats {more.repeats}",
        f"cnn-sweep resume {study}",
    ]


def _threads(material: Material) -> str:
    """Return the option for the number of threads, which results depend on, unless the sweep or the default says it."""
    found = {worker["threads"] for worker in material.workers}
    is_said = material.sweep is not None and material.sweep.threads is not None
    return "" if is_said or found <= {1} else f" --threads {max(found)}"
