"""The graph engine: networks whose epochs are TensorFlow graphs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.training.engine.graph import EpochGraph
from cnn_sweep.training.engine.learner import Evaluation
from cnn_sweep.training.engine.optimizers import Optimizer
from cnn_sweep.training.network.model import GraphModel, graph_model
from cnn_sweep.training.network.precision import computing_in, needs_loss_scale
from cnn_sweep.training.network.transfer import input_scale

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.engine.device_data import DeviceData
    from cnn_sweep.training.engine.learner import Arrays, EpochPlan, Totals
    from cnn_sweep.training.outcome import Weights


class GraphLearner:
    """A network, its optimizer and their compiled graphs; see `cnn_sweep.training.engine.learner.Learner`.

    Args:
        model: A Keras model from rescaled images to probabilities.
        training: Decides loss and optimizer.
        data: Images and labels.
        network: The settings of ``model`` that can be changed; None for a model that a user's function built.
        before: Weights of a base whose outputs ``data`` has instead of images.
    """

    divisible = True

    def __init__(
        self,
        model: Any,
        training: TrainingSpec,
        data: DeviceData,
        *,
        network: GraphModel | None = None,
        before: Weights = (),
    ) -> None:
        self._before = before
        self._model = model
        self._network = network
        self._optimizer = Optimizer(
            training.optimizer,
            [v.value for v in model.trainable_variables],
            scales_loss=needs_loss_scale(training),
        )
        self._optimizer.reset(training.optimizer)
        self._graph = EpochGraph(
            model,
            self._optimizer,
            training=training,
            data=data,
            on_step=network.draws.at_step if network else lambda _: None,
        )
        self.parameters = int(model.count_params()) + sum(int(array.size) for array in before)
        self.pace_s: float | None = None

    @classmethod
    def of_layers(cls, spec: TrialSpec, data: DeviceData, before: Weights = ()) -> GraphLearner:
        """Build the network of a sweep file's layers; `reset` makes it that of a trial.

        Args:
            spec: The trial, or one that shares its graph.
            data: Images and labels; or features, where the layers are those that follow an extracted base.
            before: The weights of that base.
        """
        if spec.layers is None or spec.training is None:
            raise ValueError("the trial has no layers")
        with computing_in(spec.training):
            network = graph_model(spec.layers, data.info, first=len(before))
        data = replace(data, rescale=input_scale(spec.layers, data.rescale))
        return cls(network.model, spec.training, data, network=network, before=before)

    def reset(self, spec: TrialSpec, seed: int) -> None:
        """Become the untrained network of another trial of the same shape."""
        if self._network is None or spec.layers is None or spec.training is None:
            raise ValueError("only a network of layers can be another trial's")
        self._network.reset(spec.layers, seed)
        self._optimizer.reset(spec.training.optimizer)

    def train(
        self,
        plan: EpochPlan,
        so_far: Totals,
        last: int,
        should_stop: Callable[[], bool],  # noqa: ARG002 - who calls looks after each part
    ) -> Totals:
        """Run some steps of an epoch."""
        return self._graph.run(plan, so_far, last)

    def evaluate(self, plan: EpochPlan) -> Evaluation:
        """Look at the plan's validation images."""
        return Evaluation(*self._graph.evaluate(plan))

    def weights(self) -> Weights:
        """Return a copy of the model's weights."""
        return (*self._before, *self._model.get_weights())

    def set_weights(self, weights: Weights) -> None:
        """Take over weights in that order."""
        self._model.set_weights(list(weights))

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return a copy of all variables that change: weights, random states, optimizer."""
        return {name: np.array(variable.numpy()) for name, variable in self._variables()}

    def restore(self, state: Arrays) -> None:
        """Set the variables that change."""
        for name, variable in self._variables():
            variable.assign(state[name])

    def _variables(self) -> list[tuple[str, Any]]:
        frozen = self._network.frozen if self._network else frozenset()
        variables = enumerate(self._model.variables)
        model = [(f"model/{k:04d}", variable.value) for k, variable in variables if id(variable) not in frozen]
        return model + [(f"optimizer/{k:04d}", variable) for k, variable in enumerate(self._optimizer.state)]
