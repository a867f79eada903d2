"""A sweep: a sweep file, read and checked, which turns configurations into trials."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError, SettingError, SweepFileError, blamed_on
from cnn_sweep.messages import dotted, show
from cnn_sweep.sweep.expressions.expression import ABSENT
from cnn_sweep.sweep.expressions.parser import ExpressionError
from cnn_sweep.sweep.file import yaml
from cnn_sweep.sweep.file.changes import changes_from
from cnn_sweep.sweep.file.check_values import check_values
from cnn_sweep.sweep.file.composition import compose
from cnn_sweep.sweep.file.edits import with_values
from cnn_sweep.sweep.file.moved_paths import moved_paths
from cnn_sweep.sweep.file.problems import Problems
from cnn_sweep.sweep.file.sections import Sections, read_sections
from cnn_sweep.sweep.file.text_file import read_text
from cnn_sweep.sweep.identity import canonical_json
from cnn_sweep.sweep.network.layers import Base
from cnn_sweep.sweep.repeats import without_repeats_line
from cnn_sweep.sweep.space.grid import Grid, grid, listed_rows, satisfies
from cnn_sweep.sweep.space.templates import Entries, InvalidValuesError, Plain
from cnn_sweep.sweep.spec.metrics import TRIAL_METRICS, requested
from cnn_sweep.sweep.spec.outcome_constraints import outcome_constraints
from cnn_sweep.sweep.spec.trial import TrialSpec
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnn_sweep.sweep.expressions.expression import Expression
    from cnn_sweep.sweep.file.changes import Change
    from cnn_sweep.sweep.file.yaml import Document
    from cnn_sweep.sweep.network.layers import Layer
    from cnn_sweep.sweep.repeats import MoreRepeats
    from cnn_sweep.sweep.space.space import Space
    from cnn_sweep.sweep.spec.data import DataSpec
    from cnn_sweep.sweep.spec.outcome_constraints import OutcomeConstraint
    from cnn_sweep.sweep.spec.search import Learned, PrunerSpec, SearchSpec
    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec
    from cnn_sweep.sweep.spec.when_finished import Step


class InvalidTrialError(InputError):
    """A configuration whose values do not make a valid trial."""


@dataclass(frozen=True)
class Sweep:
    """One sweep file, read and checked.

    Attributes:
        study: Name of the study.
        data: The images.
        space: The hyperparameters.
        constraints: Conditions that every configuration must satisfy.
        search: How configurations are chosen, and when the search ends.
        pruner: The rule that ends trials early, or None.
        objective: The first objective.
        models_keep: Number of the best models to keep.
        models_predictions: Whether complete trials keep their predictions of validation images.
        folder: The file's folder; relative paths and the user's modules are relative to it.
        text: The file's text, with all that was changed or included.
        source: Name of the file in messages.
        sections: The sections of the file, with their references.
        document: The file's content, with the place of each value.
        changed: A line for each change that was made when the file was read, such as ``training.epochs: 10 -> 5``.
        more_repeats: Repeats that this revision adds; None if it is a sweep file of the user's.
    """

    study: str
    data: DataSpec
    space: Space
    constraints: tuple[Expression, ...]
    search: SearchSpec
    pruner: PrunerSpec | None
    objective: ObjectiveSpec
    models_keep: int
    models_predictions: bool
    folder: Path
    text: str
    source: str
    sections: Sections
    document: Document = field(compare=False, repr=False)
    changed: tuple[str, ...] = field(default=(), compare=False)
    more_repeats: MoreRepeats | None = None

    @classmethod
    def load(cls, path: str | Path, changes: Mapping[str, Any] | Sequence[Change] = ()) -> Sweep:
        """Read a sweep file.

        Args:
            path: The file.
            changes: New values of keys, such as ``{"training.epochs": 5}``; a number in a key is the index of an item.

        Raises:
            SweepFileError: The file has problems; the error lists all of them.
        """
        path = Path(path)
        return cls.parse(read_text(path), source=str(path), folder=path.parent, changes=changes, is_new=True)

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        source: str = "<text>",
        folder: Path | None = None,
        changes: Mapping[str, Any] | Sequence[Change] = (),
        is_new: bool = False,
    ) -> Sweep:
        """Read a sweep from text.

        Args:
            text: YAML as in a sweep file.
            source: Its name in messages.
            folder: Folder that paths are relative to; the current folder by default.
            changes: As for :meth:`load`.
            is_new: Whether the text has the limits of files that are not yet those of a study.

        Raises:
            SweepFileError: The text has problems; the error lists all of them.
        """
        folder = folder if folder is not None else Path()
        made = changes_from(changes) if isinstance(changes, Mapping) else changes
        composed = compose(text, source=source, folder=folder, changes=made, is_new=is_new)
        document = composed.document()
        problems = Problems(document, source, composed.problems)
        sections = read_sections(document.data, problems)
        check_values(sections, problems)
        problems.raise_any()
        if sections.data is None:
            raise AssertionError("a file without data was found to have no problems")
        return cls(
            study=sections.study,
            data=sections.data,
            space=sections.space,
            constraints=sections.constraints,
            search=sections.search,
            pruner=sections.pruner,
            objective=sections.objective,
            models_keep=sections.models.keep,
            models_predictions=sections.models.predictions,
            folder=folder,
            text=composed.whole_text(document.data),
            source=source,
            sections=sections,
            document=document,
            changed=tuple(composed.changed),
        )

    def named(self, study: str) -> Sweep:
        """Return the same sweep under another name of its study, which its text then has, too."""
        if study == self.study:
            return self
        text = yaml.replace_study_name(self.text, study)
        renamed = Sweep.parse(text, source=self.source, folder=self.folder)
        return replace(renamed, more_repeats=self.more_repeats)

    def with_learned(self, learned: Sequence[Learned]) -> Sweep:
        """Return the same sweep with the configurations of earlier studies, which its text then has, too."""
        if tuple(learned) == self.search.learned:
            return self
        text = with_values(self.text, {("search", "learned"): [one.model_dump(mode="json") for one in learned]})
        parsed = Sweep.parse(text, source=self.source, folder=self.folder)
        return replace(parsed, changed=self.changed, more_repeats=self.more_repeats)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], *, folder: Path | None = None) -> Sweep:
        """Read a sweep from a mapping with the sections of a sweep file.

        Args:
            content: The sections.
            folder: Folder that paths are relative to; the current folder by default.

        Raises:
            SweepFileError: The mapping has problems; the error lists all of them with their keys.
        """
        return cls.parse(yaml.written(content), source=yaml.FROM_MAPPING, folder=folder)

    def copied(self, file: Path, changes: Sequence[Change] = ()) -> Sweep:
        """Return the sweep as it is in another file; nothing is written.

        The study gets the name of the file, and relative paths start at its folder.

        Args:
            file: The other file.
            changes: Changes of keys, such as the study's name.

        Raises:
            SweepFileError: A change is wrong, or the file's name cannot be that of a study.
        """
        moved = moved_paths(self.document.data, self.data, self.folder, file.parent)
        text = with_values(without_repeats_line(self.text), {("study",): file.stem, **moved})
        return Sweep.parse(text, source=str(file), folder=file.parent, changes=changes)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.text, self.source, self.folder, self.more_repeats)

    def problems(self) -> Problems:
        """Return an empty collection for problems found later, which are reported with lines of this file."""
        return Problems(self.document, self.source)

    @contextmanager
    def locate_errors(self, *key: str | int) -> Iterator[None]:
        """Add the file's line to errors about things outside the file, such as a folder that it names.

        Args:
            key: Path of keys to the cause, if the error does not name a more exact one.

        Raises:
            SweepFileError: The block raised such an error; this one replaces it.
        """
        try:
            with blamed_on(*key):
                yield
        except SettingError as error:
            problems = self.problems()
            problems.add(error.key, error.reason)
            raise SweepFileError(self.source, problems.found) from error

    def resolve(self, params: Mapping[str, Any]) -> TrialSpec:
        """Fill in every reference.

        Args:
            params: The hyperparameters; inactive ones are absent.

        Raises:
            InvalidTrialError: The values do not make a valid trial, or are not a configuration of this sweep.
        """
        if unknown := [name for name in params if name not in self.space.by_name]:
            raise InvalidTrialError(f"the sweep {self.study!r} has no parameter {', '.join(unknown)}")
        network, training = self.sections.network, self.sections.training
        try:
            layers = network.resolve(params) if network else None
            trained = training.resolve(params) if training else None
        except InvalidValuesError as error:
            reasons = "; ".join(f"{dotted(one.path)}: {one}" for one in error.invalid)
            raise InvalidTrialError(reasons) from error
        if trained is ABSENT:
            raise InvalidTrialError(f"training.epochs refers to a parameter that is inactive with {show(dict(params))}")
        return TrialSpec(
            params=dict(params),
            layers=None if layers is None else self._located(layers),
            build=self.sections.build,
            training=None if trained is None else self._with_metrics(trained),
            objective=self.objective,
        )

    def _with_metrics(self, training: TrainingSpec) -> TrainingSpec:
        """Add the metrics that objectives and early stopping follow to those that a trial reports."""
        if training.engine != "graph" and self.sections.build is not None:
            return training  # Keras's own loop reports what the user's model was compiled with
        stopping = training.early_stopping
        monitored = [stopping.monitor] if stopping and stopping.monitor else []
        followed = requested([self.objective.metric, *self.further_metrics, *monitored])
        metrics = tuple(dict.fromkeys((*training.metrics, *followed)))
        return training if metrics == training.metrics else training.model_copy(update={"metrics": metrics})

    def _located(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Make the path of a base's weights absolute."""
        first = layers[0] if layers else None
        if not isinstance(first, Base) or first.weights in ("imagenet", "none"):
            return layers
        try:
            path = path_in(self.folder.absolute(), first.weights)
        except InputError as error:
            raise InvalidTrialError(f"model.layers[0].base.weights: {error}") from error
        return (first.model_copy(update={"weights": str(path)}), *layers[1:])

    def satisfies(self, params: dict[str, Any]) -> bool:
        """Return whether a configuration satisfies all constraints.

        Raises:
            InvalidTrialError: A constraint has no value for the configuration.
        """
        try:
            return satisfies(params, self.constraints)
        except ExpressionError as error:
            raise InvalidTrialError(f"constraint {error}") from error

    @property
    def threads(self) -> int | None:
        """Threads of each worker; None if the study's first run decides."""
        training = self.sections.training
        node = training.node.entries.get("threads") if training else None
        return node.value if isinstance(node, Plain) else None

    @property
    def epochs(self) -> int | None:
        """Epochs of each trial, in all stages; None if trials differ or the objective function decides."""
        entries = self.sections.training.node.entries if self.sections.training else {}
        node, second = entries.get("epochs"), entries.get("fine_tune")
        more = second.entries.get("epochs") if isinstance(second, Entries) else Plain(0 if second is None else None)
        found = [one.value for one in (node, more) if isinstance(one, Plain) and isinstance(one.value, int)]
        return sum(found) if len(found) == 2 else None

    @property
    def fold_count(self) -> int:
        """Number of folds of cross-validation; 1 without it."""
        return self.data.folds or 1

    @property
    def weighted_classes(self) -> tuple[str, ...]:
        """Names of the classes that have a weight in ``training.class_weights``."""
        training = self.sections.training
        node = training.node.entries.get("class_weights") if training else None
        return tuple(node.entries) if isinstance(node, Entries) else ()

    @cached_property
    def grid(self) -> Grid:
        """All configurations of a grid, in the row order of R's ``expand.grid``; of a table, in its own order.

        Raises:
            InvalidTrialError: A constraint has no value for one of them.
        """
        try:
            if self.sections.rows is not None:
                return listed_rows(self.sections.rows, self.constraints)
            return grid(self.space.with_fixed(self.search.fixed), self.constraints)
        except ExpressionError as error:
            raise InvalidTrialError(f"constraint {error}") from error

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about the sweep for the user."""
        table = self.sections.table
        names = [name for name in table.names if name not in self.space.by_name] if table else []
        return tuple(
            f"the table's column {name!r} has no values, so {name!r} is inactive in all rows" for name in names
        )

    @property
    def objectives(self) -> tuple[ObjectiveSpec, ...]:
        """All objectives; the first determines the best epoch of a trial."""
        return self.sections.objectives

    @property
    def outcome_constraints(self) -> tuple[OutcomeConstraint, ...]:
        """What a result must satisfy to rank before those that do not."""
        return outcome_constraints(self.search.constraints)

    @cached_property
    def further_metrics(self) -> tuple[str, ...]:
        """The metrics of each epoch, beside that of the first objective, that decide how results rank."""
        named = [one.metric for one in self.objectives[1:]]
        named += [name for one in self.outcome_constraints for name in one.names]
        return tuple(dict.fromkeys(name for name in named if name not in (self.objective.metric, *TRIAL_METRICS)))

    @property
    def when_finished(self) -> tuple[Step, ...]:
        """Commands that run once the study has ended."""
        return self.sections.when_finished

    def canonical(self) -> dict[str, Any]:
        """Return the file's content in canonical form, independent of comments, spacing, short forms and defaults.

        The order of the hyperparameters matters, because it determines the numbers of the trials.
        """
        return self.sections.canonical()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hex: two files with the same digest mean the same sweep."""
        return hashlib.sha256(canonical_json(self.canonical()).encode()).hexdigest()


def _unpickle(text: str, source: str, folder: Path, more_repeats: MoreRepeats | None) -> Sweep:
    return replace(Sweep.parse(text, source=source, folder=folder), more_repeats=more_repeats)
