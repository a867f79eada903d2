"""How much each hyperparameter mattered, as a report shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.report.figures.figure import BLUE, ORANGE, Figure, number, text
from cnn_sweep.report.leaderboards.leaderboard import Table

if TYPE_CHECKING:
    from cnn_sweep.report.report_data import Material
    from cnn_sweep.search.importance import Findings

_INTERACTIONS = 10


def importance_figure(material: Material, findings: Findings) -> Figure:
    """Draw both estimates of importance side by side, the most important hyperparameter on top."""
    found = findings.importances
    names = [text(one.parameter + (" (where it counts)" if one.conditional else "")) for one in found]
    kinds = (
        ("share of the variance (fANOVA)", BLUE, [one.fanova for one in found]),
        ("share among the best (PED-ANOVA)", ORANGE, [one.ped_anova for one in found]),
    )
    traces: list[dict[str, Any]] = []
    for name, color, shares in kinds:
        bar = {"type": "bar", "orientation": "h", "y": names, "x": [number(share) for share in shares], "name": name}
        traces.append(bar | {"marker": {"color": color}, "hovertemplate": "%{y}: %{x:.3f}<extra></extra>"})
    layout = {
        "xaxis": {"title": {"text": "importance"}, "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed", "type": "category"},
        "barmode": "group",
    }
    first = f", the first of {len(material.objectives)} objectives" if len(material.objectives) > 1 else ""
    some = f" Estimated from {findings.results:,} of them." if findings.results < len(material.ranked) else ""
    caption = (
        f"How much each hyperparameter explains of {material.metric}{first}, over all complete trials and for the "
        f"best. The shares of each kind add up to 1, however little they explain together.{some}"
    )
    return Figure("importance", "Importance", caption, tuple(traces), layout)


def order_of(material: Material, findings: Findings | None) -> list[str]:
    """Return the columns of hyperparameters, the most important first."""
    columns = {axis.label: column for column, axis in material.axes.items()}
    return [columns[one.parameter] for one in findings.importances if one.parameter in columns] if findings else []


def interaction_table(findings: Findings) -> Table | None:
    """List the pairs that explain most beyond what each of them explains alone; None if no pair could be judged."""
    pairs = findings.interactions[:_INTERACTIONS]
    rows = [
        {"hyperparameters": f"{one.first} and {one.second}", "share of the variance": one.share, "p": one.p}
        for one in pairs
    ]
    return Table(("hyperparameters", "share of the variance", "p"), tuple(rows)) if rows else None
