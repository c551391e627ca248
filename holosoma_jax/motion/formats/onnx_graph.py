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


ACTIONS = ("actions", "action")
"""What exporters call the action."""


def put_in_usual_order(graph: onnx.GraphProto, last_input: str) -> None:
    """Move the input `last_input` behind the others, and the output that is called an action before the others."""
    inputs = sorted(graph.input, key=lambda item: item.name == last_input)
    outputs = sorted(graph.output, key=lambda item: item.name not in ACTIONS)
    for field, items in ((graph.input, inputs), (graph.output, outputs)):
        copies = [type(item).FromString(item.SerializeToString()) for item in items]
        del field[:]
        field.extend(copies)


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

    def table(self, value: str) -> tuple[onnx.TensorProto, int] | None:
        """The constant that a number picks `value` from, and the axis that it picks of; None where there is none.

        What constants pick on the way, a new order of columns, say, does not count.
        """
        node = self.maker(value, RESHAPES)
        while node is not None and node.op_type in ("Gather", "GatherND"):
            source, picked = node.input[0], node.input[1]
            if picked not in self.constants:
                table = self.constants.get(source)
                axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
                return (
                    None if table is None or not -len(table.dims) <= axis < len(table.dims) else (table, axis)
                )
            node = self.maker(source, RESHAPES)
        return None
