"""The methods section of a paper: what a study did, in sentences with references."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import CnnSweepError
from cnn_sweep.messages import plural, span
from cnn_sweep.report.document.summary import space
from cnn_sweep.report.leaderboards.statistics import wilson
from cnn_sweep.report.models.openings import count_in_words
from cnn_sweep.search.first_rung import AGREEMENT, PILOTS
from cnn_sweep.sweep.repeats import read_more_repeats
from cnn_sweep.sweep.space.templates import references
from cnn_sweep.sweep.states import counted
from cnn_sweep.training.data.groups import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData
    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.sweep.sweep import Sweep

    Images = Mapping[str, Mapping[str, int]]  # number of images by split and class

_SEARCHES: Final = {
    "grid": "all combinations of their values were tried",
    "brute_force": "all combinations of their values were tried",
    "table": "the combinations to try were listed beforehand",
    "random": "combinations were drawn at random [@bergstra2012]",
    "qmc": "combinations were drawn from a quasi-random sequence [@bousquet2017]",
    "tpe": "combinations were proposed by Optuna [@akiba2019] with a tree-structured Parzen estimator [@bergstra2011]",
    "gp": "combinations were proposed by Optuna [@akiba2019] with a Gaussian process [@snoek2012]",
    "cmaes": "combinations were proposed by Optuna [@akiba2019] with the evolution strategy CMA-ES [@hansen2001]",
    "nsga2": "combinations were proposed by Optuna [@akiba2019] with the genetic algorithm NSGA-II [@deb2002]",
    "nsga3": "combinations were proposed by Optuna [@akiba2019] with the genetic algorithm NSGA-III [@deb2014]",
}
_PRUNERS: Final = {
    "asha": "Trials competed by asynchronous successive halving [@li2020]: one in {reduction} went on from each rung, "
    "the first of which was {first}.",
    "hyperband": "Trials competed by asynchronous Hyperband [@li2018] in {brackets} brackets: one in {reduction} went "
    "on from each rung.",
    "predictive": "Trials paused after {min_epochs} and at further points; those that, by their learning curves and "
    "hyperparameters, were most likely to be the best at their ends went on, as in freeze-thaw optimization "
    "[@swersky2014].",
    "median": "A trial was stopped if it was worse than the median of the complete ones at the same epoch.",
    "percentile": "A trial was stopped if it was not among the best {percentile:g}% of the complete ones at the same "
    "epoch.",
    "patient": "A trial was stopped if it was worse than the median of the complete ones at the same epoch and had not "
    "improved for {patience} epochs.",
    "threshold": "A trial was stopped if its objective left a given range.",
    "wilcoxon": "Repeats of a configuration were stopped if Wilcoxon's signed-rank test [@wilcoxon1945] found it worse "
    "than the best one (p < {p_threshold:g}).",
}
_OPTIMIZERS: Final = {
    "sgd": "stochastic gradient descent",
    "rmsprop": "RMSprop [@hinton2012]",
    "adam": "Adam [@kingma2015]",
    "adamw": "AdamW [@loshchilov2019]",
    "adagrad": "Adagrad [@duchi2011]",
    "adadelta": "Adadelta [@zeiler2012]",
    "nadam": "Nadam [@dozat2016]",
}
_FEW: Final = 12  # classes, or values of hyperparameters, that are named


@dataclass(frozen=True)
class Methods:
    """What a study did.

    Attributes:
        text: Paragraphs, with references as Pandoc has them: ``[@akiba2019]``.
    """

    text: str

    @property
    def keys(self) -> list[str]:
        """Keys of the references, in the order of the text."""
        places = {self.text.find(f"@{key}]"): key for key in bibliography()}
        return [key for place, key in sorted(places.items()) if place >= 0]

    @property
    def bibtex(self) -> str:
        """BibTeX entries of the references."""
        entries = bibliography()
        return "\n\n".join(entries[key] for key in self.keys)

    @property
    def latex(self) -> str:
        """The text for LaTeX, with references by `cite`."""
        text = self.text
        for character in "&%_#":
            text = text.replace(character, f"\\{character}")
        for key in self.keys:
            text = text.replace(f" [@{key}]", f"~\\cite{{{key}}}")
        return text


@cache
def bibliography() -> dict[str, str]:
    """Return the BibTeX entries of all works on which the program's methods are based, by key."""
    text = Path(__file__).with_name("references.bib").read_text(encoding="utf-8")
    entries = text.strip().split("\n\n")
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in entries}


def methods(data: ReportData, sweep: Sweep, images: Images | None) -> Methods:
    """Describe a study.

    Args:
        data: What it found.
        sweep: Its newest sweep file.
        images: Number of images; None if the prepared data set is gone.
    """
    parts = (
        _images(sweep, images),
        _training(data, sweep),
        _search(data, sweep),
        _choice(data, sweep, images),
        _software(data),
    )
    return Methods("\n\n".join(" ".join(part) for part in parts))


def _images(sweep: Sweep, images: Images | None) -> Iterator[str]:
    spec: Any = sweep.data
    if images:
        counts = {split: sum(of_class.values()) for split, of_class in images.items() if split != "unlabelled"}
        classes = list(images["train"])
        named = f" ({', '.join(classes)})" if len(classes) <= _FEW else ""
        yield f"We used {sum(counts.values()):,} images of {len(classes)} classes{named}: {_sets(counts, sweep)}."
    if spec.folds is not None:
        yield (
            "In turn, each fold validated networks that were trained with the others [@pedregosa2011] "
            f"(seed {spec.seed})."
        )
    if (division := _division(spec)) is not None:
        yield division
    elif getattr(getattr(spec, "labels", None), "split", None) is None and isinstance(
        getattr(spec, "validation", None), float
    ):
        yield f"The sets were drawn at random, stratified by class [@pedregosa2011] (seed {spec.seed})."
    if getattr(spec, "image_size", None) is not None:
        height, width = spec.image_size
        yield f"Images were resized to {height} by {width} pixels."
    if spec.mirror:
        yield "The mirror image of each training image was added."


def _sets(counts: dict[str, int], sweep: Sweep) -> str:
    """Describe the sizes of the sets."""
    train, test = counts["train"], counts.get("test", 0)
    if sweep.fold_count > 1:
        return f"{train:,} for cross-validation in {sweep.fold_count} folds, and {test:,} for the test"
    return f"{train:,} for training, {counts.get('validation', 0):,} for validation and {test:,} for the test"


def _division(spec: Any) -> str | None:
    """Describe by what images were divided other than at random."""
    where = "fold or set" if spec.folds else "of these sets"
    if getattr(spec, "order", None) is not None:
        return f"Networks were trained on earlier and tested on later images (by {name_of(spec.order)})."
    if getattr(spec, "block", None) is not None:
        return f"All tiles of a block of {spec.block} by {spec.block} were in one {where} [@pedregosa2011]."
    if getattr(spec, "group", None) is not None:
        what = "" if spec.source == "arrays" else f" ({name_of(spec.group)})"
        return f"All images of a group{what} were in one {where} [@pedregosa2011]."
    return None


def _training(data: ReportData, sweep: Sweep) -> Iterator[str]:
    if sweep.objective.function is not None:
        yield f"Each trial was a call of our function {sweep.objective.function} (see the supplement)."
        return
    best = next((row for row in data.ranked if row.get("trial") == data.best_trial), None)
    params = {name: value for name in sweep.space.names if (value := (best or {}).get(name)) is not None}
    yield "Convolutional networks were built and trained with Keras [@chollet2015] on TensorFlow [@abadi2016]."
    try:
        training = sweep.resolve(params).training
    except CnnSweepError:  # nothing is complete, so there is no configuration to describe
        training = None
    node = sweep.sections.training
    searched = {path[1:] for _, path in references(node.node)} if node else set()
    if training is not None:
        yield from _of_trial(training, searched, is_pruned=sweep.pruner is not None)


def _of_trial(training: TrainingSpec, searched: set[Any], *, is_pruned: bool) -> Iterator[str]:
    """Describe the settings of training that are not searched."""
    words = []
    if ("epochs",) not in searched:
        may_stop = training.early_stopping is not None or is_pruned
        words.append(f"for {'up to ' * may_stop}{plural(training.all_epochs, 'epoch')}")
    if ("batch_size",) not in searched:
        words.append(f"in batches of {training.batch_size} images")
    if not searched & {("optimizer",), ("optimizer", "name")}:
        words.append(f"by {_OPTIMIZERS[training.optimizer.name]}")
    if words:
        yield f"Each was trained {' '.join(words)}."
    if training.early_stopping is not None and not any(path[0] == "early_stopping" for path in searched):
        monitor = training.early_stopping.monitor or "the objective"
        yield f"Training ended when {monitor} had not improved for {plural(training.early_stopping.patience, 'epoch')}."
    if training.class_weights == "balanced":
        yield "The loss weighted classes inversely to their numbers of images."
    if training.augmentation is not None:
        changes = [name for name, value in training.augmentation.model_dump(exclude={"fill"}).items() if value]
        yield f"Training images were changed at random in each epoch ({', '.join(changes).replace('_', ' ')})."
    if training.fine_tune is not None:
        yield f"In the last {plural(training.fine_tune.epochs, 'epoch')}, layers of the base were trained, too."


def _search(data: ReportData, sweep: Sweep) -> Iterator[str]:
    rows = space(data)
    few = [f"{row['hyperparameter']} ({row['values']})" for row in rows[:_FEW]]
    rest = f" and {len(rows) - _FEW} more (see the supplement)" if len(rows) > _FEW else ""
    what = f"{plural(len(rows), 'hyperparameter was', 'hyperparameters were')} searched"
    yield f"{what}: {'; '.join(few)}{rest}; {_SEARCHES[sweep.search.method]}."
    if learned := sweep.search.learned:
        studies = " and ".join(dict.fromkeys(one.study for one in learned))
        yield f"{plural(len(learned), 'configuration')} from the best of earlier studies ({studies}) came first."
    if priors := sweep.space.priors:
        beliefs = "; ".join(f"{name} {value}" for name, value in priors.items())
        yield f"Among the first was one with the values that we believed best ({beliefs}), and some drawn around them."
    if sweep.pruner is not None:
        yield _PRUNERS[sweep.pruner.kind].format(**_words(sweep.pruner.model_dump()))
    if sweep.search.repeats > 1:
        each = f"{sweep.search.repeats} times with each fold" if sweep.fold_count > 1 else "with {} random seeds"
        yield f"Each configuration was trained {each.format(sweep.search.repeats)}."
    added = [more for text in data.revisions.values() if (more := read_more_repeats(text)) is not None]
    if added and added[-1].round is not None:
        yield (
            f"Random seeds were added in {plural(added[-1].round, 'round')} to those configurations that no earlier "
            "round had called worse, until the seeds that were left could hardly tell more of them apart; round j had "
            "the level 3.75%/(j + 2), so that all rounds together err in at most 5% of studies."
        )
    planned = plural(data.summary["planned"], "trial was planned", "trials were planned")
    yield f"{planned}: {counted(data.summary['trials'])}."


def _words(settings: dict[str, Any]) -> dict[str, Any]:
    first = settings.get("min_epochs")
    if first is None:
        return settings
    if first == "auto":
        order = f"the order of the first {PILOTS} trials agreed with their order at the next one"
        return settings | {"first": f"the lowest at which {order} (Kendall's tau of at least {AGREEMENT:g})"}
    epochs = plural(first, "epoch")
    return settings | {"min_epochs": epochs, "first": f"after {epochs}"}


def _choice(data: ReportData, sweep: Sweep, images: Images | None) -> Iterator[str]:
    best = data.summary["best"]
    names = " and ".join(f"{one.metric} ({one.direction}d)" for one in data.objectives)
    yield f"Trials were compared by {names} {_epochs(data.objectives[0].last_epochs)}."
    if sweep.search.constraints:
        violated = len(data.ranked) - len(data.feasible)
        yield (
            f"Trials had to satisfy {' and '.join(sweep.search.constraints)}. The {violated:,} of {len(data.ranked):,} "
            "that did not were ranked behind the others, by total violation in fractions of the bounds [@deb2000]."
        )
    if best is None:
        return
    in_folds = sweep.fold_count > 1
    of = "trainings" if in_folds else "seeds"
    corrected = ", allowing for the overlap of training sets [@nadeau2003]" if in_folds else ""
    if (configuration := data.best_configuration) is not None:
        mean = f"{configuration['mean']:.4g} over {configuration['n']} {of}"
        interval = data.interval(configuration)  # None if all configurations are infeasible
        compared = interval and (
            f" (95% interval {span(*interval)}, Student's t{corrected}); configurations were told "
            "apart from it by multiple comparisons with the best [@hsu1984]"
        )
        which = f"The best configuration (trial {configuration['trial']})"
        yield f"{which} had a mean {data.metric} of {mean}{compared or ''}."
    else:
        tried = len(data.ranked)
        chosen = f"; as the best of {tried:,}, this value is optimistic" if tried > 1 else ""
        yield f"The best trial ({best['trial']}) had a {data.metric} of {best['value']:.4g}{chosen}."
    yield from _correction(data)
    yield from _test(data, images)


def _correction(data: ReportData) -> Iterator[str]:
    if (found := data.corrected) is not None:
        yield (
            f"Corrected for the choice among {found.tried:,}, it was {found.value:.4g} (95% interval "
            f"{span(found.low, found.high)}; the choice was cross-validated on {found.images:,} validation images "
            "[@varma2006])."
        )


def _epochs(last: int | None) -> str:
    """Say which epochs of each trial were compared."""
    if last is None:
        return "at their best epochs"
    return "after their last epochs" if last == 1 else f"as the mean over their last {last} epochs"


def _test(data: ReportData, images: Images | None) -> Iterator[str]:
    count = sum((images or {}).get("test", {}).values())
    if not data.tests:
        yield "The test images have not been used." if count or images is None else "There were no test images."
        return
    own = [row for row in data.tests.values() if not row["model"]]
    made = {model: row for model, row in data.tests.items() if row["model"]}
    used = [plural(len(own), "trial")] if own else []
    used += [plural(len(made), "model made of trials", "models made of trials")] if made else []
    yield f"The test images were used for {' and '.join(used)}."
    if (opened := count_in_words(data.openings)) is not None:
        yield f"{opened[0].upper()}{opened[1:]}."
    ranks = {row["trial"]: row["rank"] for row in data.board.rows if row["rank"] is not None}
    best = min((row for row in own if row["trial"] in ranks), key=lambda row: ranks[row["trial"]], default=None)
    if best is not None:
        yield from _tested(data, f"trial {best['trial']}", best, count)
    for model, row in made.items():
        yield from _tested(data, f"the {model}", row, count)
        yield from _made(row)


def _tested(data: ReportData, model: str, row: Row, images: int) -> Iterator[str]:
    """Give the score of a model on a number of test images."""
    name = f"test_{data.metric.removeprefix('val_')}"
    if (value := row["metrics"].get(name)) is None:
        return
    interval = ""
    if name == "test_accuracy" and images:
        low, high = wilson(round(value * images), images)
        interval = f" (95% interval {span(low, high)} [@wilson1927], {images:,} images)"
    yield f"{model[0].upper()}{model[1:]} had a {name} of {value:.4g}{interval}."


def _made(row: Row) -> Iterator[str]:
    """Say how a model was made of trials."""
    if "ensemble" in row["model"]:
        yield (
            "Its members were chosen one after another, with replacement, so that the mean of their probabilities was "
            "best on the validation images [@caruana2004]."
        )
    if row["temperature"] is not None:
        yield "Its probabilities were calibrated by temperature scaling on the validation images [@guo2017]."


def _software(data: ReportData) -> Iterator[str]:
    versions = data.provenance.get("versions") or {}
    names = {
        "cnn-sweep": "cnn-sweep",
        "tensorflow": "TensorFlow",
        "keras": "Keras",
        "optuna": "Optuna",
        "python": "Python",
    }
    used = [f"{name} {versions[key]}" for key, name in names.items() if key in versions]
    if used:
        yield f"The search was done with {', '.join(used)}."
    hours = data.cost["core_seconds"] / 3600
    where = " on a Slurm cluster [@yoo2003]" if data.jobs else ""
    yield f"It took {hours:.3g} core hours{where}."
    if (seconds := data.cost["gpu_seconds"]) is not None:
        yield f"GPUs were used for {seconds / 3600:.3g} hours."
