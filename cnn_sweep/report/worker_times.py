"""What each worker did in its time: its attempts, and how long it was busy, idle or trained for nothing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import natural, plural
from cnn_sweep.report.leaderboards.leaderboard import Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLUMNS: Final = ("worker", "attempts", "hours", "busy", "idle", "lost")
_MOST_ROWS: Final = 20
_HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class WorkerTime:
    """A worker's time.

    Attributes:
        host: Its node; ``?`` if the journal does not say.
        pid: Number of its process; None as above.
        first: When it started, in seconds since 1970.
        last: Its last event, as above.
        attempts: Its attempts in order, see :func:`cnn_sweep.store.report_queries.attempts`.
    """

    host: str
    pid: int | None
    first: float
    last: float
    attempts: tuple[Row, ...]

    @property
    def name(self) -> str:
        """Its node and process."""
        return self.host if self.pid is None else f"{self.host}:{self.pid}"

    @property
    def busy_s(self) -> float:
        """Seconds of its attempts."""
        return float(sum(one["until"] - one["started"] for one in self.attempts))

    @property
    def lost_s(self) -> float:
        """Seconds of failed attempts, and of epochs that were trained again."""
        return float(sum(_lost_s(one) for one in self.attempts))


def _lost_s(attempt: Row) -> float:
    return float(attempt["until"] - attempt["started"] if attempt["state"] == "failed" else attempt["repeated"])


def worker_times(workers: Iterable[Row], attempts: Iterable[Row]) -> list[WorkerTime]:
    """Return the workers that have begun an attempt, by node and then by start.

    Args:
        workers: See :func:`cnn_sweep.store.queries.list_workers`.
        attempts: See :func:`cnn_sweep.store.report_queries.attempts`.
    """
    own: dict[str, list[Row]] = defaultdict(list)
    for one in attempts:
        own[one["writer"]].append(one)
    known = {one["writer"]: one for one in workers}
    found = [_worker_time(known.get(writer, {}), some) for writer, some in own.items()]
    return sorted(found, key=lambda one: (natural(one.host), one.first, one.pid or 0))


def _worker_time(worker: Row, attempts: Sequence[Row]) -> WorkerTime:
    last = max(one["until"] for one in attempts)
    return WorkerTime(
        host=worker.get("host", "?"),
        pid=worker.get("pid"),
        first=min(worker.get("started", attempts[0]["started"]), attempts[0]["started"]),
        last=max(worker.get("last_event") or last, last),
        attempts=tuple(attempts),
    )


def worker_table(times: Sequence[WorkerTime]) -> Table:
    """Return a row for each worker, and one for all that are left over if there are many.

    ``hours`` run from a worker's start to its last event. ``busy`` and ``idle`` are shares of them: with and without a
    trial. ``lost`` is the share of attempts that failed and of epochs that were trained again, a part of ``busy``.
    """
    some = times if len(times) <= _MOST_ROWS else times[: _MOST_ROWS - 1]
    rows = [_row(one.name, [one]) for one in some]
    rest = times[len(some) :]
    return Table(COLUMNS, (*rows, *([_row(f"{plural(len(rest), 'other')}", rest)] if rest else [])))


def _row(name: str, times: Sequence[WorkerTime]) -> Row:
    seconds = sum(one.last - one.first for one in times)
    busy = sum(one.busy_s for one in times)

    def share(part: float) -> Any:
        return f"{min(part / seconds, 1):.0%}" if seconds else None

    return {
        "worker": name,
        "attempts": sum(len(one.attempts) for one in times),
        "hours": round(seconds / _HOUR_S, 3),
        "busy": share(busy),
        "idle": share(max(seconds - busy, 0.0)),
        "lost": share(sum(one.lost_s for one in times)),
    }
