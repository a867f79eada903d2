"""The timeline: which worker trained which trial, and when."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import duration, moment
from cnn_sweep.report.figures.figure import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Figure,
    label,
    number,
    numbers,
    readable,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData
    from cnn_sweep.report.worker_times import WorkerTime

    Lane = Sequence[WorkerTime]

_GREY: Final = "#888888"
# How an attempt ended, and its colour.
_STATES: Final = {
    "complete": BLUE,
    "pruned": ORANGE,
    "paused": SKY,
    "interrupted": PURPLE,
    "failed": VERMILLION,
    "lost": _GREY,
    "running": GREEN,
}
_MOST_LANES: Final = 60  # more would be thinner than five pixels
_MOST_NAMES: Final = 16  # of lanes; more would hide each other
_LETTER_PX: Final = 7
_THICKNESS: Final = 0.8  # of a bar, in lanes
_FEW_LANES: Final = 4  # with fewer, bars are thinner
_SHORTEST: Final = 1 / 1_000  # of the whole time: about a pixel
# Units of the axis: the time from which on it is used and its length, in seconds.
_UNITS: Final = ((259_200, 86_400, "days"), (7_200, 3_600, "hours"), (120, 60, "minutes"), (0, 1, "seconds"))


def timeline(data: ReportData) -> Figure | None:
    """Draw a bar for each attempt on the lane of its worker, from its start to its end, coloured by how it ended."""
    times = data.worker_times
    if not times:
        return None
    lanes = lanes_of(times)
    drawn = shown_lanes(lanes)
    began = min(one.attempts[0]["started"] for one in times)
    length = max(one.attempts[-1]["until"] for lane in drawn for one in lane) - began
    _, unit_s, unit = next(one for one in _UNITS if length >= one[0])
    placed = [(place, one) for place, lane in enumerate(drawn) for worker in lane for one in worker.attempts]
    values = _values(data)
    shortest = max(length * _SHORTEST, 1e-3)
    traces = []
    for state, color in _STATES.items():
        some = [(place, one) for place, one in placed if one["state"] == state]
        if some:
            bars = _bars(some, values, (began, unit_s, shortest)) | {"name": state, "marker": {"color": color}}
            bars["width"] = _THICKNESS * min(1.0, len(drawn) / _FEW_LANES)
            traces.append(bars | {"hovertemplate": _hover(state, data.metric)})
    names = _names(drawn)
    layout = {
        # Room for the names and the legend at once: otherwise Plotly draws the bars twice.
        "margin": {"l": 14 + _LETTER_PX * max(map(len, names["ticktext"])), "r": 20, "t": 50, "b": 50},
        "xaxis": {
            "title": {"text": f"{unit} since the start"},
            "zeroline": False,
            "range": _with_room(length / unit_s),
        },
        "yaxis": names | {"range": [len(drawn) - 0.5, -0.5], "zeroline": False, "showgrid": False},
        "barmode": "overlay",
        "shapes": _borders(drawn),
        "showlegend": True,
    }
    return Figure("timeline", "Timeline of workers", _caption(times, lanes, drawn, began), tuple(traces), layout)


def _bars(
    some: Sequence[tuple[int, Row]], values: dict[tuple[int, int], float | None], scale: tuple[float, float, float]
) -> dict[str, Any]:
    """Return a trace of bars.

    Args:
        some: Attempts and the places of their lanes.
        values: Values by trial and attempt.
        scale: Where time begins in seconds since 1970, seconds of a unit of the axis, and of the shortest bar.
    """
    began, unit_s, shortest = scale
    return {
        "type": "bar",
        "orientation": "h",
        "base": numbers((one["started"] - began) / unit_s for _, one in some),
        "x": numbers(max(one["until"] - one["started"], shortest) / unit_s for _, one in some),
        "y": [place for place, _ in some],
        "customdata": [one["trial"] for _, one in some],
        "text": [_epochs(one) for _, one in some],
        "textposition": "none",
        "hovertext": [number(values.get((one["trial"], one["attempt"]))) for _, one in some],
    }


def _with_room(length: float) -> list[float]:
    return [number(-0.01 * length), number(1.01 * length)]


def _epochs(attempt: Row) -> str:
    again = f" (attempt {attempt['attempt']})" if attempt["attempt"] else ""
    return f"{attempt['epochs']} in {duration(attempt['until'] - attempt['started'])}{again}"


def _hover(state: str, metric: str) -> str:
    value = f"<br>{text(metric)}: %{{hovertext:.5g}}" if state in {"complete", "pruned", "paused"} else ""
    return f"trial %{{customdata}}, {state}<br>epochs: %{{text}}{value}<extra></extra>"


def _values(data: ReportData) -> dict[tuple[int, int], float | None]:
    """Return the value of each trial by its number and its last attempt."""
    last = {one["trial"]: one["attempt"] for one in sorted(data.attempts, key=lambda one: one["attempt"])}
    return {(row["trial"], last[row["trial"]]): row["value"] for row in data.board.rows if row["trial"] in last}


def lanes_of(times: Sequence[WorkerTime]) -> list[list[WorkerTime]]:
    """Return a lane for each worker; if that is too many, workers of a node that did not run together share one."""
    if len(times) <= _MOST_LANES:
        return [[one] for one in times]
    found: list[list[WorkerTime]] = []
    for _, some in itertools.groupby(times, key=lambda one: one.host):
        own: list[list[WorkerTime]] = []
        for worker in some:
            free = next((lane for lane in own if lane[-1].last <= worker.first), None)
            if free is None:
                own.append([worker])
            else:
                free.append(worker)
        found += own
    return found


def shown_lanes(lanes: Sequence[list[WorkerTime]]) -> list[list[WorkerTime]]:
    """Return the lanes with the longest training, as many as there is room for, in their order."""
    busiest = sorted(range(len(lanes)), key=lambda place: -sum(one.busy_s for one in lanes[place]))[:_MOST_LANES]
    return [lanes[place] for place in sorted(busiest)]


def _caption(times: Sequence[WorkerTime], lanes: Sequence[Lane], drawn: Sequence[Lane], began: float) -> str:
    parts = [
        "A lane for each worker, by node, and a bar for each attempt at a trial, coloured by how it ended.",
        f"The first began on {moment(began)} UTC.",
        "Attempts that run, or whose worker was lost, end at their last epoch.",
    ]
    if len(lanes) < len(times):
        parts.append(f"The {len(times):,} workers share lanes where they ran on one node one after another.")
    if len(drawn) < len(lanes):
        parts.append(f"Only the {len(drawn)} lanes of {len(lanes):,} with the longest training are drawn.")
    return " ".join(parts)


def _names(lanes: Sequence[Lane]) -> dict[str, Any]:
    """Return the ticks of the axis of lanes: their workers; nodes if that is too many; some nodes if that is, too."""
    names = [(float(place), lane[0].name) for place, lane in enumerate(lanes)]
    if len(names) > _MOST_NAMES or any(len(lane) > 1 for lane in lanes):
        places: dict[str, list[int]] = defaultdict(list)
        for place, lane in enumerate(lanes):
            places[lane[0].host].append(place)
        names = [((own[0] + own[-1]) / 2, host) for host, own in places.items()]
    ticks = readable(dict(names), len(lanes) / _MOST_NAMES)
    return {"tickvals": [*ticks], "ticktext": [label(name) for name in ticks.values()]}


def _borders(lanes: Sequence[Lane]) -> list[dict[str, Any]]:
    """Return lines between nodes, if some have several lanes."""
    hosts = [lane[0].host for lane in lanes]
    if len(set(hosts)) == len(hosts):
        return []
    across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "line": {"color": "gray", "width": 0.5}}
    ends = [place - 0.5 for place in range(1, len(hosts)) if hosts[place] != hosts[place - 1]]
    return [across | {"y0": end, "y1": end} for end in ends]
