"""A policy read from an ONNX file, whoever exported it.

Most exporters fix the batch to one row. The graph is run on many environments at once where that is possible.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holosoma_jax.motion.formats import policy_graph
from holosoma_jax.motion.formats.onnx_graph import CASTS, GraphIndex, put_in_usual_order
from holosoma_jax.motion.formats.policy_graph import TIME_STEP
from holosoma_jax.policy import loaded, onnx_digest
from holosoma_jax.policy.foreign import metadata as foreign_metadata
from holosoma_jax.policy.loaded import INPUT_NAME, LoadedPolicy, PolicyFileError

if TYPE_CHECKING:
    import onnx
    import onnxruntime

_PROBE_ROWS = 7
_WIDEST = 1_000_000  # entries of an observation
_REBATCH_TOLERANCE = 1e-5

log = logging.getLogger(__name__)


def load(path: str | os.PathLike[str], stated: Mapping[str, Any] | None = None) -> LoadedPolicy:
    """Read and check a policy file.

    Args:
      path: an ``.onnx`` file with one input [1 or any, n] float32, whatever its name, and the action as first
        output, or as the one of that name. Weights may lie in a file beside it.
      stated: what is known about it otherwise (`stated.gather`); it comes before the file's metadata.

    Raises:
      PolicyFileError: one line with the file, what is wrong, and what is wanted.
    """
    path = Path(path)
    model = _parse(path)
    size = _input_size(path, model)
    try:
        session = make_session(model.SerializeToString())
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        raise PolicyFileError(f"{path}: ONNX Runtime cannot load it: {_first_line(error)}") from None
    actions = _output_size(path, session, size)
    batched = _batched_session(model, session, size, actions)
    run = partial(run_rows, session) if batched is None else partial(run_batch, batched)
    try:
        meta = foreign_metadata.decode({item.key: item.value for item in model.metadata_props})
    except ValueError as error:
        raise PolicyFileError(f"{path}: {error}") from None
    return loaded.describe(
        path,
        meta,
        stated or {},
        size,
        actions,
        run,
        batched=batched is not None,
        clip=_clip_outputs(session),
        action_bound=_action_bound(model.graph, actions),
    )


def make_session(data: bytes) -> onnxruntime.InferenceSession:
    """A CPU session of a serialised model; its threads sleep between calls, the simulator needs the cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run_batch(session: onnxruntime.InferenceSession, rows: np.ndarray) -> np.ndarray:
    """First output [N, A] for rows [N, D], in one call."""
    feed = {session.get_inputs()[0].name: rows} | policy_graph.feed_frame(session, 0)
    return np.asarray(session.run([session.get_outputs()[0].name], feed)[0])


def run_rows(session: onnxruntime.InferenceSession, rows: np.ndarray) -> np.ndarray:
    """First output [N, A] for rows [N, D], one call a row (graphs with a static batch of 1)."""
    if not len(rows):
        return np.zeros((0, session.get_outputs()[0].shape[1]), np.float32)
    return np.concatenate([run_batch(session, row) for row in rows[:, None, :]])


def _parse(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    if not path.exists():
        raise PolicyFileError(f"{path}: no such file.")
    if path.is_dir():
        raise PolicyFileError(f"{path}: is a folder, wanted an .onnx file in it.")
    if not path.is_file():  # a pipe or a device may have no end
        raise PolicyFileError(f"{path}: is no regular file, wanted an .onnx file.")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError:
        raise PolicyFileError(f"{path}: not an ONNX file, or cut short.") from None
    if not model.graph.node or not model.graph.output:
        raise PolicyFileError(f"{path}: not an ONNX file, or cut short: it holds no graph with an output.")
    try:
        digested = onnx_digest.check_digest(model)
    except ValueError as error:
        raise PolicyFileError(f"{path}: {error}.") from None
    if not digested and model.producer_name == onnx_digest.PRODUCER:
        log.warning(
            "%s: exported by an earlier version, without a digest: damage would not be noticed.", path
        )
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (
        OSError,
        ValueError,
        RuntimeError,
        onnx.checker.ValidationError,
    ) as error:  # a name that is too long
        raise PolicyFileError(f"{path}: its weights lie in another file: {_first_line(error)}") from None
    put_in_usual_order(model.graph, TIME_STEP)
    return model


def _input_size(path: Path, model: onnx.ModelProto) -> int:
    """The n of the first input [1 or symbolic, n] float32, whatever it is called; a second may be `TIME_STEP`."""
    import onnx

    constants = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in constants]
    if len(inputs) == 2 and inputs[1].name == TIME_STEP:
        inputs = inputs[:1]
    if len(inputs) != 1:
        found = ", ".join(f"'{item.name}'" for item in inputs) or "none"
        raise PolicyFileError(
            f"{path}: its inputs are {found}; a policy has one, '{INPUT_NAME}', "
            f"or two, the second of which is '{TIME_STEP}'."
        )
    tensor = inputs[0].type.tensor_type
    shape = [d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim]
    if len(shape) != 2 or not isinstance(shape[1], int) or not (isinstance(shape[0], str) or shape[0] == 1):
        raise PolicyFileError(f"{path}: input '{inputs[0].name}' is {shape}, wanted [1, n] or [batch, n].")
    if not 1 <= shape[1] <= _WIDEST:
        raise PolicyFileError(f"{path}: input '{inputs[0].name}' is {shape}, wanted 1 to {_WIDEST} entries.")
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
        kind = names.get(tensor.elem_type, f"of unknown type {tensor.elem_type}")
        raise PolicyFileError(f"{path}: input '{inputs[0].name}' is {kind}, wanted float (32 bit).")
    return shape[1]


def _output_size(path: Path, session: onnxruntime.InferenceSession, obs_dim: int) -> int:
    """The A of the first output [1, A], found by running one row of zeros and a random one."""
    random = np.random.default_rng(1).standard_normal((1, obs_dim)).astype(np.float32)
    try:
        action = run_rows(session, np.zeros((1, obs_dim), np.float32))
        other = run_rows(session, random)
    except Exception as error:
        raise PolicyFileError(f"{path}: the graph fails on a row of zeros: {_first_line(error)}") from None
    if not (np.isfinite(action).all() and np.isfinite(other).all()):
        raise PolicyFileError(f"{path}: its actions are not finite (for a row of zeros or a random one).")
    if action.ndim != 2 or action.shape[0] != 1 or action.dtype != np.float32:
        raise PolicyFileError(
            f"{path}: its first output is {action.dtype} {action.shape}, wanted float32 (1, J)."
        )
    return action.shape[1]


def _clip_outputs(session: onnxruntime.InferenceSession) -> tuple[str, ...]:
    """The outputs that hold a motion clip, where the graph has one."""
    if len(session.get_inputs()) < 2:
        return ()
    return policy_graph.signature([item.name for item in session.get_outputs()])


def _action_bound(graph: onnx.GraphProto, action_dim: int) -> np.ndarray | None:
    """[A] the b of an action that is b * tanh(...), up to an offset; None where it is none."""
    from onnx import numpy_helper

    index = GraphIndex(graph)
    constants = index.constants

    def is_tanh(name: str) -> bool:
        node = index.maker(name, CASTS)
        return node is not None and node.op_type == "Tanh"

    name = graph.output[0].name
    while name not in constants and (node := index.maker(name)) is not None:
        if node.op_type == "Mul":
            for factor, other in (node.input, reversed(node.input)):
                if factor in constants and is_tanh(other):
                    bound = np.asarray(numpy_helper.to_array(constants[factor]), np.float32).reshape(-1)
                    return (
                        np.abs(np.broadcast_to(bound, (action_dim,)))
                        if bound.size in (1, action_dim)
                        else None
                    )
            return None
        if node.op_type not in ("Add", "Identity", "Cast", "Clip"):
            return None
        name = next((i for i in node.input if i not in constants), "")
    return None


def _batched_session(
    model: onnx.ModelProto, single: onnxruntime.InferenceSession, obs_dim: int, action_dim: int
) -> onnxruntime.InferenceSession | None:
    """A session that takes any number of rows, or None where the graph is tied to one row.

    The batch dimension of inputs and outputs is made symbolic, shapes recorded for inner values are
    dropped, and the result is compared with the original, row by row, on a few random rows.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {item.name for item in copy.graph.initializer}
    for item in (*copy.graph.input, copy.graph.output[0]):
        dims = item.type.tensor_type.shape.dim
        if item.name not in constants and item.name != TIME_STEP and len(dims):
            dims[0].dim_param = "batch"
    del copy.graph.value_info[:]
    rows = np.random.default_rng(0).standard_normal((_PROBE_ROWS, obs_dim)).astype(np.float32)
    try:
        session = make_session(copy.SerializeToString())
        together = run_batch(session, rows)
        apart = run_rows(single, rows) if single.get_inputs()[0].shape[0] == 1 else together
    except Exception:  # a Reshape to a fixed [1, ...], say: the graph cannot be batched
        return None
    if together.shape != (_PROBE_ROWS, action_dim):
        return None
    return session if np.allclose(together, apart, rtol=_REBATCH_TOLERANCE, atol=_REBATCH_TOLERANCE) else None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
