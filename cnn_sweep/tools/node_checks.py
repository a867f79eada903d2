"""Compares a node with this login node, from what a one-task job reported."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import EnvironmentFault, SweepFileError
from cnn_sweep.execution.study.provenance import package_versions
from cnn_sweep.messages import plural
from cnn_sweep.slurm.job_states import LIVING
from cnn_sweep.slurm.remedies import SETUP_FAILED, remedy_of_end, remedy_of_fault, remedy_of_reason, remedy_of_refusal
from cnn_sweep.tools import node_probe
from cnn_sweep.tools.findings import Finding
from cnn_sweep.tools.node_job import NO_FOLDER, NOT_WRITABLE, OTHER_FOLDER, NodeJob
from cnn_sweep.tools.tensorflow_check import gpu_finding, tensorflow_finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.profile import Profile
    from cnn_sweep.tools.node_job import Outcome

_SKEW_NOTED_S: Final = 2.0
# Liveness of workers and jobs compares clocks with this tolerance.
_SKEW_BAD_S: Final = 5.0
_LITTLE_SPACE: Final = 5 * 10**8  # bytes for temporary files
_WORKER_BYTES: Final = 15 * 10**8  # of a warm worker with TensorFlow
_SEES: Final = "choose a folder that the nodes see with --results, such as one in your home or on the scratch disk"


def examine_node(
    results: Path, profile: Profile, slurm: SlurmCli, *, wait_s: float, tell: Callable[[str], None]
) -> Iterator[Finding]:
    """Run a job of one task and compare its node with this machine.

    Args:
        results: Root of all studies.
        profile: The cluster's settings.
        slurm: Slurm's commands.
        wait_s: How long to wait for the job, in seconds.
        tell: Called with each new state of the job, in words.

    """
    try:
        job = NodeJob(results, profile, slurm, tell)
    except EnvironmentFault as fault:
        yield Finding("bad", "job", f"not submitted: {fault}", "choose another folder with --results")
        return
    try:
        with job:
            job.submit()
            outcome = job.wait(wait_s)
    except SweepFileError as error:  # sbatch refused it
        yield Finding("bad", "job", str(error), remedy_of_refusal(str(error)))
        return
    except EnvironmentFault as fault:
        yield Finding("bad", "job", str(fault), remedy_of_fault(str(fault)))
        return
    yield from findings_of(outcome, results, profile, node_probe.facts(list(package_versions())), wait_s=wait_s)


def findings_of(
    outcome: Outcome, results: Path, profile: Profile, here: dict[str, Any], *, wait_s: float
) -> Iterator[Finding]:
    """Yield what a job's outcome shows.

    Args:
        outcome: The outcome.
        results: Root of all studies.
        profile: The cluster's settings.
        here: Facts of this machine.
        wait_s: How long the job was waited for, in seconds.
    """
    if not outcome.over and outcome.report is None:
        yield _unfinished(outcome, wait_s)
        return
    node = outcome.nodes or "the node"
    if outcome.report is not None:
        yield Finding("ok", "job", f"job {outcome.job} ran on {node}")
    for finding in _comparison(outcome, results, profile, here, node):
        yield finding if finding.subject == "job" else replace(finding, subject=f"node {finding.subject}")


def _comparison(
    outcome: Outcome, results: Path, profile: Profile, here: dict[str, Any], node: str
) -> Iterator[Finding]:
    yield from _clocks(outcome, node)
    if (report := outcome.report) is None:
        yield _without_report(outcome, results, profile, node)
        return
    yield Finding("ok", "results", f"{results.resolve()} is one folder here and on {node}; both write to it")
    yield from _locks(report, node)
    yield from _python(report, here, node)
    yield from _user(report, here, node)
    yield from _resources(report, profile, node)
    yield _temporary(report["temporary"], node)
    yield from _tensorflow(outcome, report, profile, node)


def _unfinished(outcome: Outcome, wait_s: float) -> Finding:
    if outcome.state == "PENDING":
        reason = outcome.reason or "no reason given"
        text = f"job {outcome.job} did not start within {wait_s:g} s and was cancelled; Slurm's reason: {reason}"
        return Finding("bad", "job", text, remedy_of_reason(outcome.reason, str(outcome.job)).text)
    where = f" on {outcome.nodes}" if outcome.nodes else ""
    text = f"job {outcome.job} was {outcome.state}{where} after {wait_s:g} s without a report, and was cancelled"
    return Finding("bad", "job", text, "wait longer with --wait; if it stays so, show this to the help desk")


def _clocks(outcome: Outcome, node: str) -> Iterator[Finding]:
    skew = max(outcome.behind_s, outcome.ahead_s)
    if outcome.began is None:
        return
    if skew <= _SKEW_NOTED_S:
        yield Finding("ok", "clock", f"{node} agrees with this machine and with Slurm within {_SKEW_NOTED_S:g} s")
        return
    way = "behind Slurm's controller" if outcome.behind_s == skew else "ahead of this machine"
    cure = "ask the help desk to synchronise its clock; until then, exclude the node in the profile"
    yield Finding("bad" if skew > _SKEW_BAD_S else "note", "clock", f"{node} is at least {skew:.0f} s {way}", cure)


def _without_report(outcome: Outcome, results: Path, profile: Profile, node: str) -> Finding:
    """Return why a job left no report, as far as its exit code and its log tell."""
    folder = results.resolve()
    by_code = {
        NO_FOLDER: (f"{folder} does not exist on {node}", _SEES),
        OTHER_FOLDER: (f"{folder} on {node} is another folder than here, such as a disk of its own", _SEES),
        NOT_WRITABLE: (
            f"{folder} cannot be written to from {node}",
            "it may be mounted read-only there, or your quota is used up: choose another folder with --results",
        ),
    }
    if outcome.exit_code in by_code:
        return Finding("bad", "results", *by_code[outcome.exit_code])
    if outcome.state in ("OUT_OF_MEMORY", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "CANCELLED"):
        return Finding("bad", "job", f"job {outcome.job} ended as {outcome.state} on {node}", _cure(outcome.state))
    if outcome.state in LIVING and outcome.exit_code == 0:
        text = f"Slurm no longer knows job {outcome.job}, and it left no report"
        return Finding("bad", "job", text, "run `cnn-sweep doctor --job` again; if it stays so, ask the help desk")
    if SETUP_FAILED in outcome.log:
        return Finding("bad", "setup", *remedy_of_end(outcome.state, words=outcome.log))
    why = outcome.log or f"{outcome.state}, exit code {outcome.exit_code} ({outcome.reason or 'no reason given'})"
    python = profile.python or "the Python of this environment"
    cure = "install where the nodes see it, or set `python` or `setup` in the profile"
    return Finding("bad", "python", f"{python} does not start on {node}: {why}", cure)


def _cure(state: str) -> str:
    again = "run `cnn-sweep doctor --job` again; if it stays so, ask the help desk"
    return remedy_of_end(state).cure if state in ("OUT_OF_MEMORY", "TIMEOUT") else again


def _locks(report: dict[str, Any], node: str) -> Iterator[Finding]:
    granted = report["locks_granted"]
    if granted:
        text = f"{node} got a lock that this machine holds ({', '.join(granted)}); studies work without locks"
        yield Finding("note", "locks", text, 'set locks = "dishonest" in the profile, so that nothing relies on them')
    else:
        yield Finding("ok", "locks", f"{node} waits for locks that this machine holds")


def _python(report: dict[str, Any], here: dict[str, Any], node: str) -> Iterator[Finding]:
    """Compare interpreter and packages; a pool refuses to train with other versions."""
    ours, theirs = here["versions"], report["versions"]
    cure = "submit from the environment that the nodes have, or set `python` or `setup` in the profile"
    if theirs["python"] == ours["python"]:
        yield Finding("ok", "python", f"{theirs['python']} at {report['executable']}")
    else:
        text = f"{theirs['python']} at {report['executable']} on {node}, {ours['python']} here"
        yield Finding("bad", "python", text, cure)
    names = [name for name in ours if name != "python"]
    missing = [name for name in names if name not in theirs]
    other = [
        f"{name} {theirs[name]} (here {ours[name]})" for name in names if theirs.get(name, ours[name]) != ours[name]
    ]
    if missing:
        yield Finding("bad", "packages", f"missing on {node}: {', '.join(missing)}", cure)
    if other:
        yield Finding("bad", "packages", f"other versions on {node}: {', '.join(other)}", cure)
    if not missing and not other:
        yield Finding("ok", "packages", f"{plural(len(names), 'package')} of the same versions")
    if report["package"] not in (None, here["package"]):
        text = f"cnn-sweep is loaded from {report['package']} on {node}, from {here['package']} here"
        yield Finding("note", "package", text, "harmless if both are the same release")


def _user(report: dict[str, Any], here: dict[str, Any], node: str) -> Iterator[Finding]:
    """Compare what decides about the rights of files and the names in them."""
    desk = "ask the help desk; files of jobs would belong to somebody else"
    if report["uid"] != here["uid"]:
        yield Finding("bad", "user", f"user ID {report['uid']} on {node}, {here['uid']} here", desk)
    elif report["umask"] != here["umask"]:
        text = f"umask {report['umask']} on {node}, {here['umask']} here: others may read jobs' files or not"
        yield Finding("note", "user", text, f'setup = ["umask {here["umask"]}"] in the profile makes them equal')
    else:
        yield Finding("ok", "user", f"{report['user'] or report['uid']}, umask {report['umask']}")
    if not report["home_usable"]:
        text = f"{report['home']} cannot be used on {node}; TensorFlow, Keras and modules may look for settings there"
        yield Finding("note", "home", text, 'environment = {HOME = "/folder/that/nodes/see"} in the profile')
    else:
        yield Finding("ok", "home", f"{report['home']} can be used on {node}")
    yield _locale(report, here, node)


def _locale(report: dict[str, Any], here: dict[str, Any], node: str) -> Finding:
    cure = 'environment = {LC_ALL = "C.UTF-8"} in the profile'
    utf8 = report["encoding"].lower().replace("-", "") == "utf8"
    if not utf8:
        text = f"{report['encoding']} is the encoding of file names on {node}, {here['encoding']} here"
        return Finding("bad" if here["encoding"] != report["encoding"] else "note", "locale", text, cure)
    if not report["locale_installed"]:
        return Finding("note", "locale", f"{report['locale']} is not installed on {node}; UTF-8 is used", cure)
    return Finding("ok", "locale", f"{report['locale'] or 'C'}, {report['encoding']}")


def _resources(report: dict[str, Any], profile: Profile, node: str) -> Iterator[Finding]:
    """Compare what the job got with what the profile requests."""
    got = report["cores"]
    if got < profile.cpus:
        text = f"a task may use {plural(got, 'core')} of {node}; the profile requests {profile.cpus}"
        yield Finding("note", "cores", text, "workers share them and are slower: lower cpus, or ask the help desk")
    else:
        bound = "" if got == profile.cpus else "; tasks are not bound to those requested"
        yield Finding("ok", "cores", f"{plural(got, 'core')} of {node} usable, {profile.cpus} requested{bound}")
    limit = report["memory_limit"]
    if limit is None:
        yield Finding("ok", "memory", f"the kernel of {node} sets no limit; Slurm may still end a job over its request")
        return
    needed = profile.workers * _WORKER_BYTES
    if limit < needed:
        text = f"{limit / 1e9:.1f} GB for {plural(profile.workers, 'worker')}, which need about {needed / 1e9:.1f} GB"
        yield Finding("note", "memory", text, "raise memory in the profile, or lower the number of workers")
    else:
        yield Finding("ok", "memory", f"{limit / 1e9:.1f} GB for {plural(profile.workers, 'worker')}")


def _temporary(temporary: dict[str, Any], node: str) -> Finding:
    cure = 'set it in the profile: environment = {TMPDIR = "/folder/on/the/node"}'
    if temporary["error"]:
        return Finding("bad", "temporary", f"no usable folder on {node}: {temporary['error']}", cure)
    text = f"{temporary['folder']} on {node}: {temporary['free'] / 1e9:.1f} GB free"
    if temporary["asked"] and temporary["asked"].rstrip("/") != temporary["folder"].rstrip("/"):
        return Finding("bad", "temporary", f"TMPDIR={temporary['asked']} cannot be used; {text}", cure)
    if temporary["free"] < _LITTLE_SPACE:
        return Finding("bad", "temporary", text, cure)
    return Finding("ok", "temporary", text)


def _tensorflow(outcome: Outcome, report: dict[str, Any], profile: Profile, node: str) -> Iterator[Finding]:
    found = report.get("tensorflow")
    if found is None:
        ended = outcome.state if outcome.over else f"still {outcome.state} when the wait ended"
        text = f"did not start on {node}: the job was {ended}"
        yield Finding("bad", "tensorflow", text, _cure(outcome.state) if outcome.over else "wait longer with --wait")
        return
    yield tensorflow_finding(found, where=f" on {node}")
    if "gpus" in found:
        present = report["gpus"]["driver"]
        yield gpu_finding(found["gpus"], present, wanted=profile.gpus, why=report["gpus"]["error"], where=f" on {node}")
