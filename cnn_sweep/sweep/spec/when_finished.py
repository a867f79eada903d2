"""The section ``when_finished``: commands that run once a study has ended, such as ``report``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cnn_sweep.validation import Count, Spec

if TYPE_CHECKING:
    from collections.abc import Mapping


class ReportStep(Spec):
    """Write a report on the study.

    Attributes:
        format: Format of the report.
    """

    format: Literal["html", "markdown"] = "html"


class FinalizeStep(Spec):
    """Evaluate the best trials on the sealed test set.

    Attributes:
        top: Number of trials.
    """

    top: Count = 1


class LeaderboardStep(Spec):
    """Write the leaderboard to a file.

    Attributes:
        format: Format of the file.
    """

    format: Literal["csv", "json", "markdown", "latex", "html"] = "csv"


class ExportStep(Spec):
    """Export trials and epochs for other programs.

    Attributes:
        to: Format of the export.
    """

    to: Literal["csv", "parquet", "tensorboard"] = "csv"


STEPS: Final[dict[str, type[Spec]]] = {
    "report": ReportStep,
    "finalize": FinalizeStep,
    "leaderboard": LeaderboardStep,
    "export": ExportStep,
}


@dataclass(frozen=True)
class Step:
    """One command of ``when_finished``.

    Attributes:
        command: Its name.
        settings: Its settings, without those that have their default.
    """

    command: str
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, command: str, spec: Spec) -> Step:
        """Return the step with a command's settings."""
        return cls(command, spec.model_dump(mode="json", exclude_defaults=True))

    @property
    def all_settings(self) -> Mapping[str, Any]:
        """The settings, including defaults."""
        return STEPS[self.command].model_validate(dict(self.settings)).model_dump()

    def canonical(self) -> dict[str, Any]:
        """Return the step in the form in which files are compared."""
        return {self.command: dict(self.settings)}

    def __str__(self) -> str:
        """Return the command and its settings, such as ``finalize top 3``."""
        return " ".join([self.command, *(f"{key} {value}" for key, value in self.settings.items())])
