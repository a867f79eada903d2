"""What a journal can say; :mod:`cnn_sweep.journal.log` has the written form."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from cnn_sweep.journal.identity import ProcessIdentity


EVENT_TYPES: dict[str, type[Event]] = {}  # type in the journal to class


@dataclass(frozen=True)
class Event:
    """Base of all events; a subclass is known by its ``type`` from its definition on.

    A line holds the fields in the order of the class. A field that later versions add needs a default, because the
    lines of earlier versions lack it.

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
        """Return the names of the fields that a line of this version holds, in their order."""
        return _field_names(cls.type)

    def sort_key(self) -> tuple[Any, ...]:
        """Return what puts two events of one type into an order that depends on their fields alone, time first.

        Rivals, such as two ends of one attempt, exist only where somebody copied files. Readers choose between them by
        this key, so that the order of reading does not matter.
        """
        return tuple(_sortable(getattr(self, name)) for name in self.field_names())


@lru_cache(maxsize=64)
def _field_names(event_type: str) -> tuple[str, ...]:
    return tuple(f.name for f in fields(EVENT_TYPES[event_type]) if f.name != "extra")


def _sortable(value: Any) -> tuple[bool, Any]:
    """Put a missing value before all others, and compare mappings by their text."""
    return value is not None, repr(value) if isinstance(value, dict | list) else value


@dataclass(frozen=True)
class Worker(Event):
    """First line of a journal: who writes it.

    Attributes:
        identity: The process.
        versions: Package name to version.
        threads: Threads that the process computes with.
    """

    type: ClassVar[str] = "worker"
    identity: ProcessIdentity
    versions: dict[str, str]
    threads: int


@dataclass(frozen=True)
class Start(Event):
    """An attempt begins.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt, from 0.
        configuration: Id of the hyperparameters.
        repeat: Which repeat of the configuration, from 0.
        seed: Seed of everything random in the trial.
        params: The hyperparameters.
        epoch: The last epoch that was taken over from earlier attempts; 0 if there is none.
        parameters: Number of weights of the network, where known.
        until: The epoch after which the trial pauses, at a rung; None if the attempt goes to the end.
        promotion: Why a trial that had paused goes on: what :class:`cnn_sweep.search.rungs.Promotion` says.
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


@dataclass(frozen=True)
class Epoch(Event):
    """An epoch is done.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        epoch: Number of the epoch, from 1.
        seconds: How long it took.
        metrics: Name to value.
    """

    type: ClassVar[str] = "epoch"
    trial: int
    attempt: int
    epoch: int
    seconds: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Checkpoint(Event):
    """A checkpoint is on disk.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        epoch: The last epoch that is complete in it.
        file: Path relative to the study's folder.
        bytes: Its size.
    """

    type: ClassVar[str] = "checkpoint"
    trial: int
    attempt: int
    epoch: int
    file: str
    bytes: int


@dataclass(frozen=True)
class End(Event):
    """An attempt is over, in its own worker's words.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        state: complete, pruned, failed, paused or interrupted.
        cause: Why, in one word; None if it went as planned.
        message: Why, in full.
        epochs: The last epoch that is complete.
        seconds: How long the attempt took.
        parameters: Number of weights of the network, where known.
        curve: The five numbers of the trial's learning curve by name, once it is finished or paused.
        cached: Whether the worker had the network's graph compiled already; None where nothing is compiled.
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


@dataclass(frozen=True)
class Artifact(Event):
    """A file that a trial left behind.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        kind: What it is, such as ``model``.
        path: Path relative to the study's folder.
        bytes: Its size.
        sha256: Its checksum, hexadecimal.
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
    """Somebody found out that an attempt's worker is gone.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt.
        cause: What happened to the worker, in one word.
        message: What happened to the worker, in full.
    """

    type: ClassVar[str] = "lost"
    trial: int
    attempt: int
    cause: str
    message: str


@dataclass(frozen=True)
class Cancel(Event):
    """The user gave up the study, or one trial of it.

    Attributes:
        trial: Number of the trial; None for all.
    """

    type: ClassVar[str] = "cancel"
    trial: int | None = None


@dataclass(frozen=True)
class Extend(Event):
    """A revision of the sweep is in force; the first one when the study is created.

    Attributes:
        revision: Number of the revision, from 1.
        trials: Trials that are planned in all, with those of earlier revisions.
        configurations: Configurations that are planned in all.
        invalid: Configurations that no network can be built of.
        duplicates: Draws that were dropped because they had been drawn before.
    """

    type: ClassVar[str] = "extend"
    revision: int
    trials: int
    configurations: int
    invalid: int
    duplicates: int


@dataclass(frozen=True)
class Finalize(Event):
    """A trial's model was measured on the test set.

    Attributes:
        trial: Number of the trial.
        metrics: Name (``test_loss``, ``test_accuracy``, …) to value.
    """

    type: ClassVar[str] = "finalize"
    trial: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Submit(Event):
    """Jobs were put into a cluster's queue.

    Attributes:
        jobs: For each array its ``job`` (id), ``tasks`` (elements) and ``time`` (of submission).
        profile: The profile's file.
        cluster: The cluster's name.
    """

    type: ClassVar[str] = "submit"
    jobs: list[dict[str, Any]]
    profile: str
    cluster: str


@dataclass(frozen=True)
class Fault(Event):
    """Workers could not work, or had no reason to go on; what a pool saw, for people to read.

    Attributes:
        message: What is wrong, and what to do about it.
        job: The pool's job and element; None outside Slurm.
    """

    type: ClassVar[str] = "fault"
    message: str
    job: str | None = None


@dataclass(frozen=True)
class Retire(Event):
    """A worker ends to be replaced by another one of its pool.

    Attributes:
        reason: Why, in words.
    """

    type: ClassVar[str] = "retire"
    reason: str


@dataclass(frozen=True)
class Known(Event):
    """Another program's result for a configuration of this study, from which the sampler learns.

    Attributes:
        source: Where it comes from.
        number: Of the trial there.
        params: The hyperparameters.
        state: complete, pruned or failed.
        values: One an objective; none of a trial that failed.
    """

    type: ClassVar[str] = "known"
    source: str
    number: int
    params: dict[str, Any]
    state: str
    values: list[float]


@dataclass(frozen=True)
class Unknown:
    """An event of a newer version.

    Attributes:
        type: Its name.
        data: All its fields.
    """

    type: str
    data: dict[str, Any]
