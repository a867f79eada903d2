"""Cluster profiles (``slurm/*.toml``): resources of a task, number of tasks, retries."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from cnn_sweep.errors import InputError, Problem, SweepFileError
from cnn_sweep.messages import near, plural, show
from cnn_sweep.regular_files import read_regular
from cnn_sweep.shipped import example_profiles
from cnn_sweep.slurm.units import gres, memory_mb, minutes
from cnn_sweep.validation import Count, Spec, validate

MAX_BYTES = 100_000  # of a profile
# Options of sbatch with their own key in a profile.
_OWN_KEYS = {
    "account": "account",
    "array": "array_width",
    "constraint": "constraint",
    "cpus-per-task": "cpus",
    "exclude": "exclude",
    "gpus-per-node": "gpus_per_node",
    "gres": "gres",
    "mem": "memory",
    "no-requeue": "requeue",
    "partition": "partition",
    "qos": "qos",
    "requeue": "requeue",
    "signal": "signal_delay_s",
    "time": "time_limit",
}
# Settings that sites tell their users to keep in a variable; it counts where the profile has none.
_COMPLETING = {key: f"SBATCH_{key.upper()}" for key in ("account", "partition", "qos")}
_OURS = ("error", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output", "wait", "wrap")


def _time_limit(value: Any) -> Any:
    if isinstance(value, time):  # TOML reads 01:30:00 without quotes as a time of day
        value = value.isoformat()
    return minutes(value) if isinstance(value, str) else value


def _memory(value: Any) -> Any:
    return memory_mb(value) if isinstance(value, str) else value


def _texts(value: Any) -> Any:
    """Accept a single text as a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a text or a list of texts, not {show(value)}")  # noqa: TRY004 - for pydantic
    return tuple(value)


def _gpus_per_node(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not re.fullmatch(r"([A-Za-z][\w.-]*:)?[1-9]\d*", value):
        raise ValueError(f"must be a number of GPUs (2) or a type and a number (a100:2), not {show(value)}")
    return value


def _gres(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][\w.-]*(:[\w.-]+){0,2}(,[\w.:-]+)*", value):
        raise ValueError(f"must be name:count or name:type:count, such as gpu:a100:1, not {show(value)}")
    return value


def _environment(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a table of names and texts, not {show(value)}")  # noqa: TRY004 - as above
    for name, text in value.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(f"{show(name)} is not a name of an environment variable")
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise ValueError(f"{name} must be a text or a number, not {show(text)}")  # noqa: TRY004 - as above
    return {name: str(text) for name, text in value.items()}


def _sbatch(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a table of options of sbatch, not {show(value)}")  # noqa: TRY004 - as above
    options = {}
    for key, setting in value.items():
        option = key.removeprefix("--").replace("_", "-")
        if option in _OWN_KEYS:
            raise ValueError(f"{key} has its own key in a profile: {_OWN_KEYS[option]}")
        if option in _OURS:
            raise ValueError(f"{key} cannot be set: a task is one process on one node, with its own log files")
        if setting is False or not isinstance(setting, str | int | float):
            raise ValueError(f"{key} must be a text, a number or true, not {show(setting)}")
        options[option] = setting
    return options


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts, json_schema_input_type=str | tuple[str, ...])]
_CountOrText = Count | str
_Environment = Annotated[
    dict[str, str], BeforeValidator(_environment, json_schema_input_type=dict[str, str | int | float])
]
Name = Annotated[str, Field(min_length=1)]


class Retry(Spec):
    """How often a failed trial is retried, by cause.

    Attributes:
        infrastructure: Retries after node failures in a row without a finished epoch.
        exception: Retries after an exception in the trial itself.
        out_of_memory: Retries after the trial ran out of memory.
        memory_factor: Factor of the job's memory after that; 1 requests the same.
        fewer_workers: Whether half as many workers share the job's memory after that.
    """

    infrastructure: Annotated[int, Field(ge=0)] = 3
    exception: Annotated[int, Field(ge=0)] = 0
    out_of_memory: Annotated[int, Field(ge=0)] = 1
    memory_factor: Annotated[float, Field(ge=1.0, le=64.0)] = 1.0
    fewer_workers: bool = True


class Live(Spec):
    """A live page, which the pools of a study write into its folder.

    Attributes:
        every_s: Seconds between renewals. File servers may tell of a renewal only after a minute.
    """

    every_s: Annotated[float, Field(ge=30.0)] = 60.0


class Profile(Spec):
    """A cluster profile. None leaves a setting to the cluster's default.

    Attributes:
        partition: One partition, or several separated by commas.
        account: Account to charge.
        qos: Quality of service.
        time_limit: Time limit of one task, in minutes.
        cpus: CPUs of one task.
        memory: Memory of one task, in MB.
        gres: Generic resources of one task, such as ``gpu:a100:1``.
        gpus_per_node: GPUs of one task, such as ``2`` or ``a100:2``.
        constraint: Features that the node must have.
        exclude: Nodes not to use.
        array_width: Most tasks (each is a pool of workers); never more than the trials can use.
        array_throttle: Tasks that may run at the same time.
        workers_per_task: Workers of one pool.
        workers_per_gpu: Workers that share each GPU of a task; instead of ``workers_per_task``.
        gpu_memory: GPU memory of one worker, in MB; None lets it grow as needed.
        threads: Threads of one worker; None for the study's number.
        trials_per_task: Trials after which a task ends; None continues until none is left.
        setup: Shell commands before the workers start.
        python: Command that starts Python on the node; None for the Python of the submission.
        environment: Variables of the workers' environment.
        sbatch: Other options of sbatch; true for one without a value.
        signal_delay_s: Seconds before the time limit at which workers write checkpoints.
        requeue: Whether Slurm may restart a task after a node failure or a preemption.
        locks: Whether file locks work between nodes; with auto, this is tested.
        stage: Folder on a node's own disk for a copy of the prepared images; ``node`` for $SLURM_TMPDIR or $TMPDIR.
        retry: Retries of failed trials.
        notify: Recipients of one notification when the study is finished or cannot continue: shell commands, addresses (``https://…``).
        live: Live page of the study, in its folder; None for no page.
    """

    partition: Name | None = None
    account: Name | None = None
    qos: Name | None = None
    time_limit: Annotated[int, Field(ge=1), BeforeValidator(_time_limit, json_schema_input_type=_CountOrText)] = 60
    cpus: Count = 1
    memory: Annotated[int, Field(ge=1), BeforeValidator(_memory, json_schema_input_type=_CountOrText)] | None = None
    gres: Annotated[str, BeforeValidator(_gres)] | None = None
    gpus_per_node: Annotated[str, BeforeValidator(_gpus_per_node, json_schema_input_type=_CountOrText)] | None = None
    constraint: Name | None = None
    exclude: Texts = ()
    array_width: Count = 1
    array_throttle: Count | None = None
    workers_per_task: Count = 1
    workers_per_gpu: Count | None = None
    gpu_memory: Annotated[int, Field(ge=1), BeforeValidator(_memory, json_schema_input_type=_CountOrText)] | None = None
    threads: Count | None = None
    trials_per_task: Count | None = None
    setup: Texts = ()
    python: Name | None = None
    environment: Annotated[
        dict[str, str], BeforeValidator(_environment, json_schema_input_type=dict[str, str | int | float])
    ] = Field(default_factory=dict)
    sbatch: Annotated[dict[str, str | int | float | bool], BeforeValidator(_sbatch)] = Field(default_factory=dict)
    signal_delay_s: Annotated[int, Field(ge=5, le=65535)] = 90
    requeue: bool = True
    locks: Literal["auto", "honest", "dishonest"] = "auto"
    stage: Name | None = None
    retry: Retry = Retry()
    notify: Texts = ()
    live: Live | None = None

    _source: str = PrivateAttr(default="profile")
    _lines: dict[str, int] = PrivateAttr(default_factory=dict)
    _completions: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read a profile file, completed by the shell's variables.

        Raises:
            InputError: The file cannot be read.
            SweepFileError: The file has mistakes; the error lists all of them.
        """
        path = Path(path)
        try:
            text = read_regular(path, limit=MAX_BYTES).decode("utf-8")
        except FileNotFoundError:
            others = sorted(other.name for other in path.parent.glob("*.toml"))
            example = f"{example_profiles()['cpu']} is an example"
            ways = f"; `cnn-sweep profile detect` writes one, and {example}"
            there = f"; there are {', '.join(others)}" if others else ways
            raise InputError(f"there is no profile {path}{near(path.name, others)}{there}") from None
        except OSError as error:
            raise InputError(f"the profile {path} cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise InputError(
                f"the profile {path} cannot be read: it is not text in UTF-8 (byte {error.start})"
            ) from None
        return cls.parse(text, source=str(path)).completed(os.environ)

    @classmethod
    def parse(cls, text: str, *, source: str = "<text>") -> Profile:
        """Read the text of a profile.

        Raises:
            SweepFileError: The text has mistakes; the error lists all of them.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line, reason = error_line(error, text)
            raise SweepFileError(source, [Problem(line, "file", f"not valid TOML: {reason}")]) from None
        except RecursionError:
            raise SweepFileError(source, [Problem(0, "file", "not a profile: it is nested too deeply")]) from None
        except ValueError:  # Python's limit on digits
            raise SweepFileError(source, [Problem(0, "file", "not a profile: a number is too large")]) from None
        lines = key_lines(text)
        try:
            profile, faults = validate(cls, data)
        except RecursionError:  # of dotted keys
            raise SweepFileError(source, [Problem(0, "file", "not a profile: it is nested too deeply")]) from None
        found = [(".".join(map(str, fault.path)), fault.message) for fault in faults]
        if profile is not None:
            found = list(profile.contradictions())
        if profile is None or found:
            problems = [Problem(line_of(lines, where), where or "file", message) for where, message in found]
            raise SweepFileError(source, problems)
        profile._locate(source, lines)  # noqa: SLF001 - a frozen model has no other way in
        return profile

    def _locate(self, source: str, lines: dict[str, int]) -> None:
        self._source, self._lines = source, lines

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield (key, message) for settings that contradict each other."""
        if self.gres is not None and self.gpus_per_node is not None and self.gpus:
            yield "gpus_per_node", f"GPUs are requested twice: gres is {self.gres!r}; keep one of the two"
        if self.signal_delay_s >= self.time_limit * 60:
            limit = f"the time limit of {self.time_limit} min"
            yield "signal_delay_s", f"{self.signal_delay_s} s is not within {limit}"
        if self.workers_per_gpu is not None and self.gpus == 0:
            yield "workers_per_gpu", "a task has no GPU; add gpus_per_node, or gres"
        if self.workers_per_gpu is not None and self.workers_per_task != 1:
            yield "workers_per_gpu", "give either workers_per_gpu or workers_per_task"
        if self.workers * self.worker_threads > self.cpus:
            key = "workers_per_task" if self.workers_per_gpu is None else "workers_per_gpu"
            asked = f"{plural(self.workers, 'worker')} of {plural(self.worker_threads, 'thread')}"
            yield key, f"{asked} do not fit on {plural(self.cpus, 'cpu')}"

    @property
    def source(self) -> str:
        """The file name as the user gave it."""
        return self._source

    def problem(self, key: str, message: str) -> Problem:
        """Return a problem with a setting, at its line in the file."""
        line = line_of(self._lines, key)
        source = f"from {self._completions[key]}" if key in self._completions else "not in the profile"
        return Problem(line, key, message if line else f"{key} ({source}): {message}")

    def completed(self, environment: Mapping[str, str]) -> Profile:
        """Return the profile with the shell's account, partition and QOS where it has none."""
        found = {key: name for key, name in _COMPLETING.items() if getattr(self, key) is None and environment.get(name)}
        profile = self.model_copy(update={key: environment[name] for key, name in found.items()})
        profile._completions = found  # noqa: SLF001 - a frozen model has no other way in
        return profile

    @property
    def completions(self) -> Mapping[str, str]:
        """Keys that were taken from variables of the shell, with the variables' names."""
        return self._completions

    def option(self, name: str) -> tuple[str, Any]:
        """Return the key that sets an option of sbatch, such as ``time``, and its value; None if it has none."""
        if name in _OWN_KEYS:
            return _OWN_KEYS[name], getattr(self, _OWN_KEYS[name])
        return f"sbatch.{name}", self.sbatch.get(name)

    @property
    def workers(self) -> int:
        """Workers of one pool."""
        return self.workers_per_task if self.workers_per_gpu is None else self.workers_per_gpu * max(1, self.gpus)

    @property
    def worker_threads(self) -> int:
        """Threads of one worker."""
        return self.threads or 1

    @property
    def generic_resources(self) -> dict[str, int]:
        """Generic resources that one task requests, as counts by ``name:type``, such as ``{"gpu:a100": 1}``."""
        if self.gpus_per_node is None:
            return gres(self.gres or "")
        return {**gres(self.gres or ""), **gres(f"gpu:{self.gpus_per_node}")}

    @property
    def gpus(self) -> int:
        """GPUs of one task, of any type."""
        return sum(n for name, n in self.generic_resources.items() if name.split(":")[0] == "gpu")


_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*([^=\[\]{}#]+?)\s*=")
_POSITION = re.compile(r"\(at line (\d+), column \d+\)")


def key_lines(text: str) -> dict[str, int]:
    """Return the 1-based line of each key, by its dotted path.

    Keys inside inline tables are not found; the table's own key stands for them.

    Args:
        text: Valid TOML.
    """
    lines = text.splitlines()
    found: dict[str, int] = {}
    table, known = "", 0  # the lines before `known` are valid TOML by themselves
    for number, line in enumerate(lines, start=1):
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        # Inside a multi-line string or list, the text before the line is not valid TOML by itself.
        if not (header or key) or not _is_complete("\n".join(lines[known : number - 1])):
            continue
        known = number - 1
        if header:
            table = _dotted(header[1])
            found.setdefault(table, number)
        elif key:
            found.setdefault(".".join(filter(None, (table, _dotted(key[1])))), number)
    return found


def line_of(lines: dict[str, int], path: str) -> int:
    """Return the line of a key or its nearest parent; 0 if there is none."""
    while path:
        if path in lines:
            return lines[path]
        path = path.rpartition(".")[0]
    return 0


def error_line(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """Return where a text is not valid TOML, and why."""
    message = str(error)
    match = _POSITION.search(message)
    line = int(match[1]) if match else len(text.splitlines())
    return line, _POSITION.sub("", message).strip()


def _dotted(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _is_complete(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True
