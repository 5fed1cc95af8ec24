"""From a network over a window of time to one that takes a few new steps in every call.

`stream` gives a graph with states. What it computes is what the network computes on the window that
ends with the newest step, without computing again what earlier calls have computed:

1. A layer that works on every step by itself runs on the new steps alone.
2. A convolution or pool along time keeps the steps that its next windows need as a state.
3. In front of anything else (a global pool, a flattening, a recurrent layer) a state keeps the
   whole window that the layer read, and the rest of the network runs on that in every call.

The network must not pad in time: padding belongs to the edges of the window, and every call would
have other edges. One exception: where nothing is of kind 3, a convolution may be padded in front by
what it would keep anyway (a causal one); the stream then is the network on the whole recording.
States begin at zero, as padding does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, State, Value
from edgekit.ops import operator
from edgekit.ops.audio.settings import Settings
from edgekit.reference import run
from edgekit.streaming.axis import Window, axis_after, window_of

REMEDY = "see docs/STREAMING.md for what a network over time needs to be streamed"


@dataclass(frozen=True)
class Hop:
    """`steps` new steps per call along `axis` of the input, counted as the model file does."""

    axis: int
    steps: int


def parse_hop(text: tuple[str, str]) -> Hop:
    """From ("axis=1", "hop=2"), in either order.

    Raises:
        EdgekitError: E190.
    """
    found: dict[str, int] = {}
    for part in text:
        key, _, number = part.partition("=")
        if key in ("axis", "hop") and key not in found and number.isdecimal():
            found[key] = int(number)
    if set(found) != {"axis", "hop"} or found["hop"] < 1:
        raise EdgekitError(
            "E190",
            f"--stream {' '.join(text)} is not understood",
            help="for instance --stream axis=1 hop=2: two new steps per call along axis 1",
        )
    return Hop(found["axis"], found["hop"])


@dataclass(frozen=True)
class _Flow:
    """A tensor of which a call makes `new` steps along `axis`; the window has `window` of them."""

    axis: int
    new: int
    window: int


def stream(graph: Graph, hop: Hop, name: str = "", *, features: bool = False) -> Graph:
    """The streaming form of a float or integer graph without states.

    Args:
        name: the input that arrives step by step; the only one where empty. Other inputs are given
            whole in every call.
        features: rule 2 for features of audio alone; the network reads a whole window of them in
            every call, whatever it pads. That window begins as silence.

    Raises:
        EdgekitError: E190 for an axis or a hop that does not fit the input, E191 with every layer
            that cannot be streamed.
    """
    return _Streamer(graph, hop, name, features).run()


class _Streamer:
    def __init__(self, graph: Graph, hop: Hop, name: str, features: bool) -> None:
        self.source = graph
        self.features = features
        self.hop = hop
        self.name = name or graph.inputs[0]
        self.graph = Graph(graph.name, metadata=dict(graph.metadata))
        self.flows: dict[str, _Flow] = {}
        #: Values of the source as they are here where that is not under their own name.
        self.whole: dict[str, str] = {}
        self.wrong: list[str] = []
        self.causal: list[str] = []
        self.windows: list[str] = []

    def run(self) -> Graph:
        source, graph = self.source, self.graph
        self._check_states()
        for name in source.inputs:
            value = source.values[name]
            if name == self.name:
                axis = self._input_axis(value)
                self.flows[name] = _Flow(axis, self.hop.steps, value.shape[axis])
                value = _resized(value, axis, self.hop.steps)
            graph.inputs.append(graph.add_value(value))
        for name, data in source.constants.items():
            graph.add_value(source.values[name])
            graph.constants[name] = data
        for node in source.nodes:
            self._node(node)
        if self.causal and self.windows:
            self.wrong += [
                f"{layer}: it pads in time, and '{self.windows[0]}' reads a whole window"
                for layer in self.causal
            ]
        if self.wrong:
            raise EdgekitError(
                "E191",
                f"'{source.name}' cannot be streamed along axis {self.hop.axis}: "
                f"{len(self.wrong)} of {len(source.nodes)} layers stand in the way",
                details=self.wrong,
                help=REMEDY,
            )
        graph.outputs = list(source.outputs)
        graph.metadata["stream"] = {"axis": self.hop.axis, "hop": self.hop.steps}
        graph.drop_unused()
        return graph.verify()

    def _check_states(self) -> None:
        if self.source.states:
            raise EdgekitError(
                "E190",
                f"'{self.source.name}' has {len(self.source.states)} states: it is a streaming "
                "model already",
                help="leave --stream away",
            )

    def _input_axis(self, value: Value) -> int:
        """The axis of time in the graph, which has NHWC where the file may have had NCHW."""
        axis, rank = self.hop.axis, len(value.shape)
        if not 1 <= axis < rank:
            raise EdgekitError(
                "E190",
                f"--stream axis={axis}: input '{value.name}' has {rank} axes, time is one of 1 to "
                f"{rank - 1}",
                help="axis 0 counts samples",
            )
        if self.source.metadata.get("layout", {}).get(value.name) == "NCHW":
            axis = {1: 3, 2: 1, 3: 2}[axis]
        if self.hop.steps > value.shape[axis]:
            raise EdgekitError(
                "E190",
                f"--stream hop={self.hop.steps}: axis {self.hop.axis} of '{value.name}' has only "
                f"{value.shape[axis]} steps",
                help="a call takes fewer steps than the window has",
            )
        return axis

    # ---- nodes

    def _node(self, node: Node) -> None:
        flowing = [name for name in node.inputs if name in self.flows]
        if not flowing:
            self._copy(node, [self._here(name) for name in node.inputs])
            return
        flow = self.flows[flowing[0]]
        window = window_of(self.source, node, flow.axis)
        slides = window is not None and self.source.values[node.output].shape[flow.axis] > 1
        may = not self.features or node.op == "audio_features"
        if window is not None and slides and may and self._slides(node, flow, window):
            return
        if window is None and self._by_step(node, flow):
            return
        self.windows.append(node.name or node.output)
        self._copy(node, [self._here(name) for name in node.inputs])

    def _by_step(self, node: Node, flow: _Flow) -> bool:
        """Rule 1; says whether it applies."""
        axes = [
            axis_after(self.source, _first(node, name), self.flows[name].axis)
            for name in node.inputs
            if name in self.flows
        ]
        flows = {replace(self.flows[n], axis=0) for n in node.inputs if n in self.flows}
        axis = axes[0]
        if axis is None or len(set(axes)) != 1 or len(flows) != 1:
            return False
        if self.source.values[node.output].shape[axis] < flow.new:
            return False
        for name in node.inputs:
            if name in self.flows:
                continue
            shape = self.source.values[name].shape
            at = axis - len(self.source.values[node.output].shape) + len(shape)
            if node.op not in ("fully_connected", "gather", "layer_norm", "rms_norm") and (
                0 <= at < len(shape) and shape[at] != 1
            ):
                return False  # numbers that differ from step to step
        attrs = dict(node.attrs)
        if node.op == "reshape":
            attrs["shape"] = _with(attrs["shape"], axis, flow.new)
        elif node.op == "slice":
            attrs["starts"] = _with(attrs["starts"], axis, 0)
            attrs["stops"] = _with(attrs["stops"], axis, flow.new)
        self._emit(replace(node, attrs=attrs), node.inputs)
        left = self.source.values[node.output].shape[axis]
        self.flows[node.output] = _Flow(axis, flow.new, left)
        return True

    def _slides(self, node: Node, flow: _Flow, window: Window) -> bool:
        """Rule 2; says whether the node is done, be it with an entry in `wrong`."""
        layer = f"'{node.name or node.output}' ({node.op})"
        axis, out = flow.axis, self.source.values[node.output].shape[flow.axis]
        # Steps at the end of the window that no window of the layer reaches.
        reach = window.reach
        if node.op == "audio_features":  # the first frame of a window has nothing in front
            reach = Settings.of(node.attrs).frame_length
        rest = (flow.window + window.before + window.after - reach) % window.stride
        kept = window.reach - window.stride + rest
        if window.after or window.before not in (0, kept):
            self.wrong.append(
                f"{layer}: it pads time by {window.before} steps in front and {window.after} "
                f"behind; only none at all, or {max(kept, 0)} in front, can be streamed"
            )
        elif flow.new % window.stride:
            self.wrong.append(
                f"{layer}: it has stride {window.stride} in time and gets {flow.new} new steps per "
                f"call: the hop must be a multiple of the strides"
            )
        if self.wrong and self.wrong[-1].startswith(layer):
            self._emit_whole(node)
            return True
        if window.before:
            self.causal.append(layer)
        x = self._with_past(node.inputs[0], flow, kept, node.name or node.output)
        if node.op == "audio_features":
            self._audio(node, x, window)
            self.flows[node.output] = _Flow(1, flow.new // window.stride, out)
            return True
        pads = list(node.attrs.get("pads") or (0, 0, 0, 0))
        pads[axis - 1] = pads[axis + 1] = 0
        attrs = {**node.attrs, "pads": pads}
        self._emit(replace(node, attrs=attrs), (x, *node.inputs[1:]))
        self.flows[node.output] = _Flow(axis, flow.new // window.stride, out)
        return True

    def _audio(self, node: Node, x: str, window: Window) -> None:
        """Features of the new frames; a running noise estimate is a state."""
        s = Settings.of(node.attrs)
        attrs = {**node.attrs, "lead": window.reach - s.frame_length}
        inputs: tuple[str, ...] = (x,)
        outputs = node.outputs
        if s.tracks_noise:
            pairs, what = (1, s.bands, 2), node.name or node.output
            now, following = (self.graph.fresh(f"{what}:noise{end}") for end in ("", "~next"))
            for name in (now, following):
                self.graph.add_value(Value(name, pairs, "int32"))
            self.graph.states.append(State(now, following, np.zeros(pairs, np.int32)))
            inputs, outputs = (x, now), (*outputs, following)
        made = replace(node, inputs=inputs, outputs=outputs, attrs=attrs)
        operands = [self.graph.values[i] for i in inputs]
        shape = operator(node.op).checked(made, operands)[0][0]
        self.graph.add_value(replace(self.source.values[node.output], shape=shape))
        self.graph.nodes.append(made)

    def _with_past(self, name: str, flow: _Flow, kept: int, what: str) -> str:
        """The new steps of `name` behind the `kept` last ones; without the first where `kept` is
        negative."""
        if kept == 0:
            return name
        if kept < 0:
            return self._sliced(name, flow.axis, -kept, flow.new, f"{what}:new")
        state, value = self._state(name, flow.axis, kept, what)
        joined = self._make("concat", (state, name), {"axis": flow.axis}, f"{what}:window", value)
        following = self._sliced(joined, flow.axis, flow.new, flow.new + kept, f"{what}:past~next")
        self.graph.states[-1] = replace(self.graph.states[-1], next=following)
        return joined

    # ---- whole windows

    def _here(self, name: str) -> str:
        """`name` of the source as a whole, here: itself, or rule 3's window of it."""
        if name not in self.flows:
            return name
        if name not in self.whole:
            flow = self.flows[name]
            self.whole[name] = (
                name
                if flow.new == flow.window
                else self._with_past(name, flow, flow.window - flow.new, name)
            )
            if self.features and flow.new < flow.window:
                self._begin_silent(name, flow)
        return self.whole[name]

    def _begin_silent(self, name: str, flow: _Flow) -> None:
        """The state made last begins with what the source makes of an input of zeros."""
        feeds = {}
        for i in self.source.inputs:
            value = self.source.values[i]
            zero = 0 if value.quant is None else int(value.quant.zero_point[0])
            feeds[i] = np.full(value.shape, zero, value.dtype)
        made = run(self.source, feeds, keep={name})[name]
        initial = np.take(made, range(flow.window - flow.new), axis=flow.axis)
        self.graph.states[-1] = replace(self.graph.states[-1], initial=initial)

    def _copy(self, node: Node, inputs: list[str]) -> None:
        self._emit(node, tuple(inputs))

    def _emit_whole(self, node: Node) -> None:
        """A node that is wrong, so that those behind it can be looked at too."""
        self._copy(node, [self._here(name) for name in node.inputs])

    # ---- building

    def _emit(self, node: Node, inputs: tuple[str, ...]) -> None:
        made = replace(node, inputs=tuple(inputs))
        inferred = operator(node.op).checked(made, [self.graph.values[i] for i in inputs])
        for name, (shape, _) in zip(node.outputs, inferred, strict=True):
            self.graph.add_value(replace(self.source.values[name], shape=shape))
        self.graph.nodes.append(made)

    def _state(self, name: str, axis: int, steps: int, what: str) -> tuple[str, Value]:
        value = _resized(self.graph.values[name], axis, steps)
        state = self.graph.fresh(f"{what}:past")
        value = replace(value, name=state)
        self.graph.add_value(value)
        zero = 0 if value.quant is None else int(value.quant.zero_point[0])
        initial = np.full(value.shape, zero, value.dtype)
        self.graph.states.append(State(state, state, initial))
        return state, value

    def _sliced(self, name: str, axis: int, start: int, stop: int, out: str) -> str:
        shape = self.graph.values[name].shape
        attrs = {
            "starts": [start if i == axis else 0 for i in range(len(shape))],
            "stops": [stop if i == axis else size for i, size in enumerate(shape)],
            "steps": [1] * len(shape),
        }
        return self._make("slice", (name,), attrs, out, self.graph.values[name])

    def _make(
        self, op: str, inputs: tuple[str, ...], attrs: dict[str, Any], out: str, like: Value
    ) -> str:
        result = self.graph.fresh(out)
        node = Node(op, inputs, (result,), attrs, result)
        [(shape, _)] = operator(op).checked(node, [self.graph.values[i] for i in inputs])
        self.graph.add_value(replace(like, name=result, shape=shape))
        self.graph.nodes.append(node)
        return result


def _first(node: Node, name: str) -> Node:
    """The node with operand `name` in front: axes are asked for operand by operand."""
    return replace(node, inputs=(name, *(n for n in node.inputs if n != name)))


def _with(numbers: list[Any], at: int, number: int) -> list[Any]:
    return [number if i == at else n for i, n in enumerate(numbers)]


def _resized(value: Value, axis: int, steps: int) -> Value:
    shape = tuple(steps if i == axis else size for i, size in enumerate(value.shape))
    return replace(value, shape=shape)
