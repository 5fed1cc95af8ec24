"""Processing steps as nodes of a graph.

`attach_input` works on float graphs, which the quantizer then quantizes as a whole, and on integer
graphs, whose first tensor keeps its grid. `attach_output` works on integer graphs. Both return a
new graph.
"""

from __future__ import annotations

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.graph import Graph, GraphError
from edgekit.passes import canonicalize
from edgekit.processing.audio_step import STEP as AUDIO
from edgekit.processing.audio_step import Audio
from edgekit.processing.check import refuse
from edgekit.processing.front import Front
from edgekit.processing.image_nodes import image_nodes
from edgekit.processing.model import Processing
from edgekit.processing.output_nodes import classify_nodes, detect_nodes
from edgekit.processing.output_step import Classify


def attach_input(graph: Graph, processing: Processing) -> Graph:
    """`graph` with the step in front of it, as a canonical graph.

    The new input is called ``audio`` (int16 samples) or ``image`` (8-bit pixels, int8 = pixel -
    128); in a float graph it holds reals, samples from -1 to 1 and pixels from 0 to 255, and
    ``metadata["raw_inputs"]`` says which integers stand for them.

    Raises:
        EdgekitError: E183 where the model's input does not go with the step, E186 for an input
            that does not exist.
    """
    step = processing.before
    if step is None:
        return graph
    name = _input(graph, processing.at)
    graph = graph.copy()
    front = Front(graph, name, AUDIO if isinstance(step, Audio) else "image")
    if isinstance(step, Audio):
        _audio(front, step)
    else:
        image_nodes(front, step)
    done = front.finish()
    # Passes fold what normalisation left; integer graphs are canonical as they are.
    return done.verify() if front.integer else canonicalize(done)


def attach_output(graph: Graph, processing: Processing) -> Graph:
    """An integer graph with the step behind its outputs.

    Raises:
        EdgekitError: E183 where the outputs do not go with the step, E186 for an output that does
            not exist.
    """
    step = processing.after
    if step is None:
        return graph
    graph = graph.copy()
    try:
        if isinstance(step, Classify):
            classify_nodes(graph, step)
        else:
            detect_nodes(graph, step)
    except GraphError as error:
        refuse("classify" if isinstance(step, Classify) else "detect", [str(error)], "E183")
    return graph.verify()


def _input(graph: Graph, name: str | None) -> str:
    if name is None and len(graph.inputs) > 1:
        raise EdgekitError(
            "E186",
            f"'{graph.name}' has {len(graph.inputs)} inputs",
            help=f"say which one is processed, 'input: NAME', of: {', '.join(graph.inputs)}",
        )
    name = graph.inputs[0] if name is None else name
    if name not in graph.inputs:
        raise EdgekitError(
            "E186",
            f"'{graph.name}' has no input '{name}'",
            help=did_you_mean(name, graph.inputs),
        )
    return name


def _audio(front: Front, step: Audio) -> None:
    """Samples to features in the order in which the model's input has them."""
    s, want = step.settings, front.target
    shape = want.shape
    sides = tuple(d for d in shape if d != 1)
    frames = want.size // s.features
    fits = want.size % s.features == 0 and frames >= 1
    both = {"time_first": (frames, s.features), "bands_first": (s.features, frames)}
    by_layout = {
        name: fits and sides in (tuple(d for d in order if d != 1), (want.size,), ())
        for name, order in both.items()
    }
    layout = step.layout
    if layout == "auto":
        layout = "bands_first" if not by_layout["time_first"] else "time_first"
    if not by_layout[layout]:
        refuse(
            AUDIO,
            [f"{s.features} features per frame do not make the model's input '{want.name}' "
             f"{list(shape)} ({want.size} numbers, layout {step.layout})"],
            "E183",
        )  # fmt: skip
    least = max(s.frame_length + (frames - 1) * s.hop - 2 * s.margin, 1)
    least = max(least, s.margin + 1 if s.edges == "reflect" else 1)
    clip = step.clip_samples or least
    if s.frames(clip) != frames:
        refuse(
            AUDIO,
            [f"a clip of {clip} samples has {s.frames(clip)} frames, the model's input "
             f"'{want.name}' {list(shape)} has {frames}: {least} to {least + s.hop - 1} samples "
             f"would do ({1000 * least / step.sample_rate:g} ms)"],
            "E183",
        )  # fmt: skip
    x = front.samples((1, clip))
    last = (1, frames, s.features) == shape
    x = front.emit("audio_features", [x], step.attrs, last=last)
    if layout == "bands_first" and not last:
        x = front.emit("transpose", [x], {"perm": [0, 2, 1]}, last=(1, s.features, frames) == shape)
    if x != want.name:
        front.emit("reshape", [x], {"shape": list(shape)}, last=True)
