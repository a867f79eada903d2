"""Reports as Markdown and as images for papers, and what their figures say."""

from __future__ import annotations

import html
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from helpers.sweeps import sweep_of_digits
from helpers.written import SWEEP
from PIL import Image

from cnn_sweep.cli.commands.report import ReportFormat, report
from cnn_sweep.cli.commands.status import status
from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.journal.events import End, Extend, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.report.document import answer
from cnn_sweep.report.document import summary as facts
from cnn_sweep.report.document.html import page
from cnn_sweep.report.document.markdown import markdown
from cnn_sweep.report.document.summary import commands, rung_table, sweep_files
from cnn_sweep.report.figures import paper
from cnn_sweep.report.figures.cells import as_vectors
from cnn_sweep.report.figures.figure import number
from cnn_sweep.report.figures.letters import outlined
from cnn_sweep.report.figures.paper import Paper, write_images
from cnn_sweep.report.figures.pareto import pareto
from cnn_sweep.report.figures.plots import KINDS, figures, to_plotly
from cnn_sweep.report.report_data import gather, gpu_seconds, what_mattered, with_importance
from cnn_sweep.store.merge import merge
from cnn_sweep.store.reader import StoreReader
from cnn_sweep.study import Study
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.repeats import MoreRepeats


@pytest.fixture
def data(written):
    """What a report of 60 trials is made of."""
    written.study(trials=60, states=("complete",) * 5 + ("failed",))
    board = Study.open(written.results, "digits", merge=False).leaderboard_table()
    return gather(StoreReader(written.results), "digits", board)


def test_markdown_has_what_the_page_has(data):
    """Summary, space, failures, leaderboard and provenance; nothing of the data is markup."""
    text = markdown(data, images="figures")
    for heading in (
        "# digits",
        "## Answer",
        "## Leaderboard",
        "## Failures",
        "## Search space and data",
        "## Provenance",
    ):
        assert f"\n{heading}\n" in f"\n{text}"
    assert "ValueError: &lt;b>no&lt;/b>" in text
    assert f"- best: val_accuracy {data.ranked[0]['value']:.5g} (trial" in text
    assert "](figures/history.svg)" in text
    assert "cnn-sweep run sweep.yaml --threads 2\n" in text
    assert data.revisions["sweep.yaml"].strip() in text


def test_the_commands_that_do_a_study_again_have_each_revision_and_each_repeat(written):
    """A study that was extended and repeated has all of its sweep files, and its commands in their order."""
    written.study(trials=9, second=SWEEP.replace("[4, 8, 16]", "[4, 8, 16, 32]"), more=[Extend(2_000.0, 2, 9, 9, 0, 0)])
    paths = StudyPaths(written.results, "digits")
    text = paths.revision(2).read_text(encoding="utf-8")
    paths.revision(3).write_text(MoreRepeats((3, 7), 5).before(text), encoding="utf-8")
    board = Study.open(written.results, "digits", merge=False).leaderboard_table()
    data = gather(StoreReader(written.results), "digits", board)
    assert list(sweep_files(data)) == ["sweep.yaml", "sweep.2.yaml"]
    lines = [line for line in commands(data).splitlines() if line.startswith("cnn-sweep")]
    assert lines[:4] == [
        "cnn-sweep run sweep.yaml --threads 2",
        "cnn-sweep run sweep.2.yaml --extend",
        "cnn-sweep repeat digits --top 2 --repeats 5",
        "cnn-sweep resume digits",
    ]
    assert "# `repeat` chose the configurations of trials 3, 7;" in commands(data)
    for whole in (markdown(data), page(data)):
        assert "sweep.2.yaml" in whole
        assert "[4, 8, 16]" in whole
        assert "[4, 8, 16, 32]" in whole


def test_with_folds_no_share_validates(written):
    """The share that a source has by default is not said to be used."""
    written.study(trials=10, configurations=2, folds=5, sweep=SWEEP.replace("validation: 0.2", "folds: 5"))
    data = gather(StoreReader(written.results), "digits", Study.open(written.results, "digits").leaderboard_table())
    said = dict(facts.summary(data))["data"]
    assert "folds 5" in said
    assert "validation" not in said


def test_every_figure_is_one_for_plotly(data):
    """Plotly accepts all of them, property by property; none is empty."""
    found = [figure for kind in KINDS for figure in figures(data, kind)]
    assert {figure.name for figure in found} >= {"history", "curves-val_accuracy", "parallel", "pareto-parameters"}
    for figure in found:
        assert len(to_plotly(figure).data) == len(figure.data) > 0


def test_the_front_is_what_nothing_beats(data):
    """A trial is on the Pareto front if and only if no other is as cheap and better, or as good and cheaper."""
    rows = data.ranked
    front = {row["trial"] for row in pareto(rows, "parameters", Direction.MAXIMIZE)}
    points = np.array([[row["parameters"], -row["value"]] for row in rows])
    for row, point in zip(rows, points, strict=True):
        beaten = ((points <= point).all(axis=1) & (points < point).any(axis=1)).any()
        assert (row["trial"] in front) is not bool(beaten)


def test_the_best_so_far_never_falls(data):
    """The history's line has the steps of the running maximum of its points, and their last one."""
    points, line, *_ = figures(data, "history")[0].data
    best = np.maximum.accumulate(points["y"])
    steps = [
        place for place in range(len(best)) if place == len(best) - 1 or best[place] > max(best[:place], default=0)
    ]
    assert (line["x"], line["y"]) == ([points["x"][place] for place in steps], best[steps].tolist())


def test_images_are_what_a_journal_asks_for(data, tmp_path, monkeypatch):
    """Width, letters and resolution are as asked; SVG and PDF have vectors only; each figure has a caption."""
    pytest.importorskip("kaleido")
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine (.ci/debian-packages installs it)")
    before = []
    monkeypatch.setattr(paper, "outlined", lambda svg, fonts: before.append(svg) or outlined(svg, fonts))
    drawn = [figures(data, "parallel")[0], _contour_with_logs(data), figures(data, "timeline")[0]]
    files = write_images(drawn, tmp_path / "images", Paper.of("85mm", "8pt"))
    assert [file.name for file in files[:3]] == ["parallel.svg", "parallel.png", "parallel.pdf"]
    for file in files:
        if file.suffix == ".png":
            with Image.open(file) as picture:
                assert picture.width == pytest.approx(85 / 25.4 * 300, abs=1)
                assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        elif file.suffix == ".svg":
            root = ET.parse(file).getroot()
            assert root.get("width") == "85mm"
            assert [one.tag for one in root.iter() if one.tag.endswith("image")] == []
            if shutil.which("fc-match"):
                assert [one.tag for one in root.iter() if one.tag.endswith(("text", "tspan"))] == []
                assert len({one.get("aria-label") for one in root.iter()}) > 5
        else:
            text = file.read_bytes()
            width = float(re.search(rb"/MediaBox \[0 0 ([\d.]+) ", text)[1])
            assert width == pytest.approx(85 / 25.4 * 72, abs=0.1)
            assert b"/Subtype /Image" not in text
            assert b"/FontFile" in text  # a font is in it
    letters = [float(size) for svg in before for size in re.findall(r"font-size: ?([\d.]+)px", svg)]
    assert letters == pytest.approx([8 / 72 * 96] * len(letters), abs=0.01)
    assert len(letters) > 15
    captions = (tmp_path / "images" / "captions.md").read_text(encoding="utf-8")
    assert captions == "".join(f"**{one.name}**: {one.caption}\n\n" for one in drawn).removesuffix("\n")


def _contour_with_logs(data):
    return next(one for one in figures(data, "contours") if one.layout["xaxis"]["type"] == "log")


def test_a_heat_map_becomes_rectangles_of_its_colours(data):
    """There is a rectangle around the middle of each cell that has a value, and none elsewhere."""
    figure = _contour_with_logs(data)
    (heat,) = figure.data
    traces, _ = as_vectors(figure)
    found = set()
    for trace in traces:
        corners = [*zip(trace["x"], trace["y"], strict=True)]
        for place in range(0, len(corners) - 5, 6):
            (left, low), _, (right, high) = corners[place : place + 3]
            found |= {
                (i, j)
                for i, x in enumerate(heat["x"])
                for j, y in enumerate(heat["y"])
                if left < x < right and low < y < high
            }
    there = {(i, j) for j, line in enumerate(heat["z"]) for i, value in enumerate(line) if value is not None}
    assert found == there


@pytest.mark.parametrize(
    ("width", "font", "said"),
    [
        ("85", "8pt", "width of figures '85': give one from 40mm to 1000mm, as in 85mm, 8.5cm, 3.35in or 240pt"),
        ("3mm", "8pt", "width of figures '3mm': give one from 40mm"),
        ("85mm", "80pt", "font of figures '80pt': give a size from 4pt to 36pt, as in 8pt"),
        ("85mm", "8", "font of figures '8': give a size"),
    ],
)
def test_a_width_or_a_font_that_cannot_be_meant_is_refused(width, font, said):
    """The message has what was given, and examples."""
    with pytest.raises(InputError) as raised:
        Paper.of(width, font)
    assert said in str(raised.value)


def test_images_without_a_browser_are_refused(data, tmp_path, monkeypatch):
    """The message says what to install."""
    kaleido = pytest.importorskip("kaleido")
    errors = pytest.importorskip("kaleido.errors")

    def start(**_):
        raise errors.ChromeNotFoundError

    monkeypatch.setattr(kaleido, "start_sync_server", start)
    with pytest.raises(EnvironmentFault, match=r"apt install chromium \(no browser was found\)"):
        write_images(figures(data, "history"), tmp_path, Paper.of())


def test_shared_gpus_count_once(written):
    """Two workers on one GPU at the same time are one GPU in use; two GPUs of one worker are two."""
    paths = StudyPaths(written.results, "digits")
    written.study(trials=0)
    assert gpu_seconds(StoreReader(paths.results), paths.study) is None
    users = (
        ("a", ["GPU-1"], 100, 160),
        ("b", ["GPU-1"], 130, 190),
        ("c", ["GPU-2", "GPU-3"], 100, 110),
        ("d", [], 0, 99),
    )
    for trial, (writer, gpus, begin, end) in enumerate(users):
        identity = ProcessIdentity("node7", "boot", "pid:[1]", trial, 8)
        events = [
            Worker(1.0, identity, {}, 1, extra={"gpus": gpus} if gpus else {}),
            Start(begin, trial, 0, f"c{trial}", 0, 1, {"filters": 4}),
            End(end, trial, 0, "complete", None, None, 1, end - begin),
        ]
        paths.journal(writer).write_bytes(b"".join(map(encode, events)))
    merge(written.results, wait_s=20)
    assert gpu_seconds(StoreReader(paths.results), paths.study) == pytest.approx(90 + 2 * 10)


def test_importance_is_drawn_and_said(data):
    """What Optuna's estimators say stands in the figure and in the Markdown; contours begin with what matters most."""
    found = what_mattered(data)
    judged = replace(data, findings=found)
    (figure,) = figures(judged, "importance")
    assert figure.data[0]["x"] == [number(one.fanova) for one in found.importances]
    assert "## Importance" in markdown(judged)
    first, second = (one.parameter for one in found.importances[:2])
    assert {first, second} <= set(figures(judged, "contours")[0].title.split(" and "))


def test_each_objective_has_its_importance(written):
    """There is a figure and a table for each; the weights depend on the filters alone."""
    written.study(trials=40, sweep=TWO, params=_odd)
    judged = with_importance(_gathered(written))
    first, second = figures(judged, "importance")
    assert [first.name, second.name] == ["importance", "importance-parameters"]
    assert "explains of parameters, one of 2 objectives" in second.caption
    assert (second.data[0]["y"][0], second.data[0]["x"][0]) == ("filters", pytest.approx(1, abs=0.01))
    section = page(judged).partition('<section id="importance">')[2].partition("</section>")[0]
    assert re.findall("<option value=.*>(.*)</option>", section) == ["val_accuracy", "parameters"]
    assert "For parameters:" in markdown(judged)


# ---- what is said and drawn of studies of all kinds

SPACE = """\
space:
  filters: [4, 8]
  clip: [null, 1.0]
  widths: [[3, 5], 3]
  optimizer: [sgd, adam]
  decay: {{choices: [null, 0.01], when: {{optimizer: adam}}}}
training: {{epochs: 9, optimizer: {{name: $optimizer, clip_norm: $clip, weight_decay: $decay}}}}
"""
ODD = sweep_of_digits(SPACE).replace("kernel_size: 3", "kernel_size: $widths")
TWO = ODD.replace("objective: {{metric: {metric}, direction: {direction}}}\n", "") + (
    "objectives: [{{metric: val_accuracy}}, {{metric: parameters}}]\n"
)
THREE = TWO.replace("{{metric: parameters}}", "{{metric: parameters}}, {{metric: val_loss}}")


def _odd(draw):
    found = {"filters": draw.choice([4, 8]), "clip": draw.choice([None, 1.0]), "widths": draw.choice([[3, 5], 3])}
    found["optimizer"] = draw.choice(["sgd", "adam"])
    return found | ({"decay": draw.choice([None, 0.01])} if found["optimizer"] == "adam" else {})


def _gathered(written):
    return gather(
        StoreReader(written.results), "digits", Study.open(written.results, "digits", merge=False).leaderboard_table()
    )


def test_a_rung_has_the_best_result_at_that_rung(written):
    """The best at 1, 3 and 9 epochs is that of the journals up to there, and not the final one three times."""
    sweep = ODD + "pruner: {{asha: {{min_epochs: 1, reduction: 3}}}}\n"
    written.study(trials=9, epochs=9, params=_odd, sweep=sweep)
    data = _gathered(written)
    epochs = Study.open(written.results, "digits", merge=False).epochs()
    rows = rung_table(data).rows
    assert [row["epochs"] for row in rows] == [1, 3, 9]
    for row in rows:
        assert row["best val_accuracy"] == epochs[epochs.epoch <= row["epochs"]].val_accuracy.max()
        there = epochs[epochs.epoch <= row["epochs"]].groupby("trial").val_accuracy.max()
        assert row["median"] == there.median()
        assert row["worst promoted"] == (there.min() if row["epochs"] < 9 else None)
    assert len({row["best val_accuracy"] for row in rows}) == 3
    (figure,) = figures(data, "rungs")
    assert figure.layout["xaxis"]["ticktext"] == ["1", "3", "9"]
    assert [(trace["name"], {*trace["x"]}) for trace in figure.data] == [
        ("went on", {0, 1}),
        ("stopped or was complete there", {2}),
    ]


def test_the_first_rung_by_evidence_is_told(written, capsys):
    """A report and ``status`` say which rung pilots chose, and by which evidence."""
    auto = "pruner: {{asha: {{min_epochs: auto, reduction: 3}}}}\n"
    told = "1 epoch, since the order of pilots there holds at 3 or the end (Kendall's tau 1.00 of 9 pilots)"
    written.study(trials=9, epochs=9, params=_odd, sweep=ODD + auto)
    data = _gathered(written)
    assert f"The first rung that decides: {told}." in markdown(data)
    assert f"The first rung that decides: {html.escape(told).replace('&#x27;', '&#39;')}." in page(data)
    study = Study.open(written.results, "digits", merge=False)
    assert study.status()["first_rung"]["text"] == told
    status("digits", results=written.results)
    assert f"first rung that decides: {told}" in capsys.readouterr().out


def test_curves_of_repeats_are_means_with_a_band(written):
    """The middle line is the mean over the seeds of a configuration, between the lowest and the highest of them."""
    written.study(trials=20, configurations=4)
    data = _gathered(written)
    first = data.configurations.rows[0]["trial"]
    low, high, mean = [trace for trace in figures(data, "curves")[0].data if trace.get("meta") == first][:3]
    epochs = Study.open(written.results, "digits", merge=False).epochs()
    own = epochs[epochs.trial.isin(data.members[first])].groupby("epoch").val_accuracy
    assert mean["name"] == f"trial {first}, mean of 5 trainings"
    assert mean["x"] == [1, 2, 3]
    for trace, expected in ((low, own.min()), (high, own.max()), (mean, own.mean())):
        assert trace["y"] == pytest.approx(expected.tolist(), rel=1e-5)


def test_different_exceptions_are_different_failures(written):
    """They are listed by exception, the most frequent first, with a few messages of each; the rest is counted."""
    written.study(trials=0)
    identity = ProcessIdentity("node7", "boot", "pid:[1]", 9, 8)
    events = [Worker(1.0, identity, {}, 1)]
    words = ["KeyError: 'a'", "OSError: b", "OSError: b", "my.OwnError: c", *(f"OSError: {n}" for n in range(29)), "x"]
    for trial, word in enumerate(words):
        events.append(Start(1.0, trial, 0, f"c{trial}", 0, 1, {"filters": 4}))
        events.append(End(2.0, trial, 0, "failed", "exception", word, 0, 1.0))
    StudyPaths(written.results, "digits").journal("x").write_bytes(b"".join(map(encode, events)))
    merge(written.results, wait_s=20)
    rows = facts.failures(_gathered(written))
    assert (rows[0]["count"], rows[0]["message"]) == (2, "OSError: b")
    assert [row["exception"] for row in rows] == ["OSError"] * 5 + ["KeyError", "my.OwnError", "exception", "others"]
    assert sum(row["count"] for row in rows) == len(words)
    assert rows[-1]["message"].startswith("25 other messages")


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (("failed",), "no trial is complete: 4 failed"),
        (("failed", "pruned"), "no trial is complete: 2 pruned, 2 failed"),
        (("failed", "running"), "no trial is complete yet"),
        (("waiting",), "no trial is complete yet"),
    ],
)
def test_a_study_that_has_ended_promises_nothing(written, states, said):
    """Only where something may still be complete the report says "yet"."""
    data = _gathered(written.study(trials=4, states=states))
    assert dict(facts.summary(data))["best"] == said


@pytest.mark.parametrize(("sweep", "pairs"), [(TWO, 1), (THREE, 3)])
def test_all_objectives_are_named_and_drawn_with_the_front_of_all(written, sweep, pairs):
    """The summary names each objective and its best; each pair is drawn, with the front over all objectives."""
    data = _gathered(written.study(trials=30, params=_odd, sweep=sweep))
    said = dict(facts.summary(data))
    names = [one.metric for one in data.objectives]
    for name in names:
        assert f"imize {name}" in said["objective"]
        assert f"{name} " in said["best"]
    signs = [-1 if one.direction == "maximize" else 1 for one in data.objectives]
    points = np.array([[row[name] for name in names] for row in data.ranked]) * signs
    beaten = [((points <= point).all(axis=1) & (points < point).any(axis=1)).any() for point in points]
    front = {row["trial"] for row, worse in zip(data.ranked, beaten, strict=True) if not worse}
    assert 0 < len(front) < 30
    (volume,) = [figure for figure in figures(data, "pareto") if figure.name == "hypervolume"]
    assert volume.data[0]["y"] == sorted(volume.data[0]["y"])
    assert 0 < volume.data[0]["y"][-1] <= 1
    assert (data.knee is None) is ("knee" not in said["Pareto front"])
    if data.knee is not None:
        assert data.knee["trial"] in front
        assert f"knee: trial {data.knee['trial']} (" in said["Pareto front"]
    assert said["Pareto front"].startswith(f"{len(front)} of 30 complete trials: ")
    (note,) = [one for one in answer.best(data).notes if "Pareto" in one]
    assert f" {len(front)} trial" in note
    assert all(f"{name} " in note for name in names[1:])
    drawn = [figure for figure in figures(data, "pareto") if figure.title.split(" and ")[0] in names]
    of_objectives = [figure for figure in drawn if {*figure.title.split(" and ")} <= {*names}]
    assert len(of_objectives) == pairs
    for figure in of_objectives:
        assert {*figure.data[1]["customdata"]} == front
    assert len({figure.name for figure in figures(data, "pareto")}) == len(figures(data, "pareto"))


def _words(figure):
    """Return the words at which the dots of boxes stand."""
    return [figure.layout["xaxis"]["ticktext"][place] for place in figure.data[0]["x"]]


def test_null_is_a_value_and_not_an_inactive_hyperparameter(written):
    """Null has its own box, cell and tick; lists as well; only what is inactive is called so."""
    data = _gathered(written.study(trials=60, params=_odd, sweep=ODD))
    slices = {figure.name: _words(figure) for figure in figures(data, "slices")}
    assert set(slices["slice-clip"]) == {"null", "1.0"} or set(slices["slice-clip"]) == {"null", "1"}
    assert len(slices["slice-clip"]) == 60
    assert set(slices["slice-widths"]) == {"[3, 5]", "3"}
    assert set(slices["slice-decay"]) == {"null", "0.01"}
    assert len(slices["slice-decay"]) == sum(row["optimizer"] == "adam" for row in data.ranked)
    (parallel,) = figures(data, "parallel")
    ticks = _ticks(parallel)
    assert "inactive" not in ticks["clip"]
    assert {*ticks["decay"]} == {"null", "0.01", "inactive"}
    assert any(figure.name == "contour-clip-widths" for figure in figures(data, "contours"))
    assert {one.parameter for one in what_mattered(data).importances} >= {"widths", "filters"}
    assert ("clip", "null, 1") in [(row["hyperparameter"], row["values"]) for row in facts.space(data)]


def test_lines_that_meet_in_one_value_meet_in_one_place(written):
    """One value among all complete trials is in the middle of its axis; ticks are as they were written."""

    def params(draw):
        return {"filters": 4, "optimizer": "a<b" + draw.choice(["", "c"]), "clip": 1.0, "widths": 3}

    data = _gathered(written.study(trials=8, params=params, sweep=ODD))
    constant = replace(data, axes=data.axes | {"clip": replace(data.axes["clip"], missing=True)})
    (figure,) = figures(constant, "parallel")
    axis = figure.layout["xaxis"]["ticktext"].index("clip")
    heights = [y for trace in figure.data for x, y in zip(trace["x"], trace["y"], strict=True) if x == axis]
    assert len(heights) == 8
    assert heights == pytest.approx([0.5] * 8, abs=0.05)
    assert _ticks(figure)["optimizer"] == {"a&lt;b", "a&lt;bc"}


def _ticks(parallel):
    """Return the ticks of each axis of parallel coordinates."""
    names = parallel.layout["xaxis"]["ticktext"]
    return {
        name: {one["text"] for one in parallel.layout["annotations"] if one["x"] == place}
        for place, name in enumerate(names)
    }


def test_nothing_is_drawn_where_nothing_was_tried(written):
    """A cell of a contour has a colour if and only if a complete trial lies in it."""
    data = _gathered(written.study(trials=30))
    for figure in figures(data, "contours"):
        (trace,) = figure.data
        assert trace["type"] == "heatmap"
        assert "connectgaps" not in trace
        for values, counts in zip(trace["z"], trace["text"], strict=True):
            assert [value is not None for value in values] == [count > 0 for count in counts]


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_a_part_that_fails_costs_no_other(written, monkeypatch, capsys, tmp_path, form):
    """The section says what went wrong, so does standard error, and the file has all others."""

    def broken(*_):
        raise ZeroDivisionError("<b>boom</b>")

    written.study(trials=5)
    monkeypatch.setattr(facts, "summary", broken)
    monkeypatch.setattr("cnn_sweep.search.importance.find", broken)
    monkeypatch.setattr("cnn_sweep.report.figures.history.scatter", broken)
    file = tmp_path / "page"
    report("digits", file, ReportFormat(form), predictions=False, results=written.results)
    text, said = file.read_text(encoding="utf-8"), capsys.readouterr().err
    assert "the section Search space and data could not be made: ZeroDivisionError: &lt;b" in text
    assert "cnn-sweep: the section Search space and data could not be made: ZeroDivisionError: <b>boom</b>" in said
    assert "importance could not be made" in said
    assert "Provenance" in text
    assert "Leaderboard" in text
    assert "<b>boom" not in text


def test_images_are_told_one_by_one(data, tmp_path, monkeypatch):
    """While figures are drawn, which takes minutes, each is named with its place among all."""
    kaleido, told = pytest.importorskip("kaleido"), []
    for name in ("start_sync_server", "stop_sync_server", "write_fig_sync"):
        monkeypatch.setattr(kaleido, name, lambda *_, **__: None)
    write_images(figures(data, "slices"), tmp_path, Paper.of(), formats=(), tell=told.append)
    assert told[0] == f"figure 1 of {len(told)}: slice-filters"
    assert len(told) == len(figures(data, "slices"))
