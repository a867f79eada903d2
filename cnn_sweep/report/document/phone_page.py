"""The state of a study on one small page, for a telephone: no script, no figure, a few kilobytes.

It is renewed beside the live page. The browser loads it again by itself until the study is finished.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import moment, plural
from cnn_sweep.report.document import answer
from cnn_sweep.report.document.html import Content, from_template, rendered
from cnn_sweep.report.leaderboards.leaderboard import Selection, Table, overview, select, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData

_LONGEST: Final = 160  # letters of a text
_MOST: Final = 8  # lines about troubles; rows of a table
_TOP: Final = 5  # rows of the leaderboard
_COLUMNS: Final = 6  # of the leaderboard


def phone_page(data: ReportData, progress: Callable[[], Content], every_s: float, now: float, *, finished: bool) -> str:
    """Write the page; a part that fails says why.

    Args:
        data: The data of the study's report.
        progress: Makes the section on progress of its live page.
        every_s: Seconds between renewals.
        now: When it is written, in seconds since 1970.
        finished: Whether it is written for the last time.

    Returns:
        HTML of less than 30 kB, whatever the texts of the study are: they are shortened.
    """
    makers: dict[str, Callable[[], Content]] = {
        "Progress": progress,
        "Best": lambda: _best(data),
        "What next": lambda: Content("card_steps", {"steps": [_step(one) for one in answer.next_steps(data)]}),
        "Leaderboard": lambda: _leaders(data),
    }

    def part(title: str) -> str:
        def made() -> str:
            content = makers[title]()
            return rendered(replace(content, arguments=_brief(content.arguments)))

        def failed(why: str) -> str:
            return rendered(Content("error", {"words": _brief(why)}))

        return data.problems.attempt(f"the part {title!r} of the page for telephones", made, failed)

    return from_template(
        "phone.html",
        study=data.study,
        headline=_brief(answer.headline(data)),
        parts={title: part(title) for title in makers},
        written=moment(now),
        every_s=every_s,
        finished=finished,
    )


def _best(data: ReportData) -> Content:
    found = answer.best(data)
    return Content("card_best", {"best": None if found is None else asdict(found), "nothing": data.nothing_complete})


def _step(step: answer.Step) -> dict[str, Any]:
    """Return a step without its command if that is long: nobody could type a shortened one."""
    return asdict(step) | ({} if len(step.command) <= _LONGEST else {"command": ""})


def _leaders(data: ReportData) -> Content:
    table = select(overview(data.board, list(data.axes)), Selection(top=_TOP))
    return Content("table", {"columns": table.columns[:_COLUMNS], "rows": table.rows})


def _brief(value: Any) -> Any:
    """Shorten all texts, lists and tables, so that the page stays small."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
    if isinstance(value, Table):
        rows: list[Row] = [_brief(row) for row in value.rows[:_MOST]]
        last: list[Row] = [{value.columns[0]: "and others"}] if len(value.rows) > _MOST else []
        return Table(value.columns, (*rows, *last))
    if isinstance(value, dict):
        return {name: _brief(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        rest = len(value) - _MOST
        is_text = all(isinstance(one, str) for one in value)
        more = [f"and {plural(rest, 'other')}"] if rest > 0 and is_text else []
        return [*(_brief(one) for one in value[:_MOST]), *more]
    return value if value is None or isinstance(value, int | float) else _brief(shown(value))
