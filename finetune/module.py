"""A canonical float graph as a torch module, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import nn

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node
from finetune.fake_quant import Grids
from finetune.operators import FUNCTIONS
from quantizer.weights import CHANNEL_AXIS
from quantizer.widths import layer_name


class Layer(nn.Module):
    """The parameters of one layer, in the shapes of the canonical graph."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias


class GraphModule(nn.Module):
    """Computes a canonical float graph; made by `module_of`.

    Each weighted layer is a submodule named after it (dots become underscores) with the parameters
    `weight` and `bias`; a constant that several layers read is one parameter. Constant operands of
    `add` and `mul` are not trained. `grids` makes every tensor keep to an integer grid
    (`finetune.fake_quantized`).
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        _check(graph)
        self.graph = graph.copy()
        self.graph.drop_unused()
        self.grids: Grids | None = None
        self._parameter_of: dict[str, nn.Parameter] = {}
        self._layer_of: dict[str, str] = {}
        self._buffer_of: dict[str, str] = {}
        for node in self.graph.nodes:
            if node.op in CHANNEL_AXIS:
                self._add_layer(node)
            for name in node.inputs:
                if name in self.graph.constants and name not in self._parameter_of:
                    self._add_buffer(name)

    def _add_layer(self, node: Node) -> None:
        weight, bias = (self._parameter(name) for name in node.inputs[1:])
        name = layer_name(node).replace(".", "_") or "layer"
        while hasattr(self, name):
            name += "_"
        self._layer_of[node.output] = name
        self.add_module(name, Layer(weight, bias))

    def _parameter(self, constant: str) -> nn.Parameter:
        if constant not in self._parameter_of:
            data = torch.from_numpy(self.graph.constants[constant].copy())
            self._parameter_of[constant] = nn.Parameter(data)
        return self._parameter_of[constant]

    def _add_buffer(self, constant: str) -> None:
        if constant not in self._buffer_of:
            self._buffer_of[constant] = f"constant_{len(self._buffer_of)}"
            data = torch.from_numpy(self.graph.constants[constant].copy())
            self.register_buffer(self._buffer_of[constant], data, persistent=False)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The graph's outputs for its inputs in order, float32 [n, ...] NHWC; a tuple where there
        are several."""
        feeds = dict(zip(self.graph.inputs, inputs, strict=True))
        found = self.tensors(feeds, self.graph.outputs)
        outputs = tuple(found[name] for name in self.graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def tensors(
        self, feeds: Mapping[str, torch.Tensor], names: Collection[str]
    ) -> dict[str, torch.Tensor]:
        """The named tensors for inputs by name; nodes that none of them needs are left out."""
        live: dict[str, torch.Tensor] = {
            name: getattr(self, buffer) for name, buffer in self._buffer_of.items()
        }
        live |= {name: feeds[name] for name in self.graph.inputs}
        if self.grids is not None:
            live = {name: self.grids.enter(name, x) for name, x in live.items()}
        for node in self._needed(names):
            live[node.output] = self._run(node, live)
        if self.grids is None:
            return {name: live[name] for name in names}
        return {name: self.grids.leave(name, live[name]) for name in names}

    def _needed(self, names: Collection[str]) -> list[Node]:
        wanted, kept = set(names), []
        for node in reversed(self.graph.nodes):
            if node.output in wanted:
                kept.append(node)
                wanted.update(node.inputs)
        return kept[::-1]

    def _run(self, node: Node, live: Mapping[str, torch.Tensor]) -> torch.Tensor:
        layer = self._layer_of.get(node.output)
        parameters = None
        if layer is not None:
            parameters = (getattr(self, layer).weight, getattr(self, layer).bias)
        operands = [live[name] for name in (node.inputs if layer is None else node.inputs[:1])]
        if self.grids is not None:
            return self.grids.run(node, operands, parameters)
        return FUNCTIONS[node.op](node, [*operands, *(parameters or ())])

    def set_constant(self, name: str, data: np.ndarray) -> None:
        """Overwrite the parameter that holds the graph's constant `name`."""
        with torch.no_grad():
            self._parameter_of[name].copy_(torch.from_numpy(data))

    def export(self) -> Graph:
        """The graph with the weights as they are now.

        With `grids` the weights lie on their integer grid, so that the float graph holds the very
        numbers that its quantization will use.
        """
        graph = self.graph.copy()
        for name, parameter in self._parameter_of.items():
            graph.constants[name] = parameter.detach().numpy().copy()
        if self.grids is not None:
            for node in graph.nodes:
                if node.output in self._layer_of:
                    weight, bias = graph.constants[node.inputs[1]], graph.constants[node.inputs[2]]
                    graph.constants[node.inputs[1]] = self.grids.real_weights(node, weight, bias)
        return graph.verify()


def module_of(graph: Graph) -> GraphModule:
    """A torch module that computes a canonical float graph, on the CPU, with its own copy of the
    weights.

    Raises:
        EdgekitError: E261 where the graph is quantized or has a node that cannot be trained.
    """
    return GraphModule(graph)


def _check(graph: Graph) -> None:
    integer = [v.name for v in graph.values.values() if v.dtype != "float32" or v.quant is not None]
    if integer:
        raise EdgekitError(
            "E261",
            f"'{integer[0]}' of '{graph.name}' is {graph.values[integer[0]].dtype}: only float "
            "models can be trained",
            help="give the float model; quantization comes after training",
        )
    found = [problem for node in graph.nodes if (problem := _problem(graph, node))]
    if found:
        raise EdgekitError(
            "E261",
            f"{len(found)} of {len(graph.nodes)} nodes of '{graph.name}' cannot be trained",
            details=found,
            help="train this model where it comes from and import the result",
        )


def _problem(graph: Graph, node: Node) -> str:
    name = f"'{layer_name(node)}' ({node.op})"
    if node.op not in FUNCTIONS:
        return f"{name}: there is no torch form of this operator"
    if node.op in CHANNEL_AXIS and not all(i in graph.constants for i in node.inputs[1:]):
        return f"{name}: its weights are computed, not constant"
    if node.op == "reshape" and node.attrs["shape"][0] != 1:
        return f"{name}: shape {list(node.attrs['shape'])} does not keep the batch in front"
    if node.op == "transpose" and node.attrs["perm"][0] != 0:
        return f"{name}: perm {list(node.attrs['perm'])} moves the batch"
    return ""
