"""From a value of an ONNX graph back to what it is made of."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

CASTS = ("Identity", "Cast")
"""Operators that keep the shape of what they pass on."""
RESHAPES = (*CASTS, "Reshape", "Squeeze", "Unsqueeze")
"""Operators that keep its entries."""


class GraphIndex:
    """Constants and nodes of a graph by the names of the values."""

    def __init__(self, graph: onnx.GraphProto):
        """Read `graph`, which is not changed."""
        self.constants: dict[str, onnx.TensorProto] = {item.name: item for item in graph.initializer}
        self._makers: dict[str, onnx.NodeProto] = {}
        for node in graph.node:
            self._makers.update(dict.fromkeys(node.output, node))
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t

    def maker(self, value: str, past: Container[str] = ()) -> onnx.NodeProto | None:
        """The node that gives `value`, looking through operators `past`; None for inputs and initializers."""
        node = self._makers.get(value)
        while node is not None and node.op_type in past:
            node = self._makers.get(node.input[0])
        return node

    def table(self, value: str) -> onnx.TensorProto | None:
        """The constant whose rows `value` is gathered from; None where the graph is made otherwise."""
        node = self.maker(value, RESHAPES)
        if node is None or node.op_type not in ("Gather", "GatherND"):
            return None
        return self.constants.get(node.input[0])
