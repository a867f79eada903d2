"""Times of epochs: measured, predicted for other networks, and read from journals."""

from dataclasses import replace

import pytest
from helpers.sweeps import sweep_of_digits
from helpers.written import Written

from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.events import Start
from cnn_sweep.journal.identity import new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.tools.epoch_times import Shapes, _start_of_workers, times_of_probe, times_of_study, to_probe
from cnn_sweep.tools.training_rates import Measured, Measurement

SPACE = """\
space:
  filters: [1, 2, 4, 8, 16, 32]
  batch_size: [8, 64]
training: {{epochs: 3, batch_size: $batch_size}}
"""
IMAGES = 1079


def sweep(text=SPACE):
    """Return a sweep of digits."""
    return Sweep.parse(sweep_of_digits(text).format(study="digits", metric="val_accuracy", direction="maximize"))


@pytest.fixture
def study(tmp_path):
    """A study that does not exist yet."""
    return StudyFolder.preview(sweep(), tmp_path)


def shapes_of(study):
    """Return the shapes of a study, and the first stage of each of its trials."""
    shapes = Shapes(study.sweep, study.info, IMAGES)
    return shapes, [shapes.of(trial)[0] for trial in study.plan.trials]


def law(shape):
    """Take time for multiplications, steps and the epoch."""
    return 2e-9 * shape.features[0] + 1e-3 * shape.features[3] + 0.05


def test_networks_that_were_not_measured_follow_from_those_that_were(study):
    """Six of twelve shapes are measured; the others are right within some percent."""
    _, all_shapes = shapes_of(study)
    probed = to_probe(all_shapes)
    assert len(probed) == 6
    found = Measured(4.0, tuple((Measurement(law(one), 1.0, 0.0, IMAGES, 600.0),) for one in probed))
    times = times_of_probe(probed, found, "measured")
    for shape in all_shapes:
        assert times.epoch_s(shape) == pytest.approx(law(shape), rel=0.05)


def test_one_measurement_is_scaled_by_the_multiplications(study):
    """With nothing else to go by."""
    _, all_shapes = shapes_of(study)
    (first,) = to_probe(all_shapes, 1)
    times = times_of_probe([first], Measured(4.0, ((Measurement(3.0, 1.0, 0.0, IMAGES, 600.0),),)), "measured")
    assert first.params["filters"] == 32
    half = next(one for one in all_shapes if one.params["filters"] == 16)
    assert times.epoch_s(half) == pytest.approx(3.0 * half.features[0] / first.features[0])


def test_workers_and_repeated_networks_are_averaged(study):
    """A network is built once; its second shape tells nothing about that."""
    _, all_shapes = shapes_of(study)
    same = [one for one in all_shapes if one.params["filters"] == 8]
    several = (
        (Measurement(1.0, 3.0, 0.25, IMAGES, 500.0), Measurement(3.0, 5.0, 0.25, IMAGES, 700.0)),
        (Measurement(1.0, 0.5, 0.25, IMAGES, 500.0), Measurement(1.0, 0.5, 0.25, IMAGES, 700.0)),
    )
    times = times_of_probe(same, Measured(4.0, several), "measured")
    assert (times.build_s, times.trial_s, times.memory_mb) == (4.0, 0.25, 700.0)
    assert times.epoch_s(same[0]) == 2.0


def test_a_study_with_trials_tells_its_own_times(tmp_path):
    """From the median of its epochs; before a few trials have ended it tells nothing."""
    written = Written(tmp_path)
    written.study(trials=6)
    study = StudyFolder.open(tmp_path, "digits")
    shapes = Shapes(study.sweep, study.info, IMAGES)
    times = times_of_study(shapes, study.history())
    assert times.source == "as 6 trials of the study took"
    params = study.history().trials[0].params
    assert times.epoch_s(shapes.of_params(params)[0]) == 0.5
    written.study(name="young", trials=6, states=("complete", "complete", "waiting", "waiting", "waiting", "waiting"))
    young = StudyFolder.open(tmp_path, "young")
    assert times_of_study(Shapes(young.sweep, young.info, IMAGES), young.history()) is None


def test_the_start_of_a_pool_counts_once_with_the_import_of_its_workers(tmp_path):
    """Workers are forked when TensorFlow is imported; one that replaces another has not waited for that."""
    study = StudyFolder.open_or_create(sweep(), tmp_path)
    first_trials = [(0, 100.0, None), (1, 104.0, 104.5), (1, 104.1, 105.0), (1, 900.0, 900.2)]
    for number, (threads, born, began) in enumerate(first_trials):
        with JournalWriter(study.paths.journal(new_writer_name())) as journal:
            journal.append(replace(worker_event(threads=threads), time=born))
            if began is not None:
                journal.append(Start(began, number, 0, "c", 0, 0, {}))
    assert _start_of_workers(study.history()) == 4.5


def test_a_search_that_proposes_later_is_estimated_by_draws(tmp_path):
    """Trials without a configuration stand for ones that could be drawn."""
    adaptive = SPACE.replace("[1, 2, 4, 8, 16, 32]", "{{low: 1, high: 64}}") + "search: {{method: tpe, trials: 50}}\n"
    study = StudyFolder.preview(sweep(adaptive), tmp_path)
    _, drawn = shapes_of(study)
    assert len(drawn) == 50
    assert len({one.params["filters"] for one in drawn}) > 3


TUNED = """\
study: tuned
data: {source: digits, validation: 0.2, test: 0.2, image_size: [32, 32], color: rgb}
model:
  layers:
    - base: {name: MobileNetV2, weights: none}
    - global_pool
    - dense: $units
    - output: softmax
space: {units: [8, 16]}
training: {epochs: 3, batch_size: 8, fine_tune: {epochs: 2, from: true, learning_rate: 0.001}}
"""


def test_stages_of_fine_tuning_have_their_own_times(tmp_path):
    """The second stage trains the base, so its epochs take longer."""
    study = StudyFolder.preview(Sweep.parse(TUNED), tmp_path)
    first, second = Shapes(study.sweep, study.info, IMAGES).of(study.plan.trials[0])
    assert (first.epochs, second.epochs, second.stage) == (3, 2, 1)
    assert second.features[0] > 2 * first.features[0]
