"""Proves from the journals that every decision at a rung was legal, without the code that made it.

Workers decide by what they have read, and that lags behind. A promotion is legal if there is a state of knowledge that
its worker can have had and that allows it: all results journaled before it began to read (``seen``, less ``lag_s`` for
clocks that differ and writes on their way), and any of those journaled until the promotion's start. Its worker
journaled place and number of results, so this can be decided exactly: the results of that state must split into as many
better and worse ones.

With ``min_epochs: auto``, the audit works out the first rung from the pilots' results itself.

A promotion by prediction names a digest of what it was made from. The audit looks for a state of knowledge with that
digest, and repeats the prediction.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from helpers.audited_trial import AuditedTrial
from scipy.stats import kendalltau

from cnn_sweep.journal.events import Checkpoint, End, Epoch, Event, Lost, Start
from cnn_sweep.journal.history import journal_sizes
from cnn_sweep.journal.log import from_json, read_from
from cnn_sweep.search.learning_curves import features_of
from cnn_sweep.search.predicted_rungs import Known, choices
from cnn_sweep.search.pruning_rules import NEVER_PROMOTED, OUT_OF_REACH, first_trainings, fresh_trials
from cnn_sweep.search.rungs import FineLadder, Ladder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.search.plan import Plan
    from cnn_sweep.sweep.sweep import Sweep


class Breach(NamedTuple):
    """A decision that the rule does not allow."""

    trial: int
    attempt: int
    what: str


class _Result(NamedTuple):
    """A trial's result at a rung: when it was journaled, and how good it is (less is better)."""

    trial: int
    time: float
    badness: tuple[float, float]  # violation of constraints by the number of weights, then the objective


class Audit:
    """The journals of a study under a pruner with rungs.

    Args:
        paths: Files of the study.
        sweep: Its sweep, which has such a pruner.
        plan: All its trials.
        lag_s: How far clocks and the visibility of writes may be apart, in seconds.
    """

    def __init__(self, paths: StudyPaths, sweep: Sweep, plan: Plan, *, lag_s: float = 0.0) -> None:
        ladder = Ladder.of(sweep.pruner)
        if ladder is None:
            raise ValueError(f"the study {sweep.study!r} has no pruner with rungs")
        self._ladder = ladder
        self._is_auto = getattr(sweep.pruner, "min_epochs", None) == "auto"
        self._direction = sweep.objective.direction
        self._constraints = sweep.outcome_constraints
        self._lag_s = lag_s
        self._plan, self._seed = plan, sweep.search.seed
        self._repeats = repeats = first_trainings(plan)
        self._planned = [p.number for p in plan.trials if p.number not in repeats]
        self._believed = {p.number for p in plan.trials if p.source is not None}
        self._trials = {number: AuditedTrial(number) for number in self._planned}
        for event in sorted(_events(paths), key=lambda event: event.time):
            self._take(event, sweep.objective.metric)
        first = [p.params for p in plan.trials if p.params is not None]
        first = first or [s.params for t in self._trials.values() for s in t.starts.values()]
        training = sweep.resolve(first[0]).training if first else None
        self._epochs = training.all_epochs if training is not None else 1
        self._known: dict[tuple[int, int], list[_Result]] = {}
        self._moments: list[float] = []
        self._firsts: dict[float, tuple[int, bool]] = {}  # what is derived from the pilots, by time
        self._counted: dict[tuple[int, float], set[int]] = {}
        self.promotions = 0

    def breaches(self) -> Iterator[Breach]:
        """Yield every decision that was not legal; afterwards ``promotions`` says how many were looked at."""
        self.promotions = 0
        for trial in self._trials.values():
            for attempt, start in sorted(trial.starts.items()):
                for what in (*self._of_start(trial, start), *_of_epochs(trial, start)):
                    yield Breach(trial.number, attempt, what)
            yield from self._of_end(trial)

    def _take(self, event: Event, metric: str) -> None:
        number = getattr(event, "trial", None)
        if number not in self._trials:
            return
        trial = self._trials[number]
        match event:
            case Start():
                trial.starts.setdefault(event.attempt, event)
            case Epoch():
                value = event.metrics.get(metric, math.nan)
                trial.epochs.setdefault(event.epoch, (event.time, value))
                trial.reports.setdefault(event.attempt, []).append(event)
            case Checkpoint():
                trial.saved[event.attempt] = max(event.epoch, trial.saved.get(event.attempt, 0))
            case End():
                state = f"{event.state}:{event.cause}" if event.state == "pruned" else event.state
                trial.ends.setdefault(event.attempt, (event.time, state))
            case Lost():
                trial.ends.setdefault(event.attempt, (event.time, "lost"))
            case _:
                pass

    def _of_start(self, trial: AuditedTrial, start: Start) -> Iterator[str]:
        before = trial.granted_before(start.attempt)
        if start.until is None and not trial.reports.get(start.attempt):
            return  # it trained nothing: it was cancelled, or has not come far
        if start.promotion is None:
            wanted = before or self._ladder.next_level(trial.number, 0)
            if start.until != wanted and not (start.until is None and wanted >= self._last_epoch()):
                yield f"it may train to epoch {start.until} without a promotion, but had been granted {before:g}"
            return
        self.promotions += 1
        rung, last = int(start.promotion["rung"]), bool(start.promotion["last"])
        if before != rung:
            yield f"it is promoted from rung {rung}, but had been granted {before:g}"
        if start.until not in (None, self._ladder.next_level(trial.number, rung)):
            yield f"from rung {rung} it may train to epoch {start.until}"
        if isinstance(self._ladder, FineLadder):
            yield from self._of_prediction(trial, start)
            return
        yield from self._of_knowledge(trial, start, rung)
        if last:
            yield from self._of_last(start)
        elif self._is_auto:
            yield from self._of_choice(trial, start, rung)
        elif start.promotion["place"] > start.promotion["results"] // self._ladder.reduction:
            yield f"place {start.promotion['place']} of {start.promotion['results']} results is not among the best"

    def _of_choice(self, trial: AuditedTrial, start: Start, rung: int) -> Iterator[str]:
        """Check that a state of the pilots that its worker can have known lets it go on."""
        given = start.promotion or {}
        seen, place, results = (given[name] for name in ("seen", "place", "results"))
        known = {t for number in self._pilots for t in self._trials[number].times() if seen - self._lag_s < t}
        for first, is_chosen in {self._first(t) for t in (seen - self._lag_s, *known) if t <= start.time}:
            examined = rung == first and trial.number in self._pilots and not is_chosen
            quota = results if rung < first or examined else results // self._ladder.reduction if is_chosen else 0
            if place <= quota and given.get("first") == (first if is_chosen else None):
                return
        yield f"place {place} of {results} results at rung {rung} does not go on by what the pilots show"

    @property
    def _pilots(self) -> list[int]:
        return sorted(self._planned)[:24]

    def _first(self, time: float) -> tuple[int, bool]:
        """Return the first rung that decides and True, or the one that the pilots examine at a time and False."""
        if time not in self._firsts:
            self._firsts[time] = self._choose_first(time)
        return self._firsts[time]

    def _choose_first(self, time: float) -> tuple[int, bool]:
        found = []
        for number in self._pilots:
            trial = self._trials[number]
            curve = {e: self._direction.key(v) for e, (t, v) in trial.epochs.items() if t <= time}
            over = {state.partition(":")[0] for t, state in trial.ends.values() if t <= time} & {*_OVER}
            found.append((max(curve, default=0), {e: v for e, v in curve.items() if math.isfinite(v)}, over))
        rung = 1
        while True:
            above = int(rung * self._ladder.reduction)
            if any(far < above and not over for far, _, over in found):
                return rung, False
            pairs = [
                (min(low), min(v for e, v in curve.items() if e <= above))
                for far, curve, over in found
                if far >= rung and (far >= above or "complete" in over)
                if (low := [v for e, v in curve.items() if e <= rung])
            ]
            tau = kendalltau(*zip(*pairs, strict=True)).statistic if len(pairs) >= 8 else 0.0
            if tau >= 0.6 - 1e-9 or not any(far >= rung and min(curve, default=far) <= rung for far, curve, _ in found):
                return rung, True
            rung = above

    def _counting(self, level: int, time: float) -> set[int]:
        """Return the trials that count at a rung: pilots, above the first one, only if among the best of that below."""
        if (level, time) not in self._counted:
            self._counted[level, time] = self._count(level, time)
        return self._counted[level, time]

    def _count(self, level: int, time: float) -> set[int]:
        first, is_chosen = self._first(time)
        if not is_chosen or level <= first:
            return {*self._planned}
        below = level // self._ladder.reduction
        counting = self._counting(int(below), time)
        results = [r for r in self._results(int(below), 0) if r.time <= time and r.trial in counting]
        best = {r.trial for r in results[: int(len(results) // self._ladder.reduction)]}
        return {number for number in self._planned if number in best or number not in self._pilots}

    def _times(self) -> list[float]:
        """Return when anything was journaled."""
        if not self._moments:
            self._moments = sorted({t for trial in self._trials.values() for t in trial.times()})
        return self._moments

    def _of_prediction(self, trial: AuditedTrial, start: Start) -> Iterator[str]:
        """Repeat a prediction from a state of knowledge that its worker can have had."""
        given = start.promotion or {}
        yield from self._of_weights(trial, given["seen"] - self._lag_s, start.time)
        wrong = f"the inputs {given['inputs']} of its prediction were never known"
        for known, paused in self._states(given["seen"] - self._lag_s, start.time):
            if known.digest != given["inputs"]:
                continue  # the same results may have been known with fewer trials paused, so others may follow
            found = [
                choice.chance or 0.0 for choice in choices(known, paused, self._seed) if choice.number == trial.number
            ]
            if any(math.isclose(chance, given["chance"], rel_tol=1e-6) for chance in found):
                return
            wrong = f"its chance was said to be {given['chance']:.6g}, but is {found[0] if found else 'not considered'}"
        yield wrong

    def _of_weights(self, trial: AuditedTrial, seen: float, now: float) -> Iterator[str]:
        """Check that nothing that may be the best is known to violate constraints less."""
        for other in self._trials.values():
            has_result = any(t < seen for t, _ in other.epochs.values())
            if has_result and not other.is_over(lambda t: t <= now) and self._surplus(other) < self._surplus(trial):
                yield f"its weights violate a constraint, and those of trial {other.number} do so less"

    def _states(self, seen: float, now: float) -> Iterator[tuple[Known, np.ndarray]]:
        """Yield what can have been known: all events until ``seen``, and any of the few until ``now``."""
        times = sorted({t for trial in self._trials.values() for t in trial.times() if seen <= t <= now})
        yield from (
            self._state(lambda t, last=last: t < last) for last in (seen, *times, math.nextafter(now, math.inf))
        )
        for count in range(1, len(times) if len(times) <= _FEW else 0):
            for some in combinations(times, count):
                yield self._state(lambda t, some=some: t < seen or t in some)

    def _state(self, is_known: Callable[[float], bool]) -> tuple[Known, np.ndarray]:
        """Return what the events of some times say, and which trials are paused by them."""
        begun = {n: t for n, t in self._trials.items() if any(is_known(s.time) for s in t.starts.values())}
        fresh = fresh_trials(self._plan, begun, self._repeats)
        levels = self._ladder.levels(self._epochs)  # type: ignore[attr-defined]
        rows = {n: row for n, t in begun.items() if (row := self._curve(t, levels, is_known))}
        numbers = sorted({*rows, *fresh})
        results = np.array([[*rows.get(n, ()), *[math.nan] * (len(levels) - len(rows.get(n, ())))] for n in numbers])
        params = [(fresh[n] if n in fresh else next(iter(begun[n].starts.values())).params) or {} for n in numbers]
        over = [n in rows and begun[n].is_over(is_known) for n in numbers]
        paused = [n in rows and begun[n].is_paused(is_known) for n in numbers]
        flags = (np.array(one, dtype=bool) for one in ([n not in rows for n in numbers], over, paused))
        begins, over_, paused_ = flags
        surplus = np.array([self._surplus(begun[n]) if n in rows else 0.0 for n in numbers], dtype=float)
        believed = np.array([n in rows and n in self._believed for n in numbers], dtype=bool)
        known_numbers, features = np.array(numbers, dtype=np.int64), features_of(params)
        return Known(levels, known_numbers, results, features, begins, over_, surplus, believed), paused_

    def _curve(self, trial: AuditedTrial, levels: Sequence[int], is_known: Callable[[float], bool]) -> list[float]:
        epochs = {epoch: -self._direction.key(v) for epoch, (t, v) in trial.epochs.items() if is_known(t)}
        complete = any(state == "complete" and is_known(t) for t, state in trial.ends.values())
        count = len(levels) if complete else sum(level <= max(epochs, default=0) for level in levels)
        finite = {epoch: value for epoch, value in epochs.items() if math.isfinite(value)}
        return [max((v for e, v in finite.items() if e <= level), default=-math.inf) for level in levels[:count]]

    def _of_knowledge(self, trial: AuditedTrial, start: Start, rung: int) -> Iterator[str]:
        """Check that place and number of results are what the worker can have seen."""
        if start.promotion is None:
            return
        place, count, seen = (start.promotion[name] for name in ("place", "results", "seen"))
        results = self._results(rung, self._ladder.bracket(trial.number))
        own = next((r for r in results if r.trial == trial.number), None)
        if own is None or own.time > start.time:
            yield f"it has no result at rung {rung}"
            return
        rank = (own.badness, own.trial)
        times = [seen - self._lag_s, *(t for t in self._times() if seen - self._lag_s < t <= start.time)]
        counting = [self._counting(rung, t) for t in times] if self._is_auto else [{*self._planned}]
        possible = [r for r in results if r.time <= start.time and r.trial in set.union(*counting)]
        if own not in possible:
            yield f"it does not count at rung {rung}, which it passed as a pilot"
        possible = [r for r in possible if r is not own]
        certain = [r for r in possible if r.time < seen - self._lag_s and r.trial in set.intersection(*counting)]
        for words, wanted, is_side in (
            ("better", place - 1, lambda r: (r.badness, r.trial) < rank),
            ("worse", count - place, lambda r: (r.badness, r.trial) > rank),
        ):
            least, most = sum(map(is_side, certain)), sum(map(is_side, possible))
            if not least <= wanted <= most:
                yield f"it was said to have {wanted} {words} results at rung {rung}, but {least} to {most} were known"

    def _of_last(self, start: Start) -> Iterator[str]:
        """Check that nothing else could be done when a trial went on alone."""
        seen = (start.promotion or {})["seen"] - self._lag_s
        for trial in self._trials.values():
            if trial.number != start.trial and trial.is_open(seen, start.time):
                yield f"it went on as the last one, but trial {trial.number} was running"
            if any(t < seen and state == "complete" for t, state in trial.ends.values()):
                yield f"it went on as the last one, but trial {trial.number} was complete"
        yield from self._not_exhausted(seen, start.time, "it went on as the last one", but=start.trial)

    def _of_end(self, trial: AuditedTrial) -> Iterator[Breach]:
        """Check that a trial was pruned only at the study's end, or when it could no longer be promoted."""
        for attempt, (time, state) in trial.ends.items():
            if state == f"pruned:{OUT_OF_REACH}" and (what := self._of_reach(trial, time)) is not None:
                yield Breach(trial.number, attempt, what)
            if state != f"pruned:{NEVER_PROMOTED}":
                continue
            for other in self._trials.values():
                if other is not trial and other.is_open(time - self._lag_s, time):
                    yield Breach(trial.number, attempt, f"it was given up while trial {other.number} was running")
            for what in self._not_exhausted(time - self._lag_s, time, "it was given up"):
                yield Breach(trial.number, attempt, what)

    def _of_reach(self, trial: AuditedTrial, time: float) -> str | None:
        bracket = self._ladder.bracket(trial.number)
        level, is_chosen = self._first(time) if self._is_auto else (self._ladder.level(bracket, 0), True)
        if not is_chosen:
            return "it was given up as out of reach before the first rung was chosen"
        results = [r for r in self._results(level, bracket) if r.time <= time]
        place = next((place for place, r in enumerate(results) if r.trial == trial.number), 0)
        rivals = sum(self._ladder.bracket(number) == bracket for number in self._planned)
        if place >= max(1, rivals // self._ladder.reduction):
            return None
        return f"it was given up as out of reach with {place} better results, but might have been among the best"

    def _not_exhausted(self, seen: float, time: float, doing: str, *, but: int | None = None) -> Iterator[str]:
        """Find what could still have begun or been promoted at a time."""
        waiting = [t.number for t in self._trials.values() if not t.ends and not t.starts]
        late = [t.number for t in self._trials.values() if t.starts and min(s.time for s in t.starts.values()) > time]
        if waiting or late:
            yield f"{doing} while trials had not begun: {sorted(waiting + late)[:5]}"
        if isinstance(self._ladder, FineLadder):
            known, paused = self._state(lambda t: t < time)
            if next(choices(known, paused, self._seed), None) is not None:
                yield f"{doing} while a paused trial might have been the best"
            return
        if self._is_auto and not self._first(time)[1]:
            yield f"{doing} before the first rung was chosen"
        for (level, bracket), quota in self._quotas(seen).items():
            counting = self._counting(level, seen) if self._is_auto else {*self._planned}
            for result in [r for r in self._results(level, bracket) if r.time <= time and r.trial in counting][:quota]:
                trial = self._trials[result.trial]
                went_on = any(s.promotion and s.promotion["rung"] == level for s in trial.starts.values())
                over = any(t <= time and state.partition(":")[0] in _OVER for t, state in trial.ends.values())
                if not went_on and not over and result.trial != but:
                    yield f"{doing} while trial {result.trial} might have gone on from rung {level}"

    def _quotas(self, time: float) -> dict[tuple[int, int], int]:
        quotas = {}
        for bracket in range(self._ladder.brackets):
            for rung in range(64):
                level = self._ladder.level(bracket, rung)
                results = [r for r in self._results(level, bracket) if r.time <= time]
                if not results:
                    break
                counting = self._counting(level, time) if self._is_auto else {*self._planned}
                count = sum(r.trial in counting for r in results)
                passed = self._is_auto and level < self._first(time)[0]
                quotas[level, bracket] = count if passed else count // self._ladder.reduction
        return quotas

    def _results(self, level: int, bracket: int) -> list[_Result]:
        """Return the results at a rung, the best first."""
        if (level, bracket) not in self._known:
            self._known[level, bracket] = sorted(self._read(level, bracket), key=lambda r: (r.badness, r.trial))
        return self._known[level, bracket]

    def _read(self, level: int, bracket: int) -> Iterator[_Result]:
        for number in self._planned:
            epochs = self._trials[number].epochs
            if self._ladder.bracket(number) != bracket or max(epochs, default=0) < level:
                continue
            known = [self._direction.key(v) for epoch, (_, v) in epochs.items() if epoch <= level and math.isfinite(v)]
            time = min(t for epoch, (t, _) in epochs.items() if epoch >= level)
            yield _Result(number, time, (self._surplus(self._trials[number]), min(known, default=math.inf)))

    def _surplus(self, trial: AuditedTrial) -> float:
        weights = max(trial.starts.items())[1].parameters
        alone = [one for one in self._constraints if one.names == ("parameters",) and weights is not None]
        return sum(max(one.value({"parameters": weights}), 0.0) for one in alone)

    def _last_epoch(self) -> int:
        return max((max(t.epochs, default=0) for t in self._trials.values()), default=0)


_FEW = 10  # events whose every subset is tried
_OVER = ("complete", "pruned", "failed")


def _of_epochs(trial: AuditedTrial, start: Start) -> Iterator[str]:
    """Check that an attempt stayed below its rung, and trained nothing again that a checkpoint had."""
    saved = max((epoch for attempt, epoch in trial.saved.items() if attempt < start.attempt), default=0)
    reports: Sequence[Epoch] = trial.reports.get(start.attempt, [])
    for report in reports:
        if start.until is not None and report.epoch > start.until:
            yield f"it trained epoch {report.epoch}, but had to pause after {start.until}"
        if report.epoch <= saved:
            yield f"it trained epoch {report.epoch} again, which was in the checkpoint of epoch {saved}"


def _events(paths: StudyPaths) -> Iterator[Event]:
    for writer, _ in journal_sizes(paths):
        offset, more = 0, True
        while more:
            chunk = read_from(paths.journal(writer), offset)
            offset, more = chunk.end_offset, chunk.more
            yield from (event for event in map(from_json, chunk.bodies) if isinstance(event, Event))
