"""The engine ``graph``: an epoch is one call of a TensorFlow graph, which takes all settings of a trial as inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from cnn_sweep.training.engines.augment import Augmentation
from cnn_sweep.training.engines.engine import Evaluation, Totals
from cnn_sweep.training.engines.losses import loss_name, output_units, per_image_loss, targets
from cnn_sweep.training.engines.optimizers import Optimizer
from cnn_sweep.training.network.built import BuiltNetwork
from cnn_sweep.training.network.model import GraphModel, graph_model
from cnn_sweep.training.network.precision import computing_in, needs_loss_scale
from cnn_sweep.training.network.transfer import input_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.engines.device_data import DeviceData, DeviceSplit
    from cnn_sweep.training.engines.engine import Arrays, EpochPlan
    from cnn_sweep.training.outcome import Weights

_EVALUATION_FLOATS = 2**22  # size of the largest feature map of an evaluation batch


class _Chunk(NamedTuple):
    """Steps ``first`` to ``last`` of an epoch as tensors; see `EpochPlan` and `Totals` for the fields."""

    order: Any
    starts: Any
    rates: Any
    first: Any
    last: Any
    steps_before: Any
    updates_before: Any
    smoothing: Any
    amounts: Any
    seed: Any
    class_weights: Any
    loss_sum: Any
    correct: Any


class _Step(NamedTuple):
    """Settings of a step as tensors; ``done`` counts the optimizer's earlier steps."""

    smoothing: Any
    class_weights: Any
    rate: Any
    done: Any


# Lengths are left open so that another batch size does not trace the graph again.
_CHUNK = _Chunk(
    order=tf.TensorSpec([None], tf.int32),
    starts=tf.TensorSpec([None], tf.int32),
    rates=tf.TensorSpec([None], tf.float32),
    first=tf.TensorSpec([], tf.int32),
    last=tf.TensorSpec([], tf.int32),
    steps_before=tf.TensorSpec([], tf.int64),
    updates_before=tf.TensorSpec([], tf.int64),
    smoothing=tf.TensorSpec([], tf.float32),
    amounts=tf.TensorSpec([None], tf.float32),
    seed=tf.TensorSpec([], tf.int64),
    class_weights=tf.TensorSpec([None], tf.float32),
    loss_sum=tf.TensorSpec([], tf.float64),
    correct=tf.TensorSpec([], tf.float64),
)


_VALIDATION = (tf.TensorSpec([], tf.float32), tf.TensorSpec([None], tf.int32))


class EpochGraph:
    """The compiled training and validation of one network.

    Args:
        model: From rescaled images to probabilities.
        optimizer: Optimizer of the model's trainable variables.
        training: Gives the loss; by default, the loss that fits the model's output.
        data: Images and labels.
        on_step: Called during tracing with the step number within the trial, an int64 tensor.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Optimizer,
        *,
        training: TrainingSpec,
        data: DeviceData,
        on_step: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._data = data
        fill = training.augmentation.fill if training.augmentation else None
        self._augmentation = Augmentation(fill, data.top) if fill else None
        self._on_step = on_step
        self._units = output_units(model, data.info)
        self._loss = per_image_loss(loss_name(training, model, self._units))
        self._evaluation_batch = evaluation_batch(model)
        self._step = tf.function(self._update, autograph=False, jit_compile=True) if uses_xla() else self._update
        self._train = _compiled(self._chunk, _CHUNK)
        self._evaluate = _compiled(self._predictions, _VALIDATION)

    def run(self, plan: EpochPlan, so_far: Totals, last: int) -> Totals:
        """Run the steps from ``so_far.step`` up to, not including, ``last``.

        The result is bit-identical however an epoch is cut into chunks.
        """
        step, loss_sum, correct = self._train(
            _Chunk(
                order=tf.constant(plan.order),
                starts=tf.constant(plan.starts),
                rates=tf.constant(plan.rates),
                first=tf.constant(so_far.step),
                last=tf.constant(last),
                steps_before=tf.constant(plan.steps_before, tf.int64),
                updates_before=tf.constant(plan.updates_before, tf.int64),
                smoothing=tf.constant(plan.smoothing, tf.float32),
                amounts=tf.constant(plan.amounts),
                seed=tf.constant(plan.seed, tf.int64),
                class_weights=tf.constant(plan.class_weights),
                loss_sum=tf.constant(so_far.loss_sum, tf.float64),
                correct=tf.constant(so_far.correct, tf.float64),
            )
        )
        return Totals(int(step), float(loss_sum), float(correct))

    def evaluate(self, plan: EpochPlan) -> tuple[float, npt.NDArray[np.float32]]:
        """Return the loss over the plan's validation images (penalties included) and their probabilities."""
        loss, probabilities = self._evaluate((tf.constant(plan.smoothing, tf.float32), tf.constant(plan.validation)))
        return float(loss), probabilities.numpy()

    def _images(self, split: DeviceSplit, index: Any) -> Any:
        return split.images(index) * self._data.rescale

    def _training_images(self, index: Any, done: Any, chunk: _Chunk) -> Any:
        if self._augmentation is None:
            return self._images(self._data.train, index)
        stored = self._data.train.images(index)
        return self._augmentation.apply(stored, chunk.amounts, tf.stack([chunk.seed, done])) * self._data.rescale

    def _penalty(self) -> Any:
        """Return the sum of the model's own losses (weight penalties) in its last call."""
        return tf.add_n(self._model.losses) if self._model.losses else tf.constant(0.0)

    def _chunk(self, chunk: _Chunk) -> tuple[Any, Any, Any]:
        """Run steps in a loop inside the graph."""

        def step(number: Any, loss_sum: Any, correct: Any) -> tuple[Any, Any, Any]:
            index = chunk.order[chunk.starts[number] : chunk.starts[number + 1]]  # (B,)
            labels = tf.gather(self._data.train.y, index)
            done = chunk.steps_before + tf.cast(number, tf.int64)
            self._on_step(done)
            images = self._training_images(index, done, chunk)
            updates = chunk.updates_before + tf.cast(number, tf.int64)
            settings = _Step(chunk.smoothing, chunk.class_weights, chunk.rates[number], updates)
            loss, prediction = self._step(images, labels, settings)
            count = tf.cast(tf.shape(index)[0], tf.float64)
            hits = tf.reduce_sum(tf.cast(_predicted(prediction) == labels, tf.float64))
            return number + 1, loss_sum + tf.cast(loss, tf.float64) * count, correct + hits

        # A non-finite loss ends the loop at once, so that the reported metrics do not depend on chunks.
        sums: tuple[Any, Any, Any] = tf.while_loop(
            lambda number, loss_sum, _: (number < chunk.last) & tf.math.is_finite(loss_sum),
            step,
            (chunk.first, chunk.loss_sum, chunk.correct),
            parallel_iterations=1,
        )
        return sums

    def _update(self, images: Any, labels: Any, settings: _Step) -> tuple[Any, Any]:
        """Run one step; return its loss and the predictions before the update."""
        weights = [variable.value for variable in self._model.trainable_variables]
        with tf.GradientTape() as tape:
            prediction = tf.cast(self._model(images, training=True), tf.float32)
            losses = self._loss(targets(labels, self._units), prediction, settings.smoothing)
            # As with Keras's class_weight, the mean is over the number of images, not the sum of weights.
            loss = tf.reduce_mean(losses * tf.gather(settings.class_weights, labels)) + self._penalty()
            scaled = self._optimizer.scaled(loss)
        gradients = tape.gradient(scaled, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self._optimizer.apply([tf.convert_to_tensor(g) for g in gradients], settings.rate, settings.done)
        for variable in self._model.trainable_variables:
            if variable.constraint is not None:  # of a layer in the user's own network
                variable.assign(variable.constraint(variable.value))
        return loss, prediction

    def _predictions(self, wanted: tuple[Any, Any]) -> tuple[Any, Any]:
        smoothing, sample = wanted
        split = self._data.validation
        if split is None:
            raise ValueError("the data set has no validation images")
        size = tf.shape(sample)[0]
        batch = self._evaluation_batch
        batches = -(-size // batch)
        parts = tf.TensorArray(tf.float32, size=batches, infer_shape=False, element_shape=[None, self._units])

        def step(number: Any, loss_sum: Any, parts: Any) -> tuple[Any, Any, Any]:
            index = sample[number * batch : (number + 1) * batch]
            prediction = tf.cast(self._model(self._images(split, index), training=False), tf.float32)
            target = targets(tf.gather(split.y, index), self._units)
            losses = self._loss(target, prediction, smoothing)
            total = loss_sum + tf.cast(tf.reduce_sum(losses), tf.float64)
            return number + 1, total, parts.write(number, prediction)

        _, loss_sum, parts = tf.while_loop(
            lambda number, *_: number < batches,
            step,
            (tf.constant(0), tf.constant(0.0, tf.float64), parts),
            parallel_iterations=1,
        )
        return loss_sum / tf.cast(size, tf.float64) + tf.cast(self._penalty(), tf.float64), parts.concat()


class GraphEngine:
    """A network, its optimizer and their compiled graphs; see `cnn_sweep.training.engines.engine.Engine`.

    Args:
        network: A Keras model from rescaled images to probabilities, with the settings that can change.
        training: Gives loss and optimizer.
        data: Images and labels.
        before: Weights of a base, if ``data`` holds its features instead of images.
    """

    divisible = True

    def __init__(
        self,
        network: GraphModel | BuiltNetwork,
        training: TrainingSpec,
        data: DeviceData,
        *,
        before: Weights = (),
    ) -> None:
        self._before = before
        self._model = model = network.model
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
            on_step=network.at_step,
        )
        self.parameters = int(model.count_params()) + sum(int(array.size) for array in before)
        self.pace_s: float | None = None

    @classmethod
    def of_layers(cls, spec: TrialSpec, data: DeviceData, before: Weights = ()) -> GraphEngine:
        """Build the network of a sweep file's layers; `reset` adapts it to a trial.

        Args:
            spec: The trial, or one with the same graph key.
            data: Images and labels; or features, if the layers follow an extracted base.
            before: Weights of that base.
        """
        if spec.layers is None or spec.training is None:
            raise ValueError("the trial has no layers")
        with computing_in(spec.training):
            network = graph_model(spec.layers, data.info, first=len(before))
        data = replace(data, rescale=input_scale(spec.layers, data.rescale))
        return cls(network, spec.training, data, before=before)

    def become(self, built: Any, training: TrainingSpec) -> None:
        """Become the untrained network that a user's function built for another trial."""
        if not isinstance(self._network, BuiltNetwork):
            raise TypeError("a network of layers cannot become a built one")
        self._network.become(built)
        self._optimizer.reset(training.optimizer)

    def reset(self, spec: TrialSpec, seed: int) -> None:
        """Become the untrained network of another trial with the same graph key."""
        if not isinstance(self._network, GraphModel) or spec.layers is None or spec.training is None:
            raise ValueError("only a network of layers can be reset for another trial")
        self._network.reset(spec.layers, seed)
        self._optimizer.reset(spec.training.optimizer)

    def train(
        self,
        plan: EpochPlan,
        so_far: Totals,
        last: int,
        should_stop: Callable[[], bool],  # noqa: ARG002 - the caller checks it after each chunk
    ) -> Totals:
        """Run some steps of an epoch."""
        return self._graph.run(plan, so_far, last)

    def evaluate(self, plan: EpochPlan) -> Evaluation:
        """Evaluate the plan's validation images."""
        return Evaluation(*self._graph.evaluate(plan))

    def weights(self) -> Weights:
        """Return a copy of the model's weights."""
        return (*self._before, *self._model.get_weights())

    def set_weights(self, weights: Weights) -> None:
        """Set the weights, in the order of `weights`."""
        self._model.set_weights(list(weights))

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return a copy of all variables that change: weights, random states, optimizer."""
        return {name: np.array(variable.numpy()) for name, variable in self._variables()}

    def restore(self, state: Arrays) -> None:
        """Set the variables that change."""
        for name, variable in self._variables():
            variable.assign(state[name])

    def _variables(self) -> list[tuple[str, Any]]:
        model = [(f"model/{k:04d}", variable.value) for k, variable in self._network.changing]
        return model + [(f"optimizer/{k:04d}", variable) for k, variable in enumerate(self._optimizer.state)]


def uses_xla() -> bool:
    """Return whether XLA compiles the steps: on GPUs only; on CPUs they would take 20 to 30 times as long.

    XLA needs known shapes. The shape of a batch is known when its step runs; shapes in a whole epoch are not.
    """
    return bool(tf.config.list_physical_devices("GPU"))


def _compiled(function: Callable[..., Any], signature: Any) -> Any:
    """Return a graph of ``function``."""
    return tf.function(function, input_signature=[signature], autograph=False, jit_compile=False)


def _predicted(prediction: Any) -> Any:
    if prediction.shape[-1] == 1:
        return tf.cast(prediction[:, 0] > 0.5, tf.int32)
    return tf.argmax(prediction, axis=-1, output_type=tf.int32)


def evaluation_batch(model: Any) -> int:
    """Return the batch size of evaluations; it depends only on the network, so results are repeatable."""
    largest = max(
        (int(np.prod(output.shape[1:])) for layer in _layers(model) if (output := _output(layer)) is not None),
        default=1,
    )
    return int(np.clip(_EVALUATION_FLOATS // max(1, largest), 16, 1024))


def _layers(model: Any) -> Iterator[Any]:
    """Yield the layers of a model and of the models in it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _output(layer: Any) -> Any:
    output = getattr(layer, "output", None) if getattr(layer, "_inbound_nodes", None) else None
    shape = getattr(output, "shape", None)
    return output if shape is not None and None not in shape[1:] else None
