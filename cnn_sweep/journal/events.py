"""The events of a journal; :mod:`cnn_sweep.journal.log` defines how they are written."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from cnn_sweep.journal.identity import ProcessIdentity


EVENT_TYPES: dict[str, type[Event]] = {}  # maps the type in the journal to the class
END_STATES = frozenset({"complete", "pruned", "failed", "paused", "interrupted"})  # of an attempt


@dataclass(frozen=True)
class Event:
    """Base of all events; defining a subclass registers its ``type``.

    A line has the fields in the order of the class. A field that a later version adds needs a default, because lines of
    earlier versions lack it.

    Attributes:
        type: The event's name in the journal.
        time: When it happened, in seconds since 1970-01-01 UTC.
        extra: Fields that this version does not know.
    """

    type: ClassVar[str] = ""
    time: float
    extra: dict[str, Any] = field(default_factory=dict, kw_only=True)

    def __init_subclass__(cls) -> None:
        EVENT_TYPES[cls.type] = cls

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the names of the fields in a line of this version, in order."""
        return _field_names(cls.type)

    def sort_key(self) -> tuple[Any, ...]:
        """Return a key that orders events of one type by their fields alone, time first.

        Two events may contradict each other, such as two ends of one attempt, if somebody copied files. Readers choose
        between them by this key, so that the result does not depend on the order of reading.
        """
        return tuple(_sortable(getattr(self, name)) for name in self.field_names())


@lru_cache(maxsize=64)
def _field_names(event_type: str) -> tuple[str, ...]:
    return tuple(f.name for f in fields(EVENT_TYPES[event_type]) if f.name != "extra")


def _sortable(value: Any) -> tuple[bool, Any]:
    """Return a sort key for a value: missing values come first, and mappings are compared as text."""
    return value is not None, repr(value) if isinstance(value, dict | list) else value


@dataclass(frozen=True)
class Worker(Event):
    """The first line of a journal, which names its writer.

    Attributes:
        identity: The process.
        versions: Versions by package name.
        threads: Number of threads with which the process computes.
        user: Name of the user whose process it is; earlier versions wrote none.
    """

    type: ClassVar[str] = "worker"
    identity: ProcessIdentity
    versions: dict[str, str]
    threads: int
    user: str | None = None


@dataclass(frozen=True)
class Start(Event):
    """The start of an attempt.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt, from 0.
        configuration: ID of the configuration.
        repeat: Number of the repeat of the configuration, from 0.
        seed: Seed of all random numbers in the trial.
        params: The hyperparameters.
        epoch: The last epoch of earlier attempts from which this one continues; 0 if there is none.
        parameters: Number of weights of the network, if known.
        until: The epoch of the rung at which the trial pauses; None if the attempt runs to the end.
        promotion: Why a paused trial continues: the data of a :class:`cnn_sweep.search.rungs.Promotion`.
        digest: Digest of the newest revision of the sweep; earlier versions wrote none.
        fold: With cross-validation, the fold that validates, from 0.
        source: Why the configuration is tried first: a trial of an earlier study as ``study#trial``, or ``prior`` if it
            was drawn from the user's belief; None for all others.
    """

    type: ClassVar[str] = "start"
    trial: int
    attempt: int
    configuration: str
    repeat: int
    seed: int
    params: dict[str, Any]
    epoch: int = 0
    parameters: int | None = None
    until: int | None = None
    promotion: dict[str, Any] | None = None
    digest: str | None = None
    fold: int | None = None
    source: str | None = None


@dataclass(frozen=True)
class Epoch(Event):
    """The end of an epoch.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        epoch: Number of the epoch, from 1.
        seconds: Duration of the epoch.
        metrics: Values by name.
    """

    type: ClassVar[str] = "epoch"
    trial: int
    attempt: int
    epoch: int
    seconds: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Checkpoint(Event):
    """A checkpoint that is on disk.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        epoch: The last complete epoch in the checkpoint.
        file: Path relative to the study's folder.
        bytes: Size of the file.
    """

    type: ClassVar[str] = "checkpoint"
    trial: int
    attempt: int
    epoch: int
    file: str
    bytes: int


@dataclass(frozen=True)
class Unsaved(Event):
    """A checkpoint could not be written; training continues, and a later checkpoint is tried.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        epoch: The last complete epoch, from which the trial could have continued.
        message: Which file could not be written, and why.
    """

    type: ClassVar[str] = "unsaved"
    trial: int
    attempt: int
    epoch: int
    message: str


@dataclass(frozen=True)
class End(Event):
    """The end of an attempt, reported by its own worker.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        state: complete, pruned, failed, paused or interrupted.
        cause: Reason for the end, in one word; None if the attempt ended as planned.
        message: Reason for the end, in full.
        epochs: The last complete epoch.
        seconds: Duration of the attempt.
        parameters: Number of weights of the network, if known.
        curve: The five numbers of the trial's learning curve by name, once it is finished or paused.
        cached: Whether the trial reused a compiled graph; None if nothing is compiled.
        value: The trial's value; None without one. It is repeated here, like the next two, because a damaged line of an
            epoch would otherwise change a trial's result unnoticed.
        best_epoch: The epoch whose weights are the model: the best, or the last if ``objective.value`` says so; None
            without a value.
        counted: Number of epochs that count; None if it is unknown, as in lines of earlier versions.
    """

    type: ClassVar[str] = "end"
    trial: int
    attempt: int
    state: str
    cause: str | None = None
    message: str | None = None
    epochs: int = 0
    seconds: float = 0.0
    parameters: int | None = None
    curve: dict[str, float] = field(default_factory=dict)
    cached: bool | None = None
    value: float | None = None
    best_epoch: int | None = None
    counted: int | None = None


@dataclass(frozen=True)
class Artifact(Event):
    """A file that a trial has written.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        kind: Kind of file, such as ``model``.
        path: Path relative to the study's folder.
        bytes: Size of the file.
        sha256: Checksum of the file, hexadecimal.
    """

    type: ClassVar[str] = "artifact"
    trial: int
    attempt: int
    kind: str
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Lost(Event):
    """Another process has found that an attempt's worker is dead.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        cause: Cause of the worker's death, in one word.
        message: Cause of the worker's death, in full.
    """

    type: ClassVar[str] = "lost"
    trial: int
    attempt: int
    cause: str
    message: str


@dataclass(frozen=True)
class Cancel(Event):
    """The user has cancelled the study, or one trial.

    Attributes:
        trial: Number of the trial; None for all.
    """

    type: ClassVar[str] = "cancel"
    trial: int | None = None


@dataclass(frozen=True)
class Extend(Event):
    """A revision of the sweep takes effect; the first one when the study is created.

    Attributes:
        revision: Number of the revision, from 1.
        trials: Total number of planned trials, including those of earlier revisions.
        configurations: Total number of planned configurations.
        invalid: Number of configurations from which no network can be built.
        duplicates: Number of dropped draws that repeated earlier ones.
        digest: Digest of the sweep; earlier versions wrote none.
        sha256: Checksum of the frozen sweep file, hexadecimal; earlier versions wrote none.
    """

    type: ClassVar[str] = "extend"
    revision: int
    trials: int
    configurations: int
    invalid: int
    duplicates: int
    digest: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Finalize(Event):
    """A model has been evaluated on the test set: that of a trial, or another one that was made of a study's trials.

    Attributes:
        trial: Number of the trial; of an ensemble, its first member.
        metrics: Values by name (``test_loss``, ``test_accuracy``, …).
        model: Name of the model, such as ``ensemble``; empty for the trial's own, with folds for the mean of all.
        networks: Trials whose networks were averaged, each as often as it weighs; empty unless ``model`` is named.
        temperature: By which the model's probabilities are scaled; None without.
        epochs: Epochs after which a network that was trained with all images ended; None for other models.
    """

    type: ClassVar[str] = "finalize"
    trial: int
    metrics: dict[str, float]
    model: str = ""
    networks: list[int] = field(default_factory=list)
    temperature: float | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Submitting(Event):
    """An array is about to be submitted. Until a ``Submit`` with the same key follows, it may be in the queue.

    Attributes:
        key: Identifies this call of sbatch.
        comment: The job's comment, by which it can be found in the queue.
        tasks: Number of its elements.
        profile: The profile's file.
        cluster: The cluster's name.
    """

    type: ClassVar[str] = "submitting"
    key: str
    comment: str
    tasks: int
    profile: str
    cluster: str


@dataclass(frozen=True)
class Submit(Event):
    """Jobs have been submitted to a cluster.

    Attributes:
        jobs: For each array its ``job`` (ID), ``tasks`` (number of elements) and ``time`` of submission; empty if the
            cluster refused it.
        profile: The profile's file.
        cluster: The cluster's name.
        key: That of the ``Submitting``; earlier versions wrote none.
    """

    type: ClassVar[str] = "submit"
    jobs: list[dict[str, Any]]
    profile: str
    cluster: str
    key: str = ""


@dataclass(frozen=True)
class Fault(Event):
    """A pool's message to the user: workers could not work, or had no reason to continue.

    Attributes:
        message: What is wrong, and what to do about it.
        job: The pool's job and element; None outside Slurm.
    """

    type: ClassVar[str] = "fault"
    message: str
    job: str | None = None


@dataclass(frozen=True)
class Followed(Event):
    """A command of ``when_finished`` has begun or ended after the end of the study.

    Attributes:
        end: The end of the study that it follows, as revision and number of planned trials, such as ``1-12``.
        step: The command and its settings.
        outcome: running, complete, failed or interrupted.
        file: What it wrote, relative to the study's folder; None if it wrote nothing.
        message: Why it did not complete; None if it did.
    """

    type: ClassVar[str] = "followed"
    end: str
    step: str
    outcome: str
    file: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class Retire(Event):
    """A worker ends so that its pool can replace it.

    Attributes:
        reason: Why it is replaced.
    """

    type: ClassVar[str] = "retire"
    reason: str


@dataclass(frozen=True)
class Known(Event):
    """Another program's result for a configuration of this study, from which the sampler learns.

    Attributes:
        source: Where the result comes from.
        number: Number of the trial in the source.
        params: The hyperparameters.
        state: complete, pruned or failed.
        values: One value per objective; empty for a failed trial.
    """

    type: ClassVar[str] = "known"
    source: str
    number: int
    params: dict[str, Any]
    state: str
    values: list[float]


@dataclass(frozen=True)
class Unknown:
    """An event of a type, or with fields, that this version does not know.

    Attributes:
        type: Name of the type.
        data: All fields.
    """

    type: str
    data: dict[str, Any]
