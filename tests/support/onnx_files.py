"""ONNX files as holosoma ships them, built node by node: a PPO and a FastSAC locomotion policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OBS, ACTIONS = 100, 29
WIDTHS = (512, 256, 128)


def joint_names(count: int = ACTIONS) -> list[str]:
    return [f"joint_{i}" for i in range(count)]


def shipped_metadata(count: int = ACTIONS) -> dict[str, Any]:
    """The four keys of the shipped files."""
    return {
        "dof_names": joint_names(count),
        "kp": [40.179238471] * count,
        "kd": [2.557889765] * count,
        "command_ranges": {"lin_vel_x": [-1.0, 1.0], "ang_vel_yaw": [-1.0, 1.0]},
    }


class Graph:
    """Collects nodes and initialisers; `add` returns the name of the node's output."""

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=f"/{op}_{output}", **attributes))
        return output

    def gemm(self, x: str, inputs: int, outputs: int, output: str | None = None) -> str:
        """Linear layer with weights [out, in], as a PyTorch exporter writes it."""
        weight = self.rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)
        bias = 0.1 * self.rng.standard_normal(outputs)
        return self.add("Gemm", x, self.const(weight), self.const(bias), output=output, transB=1)

    def save(
        self,
        path: Path,
        metadata: Mapping[str, Any] | None = None,
        *,
        inputs: Mapping[str, tuple[int | str, ...]] | None = None,
        output: str = "action",
        output_shape: tuple[int, ...] = (1, ACTIONS),
        raw: Mapping[str, str] | None = None,
    ) -> Path:
        """Write the model with opset 13, IR 7; `raw` adds metadata that is not JSON-encoded."""
        graph = helper.make_graph(
            self.nodes,
            "torch_jit",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in (inputs or {"actor_obs": (1, OBS)}).items()
            ],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, output_shape)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
        values = {key: json.dumps(value) for key, value in (metadata or {}).items()} | dict(raw or {})
        for key, value in values.items():
            model.metadata_props.add(key=key, value=value)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
        return path


def ppo_graph(seed: int = 0, output: str = "action") -> Graph:
    """Gemm x 4, Elu x 3."""
    g = Graph(seed)
    x, size = "actor_obs", OBS
    for width in WIDTHS:
        x, size = g.add("Elu", g.gemm(x, size, width), alpha=1.0), width
    g.gemm(x, size, ACTIONS, output=output)
    return g


def fast_sac_graph(seed: int = 0, output: str = "action") -> Graph:
    """Sub, Div, Slice + Concat, (Gemm, decomposed LayerNorm, SiLU) x 3, Gemm, Tanh, Mul, Add."""
    g = Graph(seed)
    x = g.add("Sub", "actor_obs", g.const(g.rng.standard_normal((1, OBS))))
    x = g.add("Div", x, g.const(g.rng.uniform(0.5, 1.5, (1, OBS))))
    parts = [
        g.add("Slice", x, *(g.const([v], np.int64) for v in (start, stop, 1)))  # start, end, axis
        for start, stop in ((0, 60), (60, OBS))
    ]
    x, size = g.add("Concat", *parts, axis=1), OBS
    for width in WIDTHS:
        x, size = g.gemm(x, size, width), width
        centred = g.add("Sub", x, g.add("ReduceMean", x, axes=[-1], keepdims=1))
        square = g.add("Pow", centred, g.const(2.0))
        variance = g.add("ReduceMean", square, axes=[-1], keepdims=1)
        x = g.add("Div", centred, g.add("Sqrt", g.add("Add", variance, g.const(1e-5))))
        x = g.add("Mul", x, g.const(g.rng.uniform(0.5, 1.5, width)))
        x = g.add("Add", x, g.const(0.1 * g.rng.standard_normal(width)))
        x = g.add("Mul", x, g.add("Sigmoid", x))
    x = g.add("Tanh", g.gemm(x, size, ACTIONS))
    g.add("Add", g.add("Mul", x, g.const(g.rng.uniform(1, 9, ACTIONS))), g.const(0.0), output=output)
    return g


def numpy_run(graph: Graph, rows: np.ndarray) -> np.ndarray:
    """The graph's first output, computed here in float64, node by node."""
    values: dict[str, np.ndarray] = {name: np.asarray(v) for name, v in graph.constants.items()}
    values["actor_obs"] = rows.astype(np.float64)
    for node in graph.nodes:
        a = [values[name] for name in node.input]
        values[node.output[0]] = _OPS[node.op_type](*a)
    return values[graph.nodes[-1].output[0]]


_OPS = {
    "Gemm": lambda x, w, b: x @ w.T.astype(np.float64) + b,
    "Elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "Sub": np.subtract,
    "Add": np.add,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "ReduceMean": lambda x: x.mean(-1, keepdims=True),
    "Concat": lambda *x: np.concatenate(x, axis=1),
    "Slice": lambda x, start, stop, axis: x[:, start[0] : stop[0]],
}
