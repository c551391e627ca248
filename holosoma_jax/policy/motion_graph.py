"""The motion clip inside a policy file: outputs that a second input, the frame's number, selects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from holosoma_jax.motion.formats.policy_graph import TIME_STEP, at_frame

if TYPE_CHECKING:
    import onnx

INPUT_NAME, OUTPUT_NAME = "obs", "actions"
"""What holosoma calls observation and action in files that hold a clip."""


def add_tables(graph: onnx.GraphProto, tables: Mapping[str, np.ndarray]) -> None:
    """Give `graph` the input `TIME_STEP`, and an output [1, n] for every table [F, n]."""
    from onnx import TensorProto, helper, numpy_helper

    frames = len(next(iter(tables.values())))
    graph.input.append(helper.make_tensor_value_info(TIME_STEP, TensorProto.FLOAT, [1, 1]))

    def constant(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    first, last = (constant(f"motion/{n}", np.array([v])) for n, v in (("first", 0), ("last", frames - 1)))
    shape = constant("motion/shape", np.array([1]))
    steps: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("Cast", [TIME_STEP], "motion/whole", {"to": TensorProto.INT64}),
        ("Reshape", ["motion/whole", shape], "motion/flat", {}),
        ("Max", ["motion/flat", first], "motion/from_first", {}),
        ("Min", ["motion/from_first", last], "motion/frame", {}),
    )
    for kind, inputs, output, attributes in steps:
        graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
    for name, table in tables.items():
        rows = constant(f"motion/{name}", np.ascontiguousarray(table, np.float32))
        graph.node.append(helper.make_node("Gather", [rows, "motion/frame"], [name], axis=0))
        width = [1, *table.shape[1:]]
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, width))


def first_wrong(data: bytes, tables: Mapping[str, np.ndarray]) -> str:
    """What the graph `data` gives otherwise than `tables` at a frame, or beyond an end; '' if nothing."""
    from holosoma_jax.policy.onnx_policy import make_session

    session = make_session(data)
    frames = len(next(iter(tables.values())))
    for frame in range(-2, frames + 2):
        found = at_frame(session, frame, tuple(tables))
        for name, table in tables.items():
            wanted = np.asarray(table[min(max(frame, 0), frames - 1)], np.float32)
            if not np.array_equal(found[name], wanted):
                return f"output '{name}' of the ONNX graph differs from the clip at frame {frame}"
    return ""
