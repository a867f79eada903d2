"""One trial: data, network, training, evaluation. Only this package imports Keras and TensorFlow.

Importing this package, or any module under `cnn_sweep.training.data`, does not import TensorFlow; a worker calls
`session.configure(threads=1)` before it imports the rest.

    from cnn_sweep.training.session import configure                configure(threads)
    from cnn_sweep.training.data.sources import describe            describe(spec, folder) -> ImageInfo
    from cnn_sweep.training.data.prepare import prepare             prepare(spec, folder, root) -> Path
    from cnn_sweep.training.data.prepare import prepared            the same for workers: checks no files
    from cnn_sweep.training.data.dataset import load                load(path, splits=("train", …)) -> Dataset
    from cnn_sweep.training.outcome import Monitor, Outcome         callbacks of a running trial, and its result
    from cnn_sweep.training.graph_key import graph_key              which trials share a compiled graph (no TensorFlow)
    from cnn_sweep.training.trial.trainer import Trainer            Trainer(dataset, folder=...).train(spec, seed=...,
                                                                    monitor=..., resume=None) -> Outcome
    from cnn_sweep.training.trial.checkpoint import pack, unpack, read
    from cnn_sweep.training.evaluation.evaluate import evaluate, predict            of an exported .keras file
    from cnn_sweep.training.network.export import export_model      export_model(spec, outcome, dataset=..., path=...,
                                                                    folder=..., seed=...)

Words: *epoch*, one pass over the training images; *step*, one batch; *chunk*, the steps between two checks of the
clock; *graph*, the compiled epoch of all trials whose networks have one shape; *order*, the permutation of the training
images for one (seed, epoch).
"""
