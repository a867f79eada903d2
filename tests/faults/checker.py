"""Judges the results of a round. It shares no code with the project: its own readers, its own rules, its own chain.

The rules are those that docs/explanation/design.md promises: each planned trial ends once; epoch *e* of attempt *a*
counts unless a later attempt began before *e*; values are those of the chain; the store says what the journals say.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from faults.injected import hash_chain

KINDS = ("lost", "twice", "differ", "loops", "tracebacks", "left")
# What killed processes leave and the next command removes. The hint of a merge and unpublished copies of the store are
# removed by age, because where locks are unreliable nobody knows whose they are.
_TEMPORARY = re.compile(
    r"\.tmp|\.rebuilding|\.aside-|\.(?:ckpt|keras)\.[0-9a-f]{8}$|\.removed-|\.archiving-|\.restoring-"
)
_PLACES = 8  # calls of a traceback that are shown


@dataclass
class Expected:
    """What a study has to come to.

    Attributes:
        trials: Number of planned trials.
        epochs: Epochs of a trial that is not pruned.
        grid: Choices by hyperparameter, the newest revision's; None for samplers.
        repeats: Seeds of each configuration.
        real: Whether networks were trained, so there is no chain.
        destroyed: Whether a fault destroyed lines of a journal; then only what is left is judged.
        attempts: Most attempts that the faults of the round explain for one trial.
        pruned: Whether trials may be pruned.
        store_damaged: Whether a fault damaged the store; otherwise none may be found damaged.
        cancelled: Trials that were cancelled for good.
    """

    trials: int
    epochs: int
    grid: dict[str, list[float]] | None = None
    repeats: int = 1
    real: bool = False
    destroyed: bool = False
    attempts: int = 10
    pruned: bool = False
    store_damaged: bool = False
    cancelled: set[int] = field(default_factory=set)


@dataclass
class Verdict:
    """What is wrong, by kind, and how many epochs were trained again."""

    problems: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    repeated: int = 0
    epochs: int = 0

    def add(self, kind, text):
        """Note a problem."""
        self.problems[kind].append(text)

    @property
    def sound(self):
        """Whether nothing is wrong."""
        return not any(self.problems.values())

    def __str__(self):
        """List the problems."""
        return "\n".join(f"  {kind}: {text}" for kind, texts in self.problems.items() for text in texts[:5])


def read_lines(journal):
    """Yield the values of a journal's undamaged lines, also of an event that another writer put behind a torn one."""
    for line in journal.read_bytes().split(b"\n")[:-1]:
        for at in (0, *(found.start() for found in re.finditer(rb"(?=[0-9a-f]{8} {)", line))):
            body = line[at + 9 :]
            if line[at : at + 9] == b"%08x " % crc32(body):
                with contextlib.suppress(ValueError, RecursionError):
                    yield json.loads(body)
                break


class Journals:
    """A study as its journals tell it."""

    def __init__(self, study):
        self.starts = defaultdict(dict)  # by trial and attempt, the lines by writer
        self.epochs = defaultdict(dict)  # by trial and attempt, the lines by epoch
        self.ends = defaultdict(dict)
        self.lines = {}
        self.conflicts = []
        for journal in sorted((study / "journal").glob("*.jsonl")):
            self._read(journal)

    def _read(self, journal):
        seen = set()
        self.lines[journal.stem] = 0
        for line in read_lines(journal):
            self.lines[journal.stem] += 1
            if not isinstance(line, dict):
                continue
            kind = line.get("type")
            trial, attempt = line.get("trial"), line.get("attempt")
            if kind not in ("start", "epoch", "end") or type(line.get("time")) is not float:
                continue
            if type(trial) is not int or type(attempt) is not int or (kind == "start" and "params" not in line):
                continue
            if kind == "start":
                self.starts[trial].setdefault(attempt, {})[journal.stem] = line
            elif kind == "end":
                self.ends[trial].setdefault(attempt, line)
            else:
                known = self.epochs[trial].setdefault(attempt, {}).setdefault(line["epoch"], (journal.stem, line))
                if known[0] != journal.stem or (known[1] != line and (trial, attempt) in seen):
                    self.conflicts.append(f"epoch {line['epoch']} of trial {trial}, attempt {attempt} twice")
                seen.add((trial, attempt))

    def start(self, trial, attempt):
        """Return the start of an attempt; None if there is none."""
        return next(iter(self.starts[trial].get(attempt, {}).values()), None)

    def attempts(self, trial):
        """Return the numbers of a trial's attempts that trained, in order."""
        return sorted(set(self.starts[trial]) | set(self.epochs[trial]))

    def counted(self, trial):
        """Return the epochs that count, as metrics by number."""
        found = {}
        for attempt in self.attempts(trial):
            start = self.start(trial, attempt)
            begun = start["epoch"] if start else min(self.epochs[trial][attempt]) - 1
            found = {epoch: line for epoch, line in found.items() if epoch <= begun}
            found |= {epoch: line for epoch, (_, line) in self.epochs[trial].get(attempt, {}).items()}
        return {epoch: line["metrics"] for epoch, line in sorted(found.items())}


def judge(study, store, expected):
    """Return the verdict on a study that is said to be complete.

    Args:
        study: Its folder.
        store: The file of the store, merged since the last event.
        expected: What the study has to come to.
    """
    verdict, journals = Verdict(), Journals(study)
    _judge_trials(journals, expected, verdict)
    _judge_attempts(journals, expected, verdict)
    _judge_values(journals, expected, verdict)
    if expected.grid is not None:
        _judge_plan(journals, expected, verdict)
    _judge_store(store, study.name, journals, expected, verdict)
    if not expected.real:
        _judge_models(study, journals, expected, verdict)
    _judge_files(study, verdict)
    return verdict


def _final(journals, trial):
    """Return the last attempt's end."""
    ends = journals.ends[trial]
    return ends[max(ends)] if ends and max(ends) >= max(journals.attempts(trial), default=0) else None


def _judge_trials(journals, expected, verdict):
    allowed = {"complete"} | ({"pruned"} if expected.pruned else set())
    for trial in range(expected.trials):
        end = _final(journals, trial)
        if trial in expected.cancelled:
            continue
        if end is None or end["state"] not in allowed:
            verdict.add(
                "lost", f"trial {trial} ended as {end and (end['state'], end.get('cause'), end.get('message'))}"
            )
            continue
        counted = list(journals.counted(trial))
        whole = list(range(1, (expected.epochs if end["state"] == "complete" else len(counted)) + 1))
        if counted != whole and not expected.destroyed:
            verdict.add("lost", f"trial {trial} counts the epochs {counted}")
    extra = (set(journals.starts) | set(journals.ends)) - set(range(expected.trials))
    if extra:
        verdict.add("twice", f"trials that nobody planned: {sorted(extra)}")


def _judge_attempts(journals, expected, verdict):
    for trial, attempts in journals.starts.items():
        for attempt, lines in attempts.items():
            if len(lines) > 1:
                verdict.add("twice", f"attempt {attempt} of trial {trial} was begun by {sorted(lines)}")
        complete = [a for a, end in journals.ends[trial].items() if end["state"] in {"complete", "pruned"}]
        if complete and max(attempts, default=0) > min(complete) and not expected.destroyed:
            verdict.add("twice", f"trial {trial} was complete in attempt {min(complete)} and begun again")
        if len(attempts) > expected.attempts:
            verdict.add("loops", f"trial {trial} was begun {len(attempts)} times")
    if not expected.destroyed:
        for conflict in journals.conflicts:
            verdict.add("twice", conflict)


def _judge_values(journals, expected, verdict):
    """Compare every epoch of every attempt, whether it counts or not."""
    for trial in sorted(journals.epochs):
        starts = [start for a in journals.attempts(trial) if (start := journals.start(trial, a))]
        if len({json.dumps([s["params"], s["seed"], s["configuration"]], sort_keys=True) for s in starts}) > 1:
            verdict.add("differ", f"trial {trial} changed its parameters")
        if not starts:
            continue  # its lines were destroyed
        first = starts[0]
        chain = hash_chain.states(first["seed"], first["params"], expected.epochs)
        seen = {}
        for attempt, epochs in sorted(journals.epochs[trial].items()):
            for epoch, (_, line) in sorted(epochs.items()):
                verdict.epochs += 1
                verdict.repeated += epoch in seen
                value = line["metrics"]["val_loss"]
                right = seen.get(epoch, value) if expected.real else hash_chain.value(chain[epoch])
                seen[epoch] = value
                if value != right:
                    verdict.add("differ", f"epoch {epoch} of trial {trial}, attempt {attempt}: {value}, not {right}")


def _judge_plan(journals, expected, verdict):
    """Compare the trials with the product of the choices."""
    names = sorted(expected.grid)
    planned = Counter(dict.fromkeys(itertools.product(*(expected.grid[name] for name in names)), expected.repeats))
    found = Counter()
    for trial in range(expected.trials):
        start = next((s for a in journals.attempts(trial) if (s := journals.start(trial, a))), None)
        if start is not None:
            found[tuple(start["params"][name] for name in names)] += 1
    if found != planned and not expected.destroyed:
        verdict.add("lost", f"not trained: {planned - found}; more than once: {found - planned}")


def _judge_store(store, study, journals, expected, verdict):
    try:
        with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as opened:
            whole = opened.execute("PRAGMA integrity_check").fetchone()[0]
            trials = {
                row[0]: row[1:]
                for row in opened.execute(
                    "SELECT trial, state, value, best_epoch FROM trials WHERE study = ?", (study,)
                )
            }
            epochs = defaultdict(dict)
            for trial, epoch, value in opened.execute(
                "SELECT trial, epoch, value FROM epochs WHERE study = ? AND counted", (study,)
            ):
                epochs[trial][epoch] = value
            events = dict(opened.execute("SELECT writer, events FROM journals WHERE study = ?", (study,)))
    except sqlite3.Error as error:
        verdict.add("differ", f"the store: {error}")
        return
    if whole != "ok":
        verdict.add("differ", f"the store is damaged: {whole}")
    _compare_store(trials, epochs, journals, expected, verdict)
    if not expected.store_damaged:
        for aside in store.parent.glob(f"{store.name}.corrupt-*"):
            verdict.add("differ", f"the store was found damaged, though nobody damaged it: {aside.name}")
    for writer, lines in journals.lines.items():
        if events.get(writer, 0) != lines and not expected.destroyed:
            verdict.add("twice", f"the store read {events.get(writer, 0)} of {lines} lines of {writer}")


def _compare_store(trials, epochs, journals, expected, verdict):
    for trial in range(expected.trials):
        end = _final(journals, trial)
        if end is None or trial in expected.cancelled:
            continue
        counted = {epoch: metrics["val_loss"] for epoch, metrics in journals.counted(trial).items()}
        if epochs[trial] != counted:
            verdict.add("differ", f"trial {trial} in the store has the epochs {epochs[trial]}, not {counted}")
        best = min(((value, epoch) for epoch, value in counted.items()), default=(None, None))
        if trials.get(trial) != (end["state"], *best):
            verdict.add("differ", f"trial {trial} in the store is {trials.get(trial)}, not {(end['state'], *best)}")


def _judge_models(study, journals, expected, verdict):
    """The model of the best trial is the state of its best epoch."""
    values = {
        trial: min((metrics["val_loss"], epoch) for epoch, metrics in journals.counted(trial).items())
        for trial in range(expected.trials)
        if (end := _final(journals, trial)) and end["state"] == "complete" and journals.counted(trial)
    }
    if not values or expected.destroyed:
        return
    trial = min(values, key=lambda number: values[number])
    model = study / "models" / f"{trial}.keras"
    start = next(s for a in journals.attempts(trial) if (s := journals.start(trial, a)))
    right = hash_chain.states(start["seed"], start["params"], expected.epochs)[values[trial][1]]
    if model.is_file() and model.read_bytes() != right:
        verdict.add("differ", f"the model of trial {trial} is not that of its best epoch")


def _judge_files(study, verdict):
    """Look for what was left in the study's folder and beside it."""
    for path in sorted([*study.rglob("*"), *study.parent.glob("*"), *study.parent.glob(".sweeps/*")]):
        if _TEMPORARY.search(path.name):
            verdict.add("left", f"the file {path}")
    for log in study.glob("logs/*.log"):
        for trace in tracebacks(log.read_text(encoding="utf-8", errors="replace")):
            verdict.add("tracebacks", f"{log}: {trace}")


def tracebacks(text):
    """Return the last lines of the tracebacks in a text, with the places of their calls.

    A signal that comes while Python itself starts is not counted: no code of the package has run by then.
    """
    found = []
    for before, part in itertools.pairwise(text.split("Traceback (most recent call last)")):
        if before.endswith("Python runtime state: initialized\n"):
            continue
        lines = [line for line in part.splitlines()[1:] if line and not line.startswith((" ", "\t"))]
        places = re.findall(r'File "[^"]*?([^/"]+)", line (\d+)', part)[-_PLACES:]
        calls = " < ".join(f"{name}:{line}" for name, line in reversed(places))
        found.append(f"{lines[0] if lines else '(cut off)'} ({calls})")
    return found


def processes_of(token):
    """Return the process IDs that have a word in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if token.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found
