"""A policy read from an ONNX file: ours, or one that the reference exported.

The reference's files have a static batch of one row. `OnnxPolicy` runs them on many environments at
once where the graph allows it, and says in one line what is wrong with a file that it cannot use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.policy import onnx_metadata, onnx_reading
from holosoma_jax.robots.robot import Robot

if TYPE_CHECKING:
    import onnx
    import onnxruntime

INPUT_NAME = "actor_obs"
_PROBE_ROWS = 7
_REBATCH_TOLERANCE = 1e-5


class OnnxPolicyError(ConfigError):
    """The file is not a locomotion policy that can be run here; one line that says why."""


@dataclass(frozen=True, eq=False)
class OnnxPolicy:
    """A deterministic policy with what its file says about it; J = joints = action entries."""

    path: Path
    obs_dim: int
    action_dim: int
    metadata: Mapping[str, Any]
    """as `onnx_reading.harmonize` returns it; a reference file may hold little but names and gains"""
    dof_names: tuple[str, ...]
    """[J] order of the action"""
    kp: np.ndarray | None
    """[J] N m/rad; None where the file does not say"""
    kd: np.ndarray | None
    """[J] N m s/rad; None where the file does not say"""
    action_scale: np.ndarray | None
    """[J] rad per unit of action; None where the file does not say"""
    observation_layout: tuple[Mapping[str, Any], ...] | None
    """terms of the input, in order; None where the file does not say"""
    iteration: int | None
    batched: bool
    """True: one call of the graph for all rows; False: one call a row"""
    run: Callable[[np.ndarray], np.ndarray]
    """[N, obs_dim] float32 -> [N, J] float32, unchecked"""

    def __call__(self, observations: Any) -> np.ndarray:
        """Actions [N, J] of observations [N, obs_dim] (NumPy or JAX; read as float32)."""
        rows = np.ascontiguousarray(observations, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.obs_dim:
            raise ValueError(f"{self.path.name}: observations are {rows.shape}, wanted [N, {self.obs_dim}].")
        return self.run(rows)

    @staticmethod
    def load(
        path: str | os.PathLike[str], robot: Robot | None = None, obs_dim: int | None = None
    ) -> OnnxPolicy:
        """Read and check a policy file.

        Args:
          path: an ``.onnx`` file with one input [1 or any, n] float32, which the reference calls
            ``actor_obs``, and the action as first output. Weights may lie in a file beside it.
          robot: where given, its joints must be the file's, in the same order.
          obs_dim: where given, the file's n must equal it.

        Raises:
          OnnxPolicyError: one line with the file, what is wrong, and what is wanted.
        """
        path = Path(path)
        model = _parse(path)
        size = _input_size(path, model)
        try:
            session = make_session(model.SerializeToString())
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception
            raise OnnxPolicyError(f"{path}: ONNX Runtime cannot load it: {_first_line(error)}") from None
        actions = _output_size(path, session, size)
        meta = _read_metadata(path, model, size, actions)
        names = tuple(meta["dof_names"])
        if obs_dim is not None and size != obs_dim:
            raise OnnxPolicyError(
                f"{path}: the policy reads {size} observations, the environment gives {obs_dim}. "
                "Evaluate it with the observation configuration that it was trained with."
            )
        if robot is not None:
            _check_names(path, names, robot)
        batched = _batched_session(model, session, size, actions)
        run = partial(run_rows, session) if batched is None else partial(run_batch, batched)
        layout = meta.get("observation_layout")

        def per_joint(key: str) -> np.ndarray | None:
            value = meta.get(key)
            return None if value is None else np.broadcast_to(np.asarray(value, np.float32), (actions,))

        return OnnxPolicy(
            path=path,
            obs_dim=size,
            action_dim=actions,
            metadata=meta,
            dof_names=names,
            kp=per_joint("kp"),
            kd=per_joint("kd"),
            action_scale=per_joint("action_scale"),
            observation_layout=None if layout is None else tuple(layout),
            iteration=meta.get("iteration"),
            batched=batched is not None,
            run=run,
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
    action = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: rows})[0]
    return np.asarray(action)


def run_rows(session: onnxruntime.InferenceSession, rows: np.ndarray) -> np.ndarray:
    """First output [N, A] for rows [N, D], one call a row (graphs with a static batch of 1)."""
    if not len(rows):
        return np.zeros((0, session.get_outputs()[0].shape[1]), np.float32)
    return np.concatenate([run_batch(session, row) for row in rows[:, None, :]])


def _parse(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    if not path.exists():
        raise OnnxPolicyError(f"{path}: no such file.")
    if path.is_dir():
        raise OnnxPolicyError(f"{path}: is a folder, wanted an .onnx file in it.")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError:
        raise OnnxPolicyError(f"{path}: not an ONNX file, or cut short.") from None
    if not model.graph.node or not model.graph.output:
        raise OnnxPolicyError(f"{path}: not an ONNX file, or cut short: it holds no graph with an output.")
    try:
        onnx_metadata.check_digest(model)
    except ValueError as error:
        raise OnnxPolicyError(f"{path}: {error}.") from None
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise OnnxPolicyError(f"{path}: its weights lie in another file: {_first_line(error)}") from None
    return model


def _input_size(path: Path, model: onnx.ModelProto) -> int:
    """The n of the only input [1 or symbolic, n] float32, whatever it is called."""
    import onnx

    constants = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in constants]
    if len(inputs) != 1:
        found = ", ".join(f"'{item.name}'" for item in inputs) or "none"
        raise OnnxPolicyError(f"{path}: its inputs are {found}; a locomotion policy has one, '{INPUT_NAME}'.")
    tensor = inputs[0].type.tensor_type
    shape = [d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim]
    if len(shape) != 2 or not isinstance(shape[1], int) or not (isinstance(shape[0], str) or shape[0] == 1):
        raise OnnxPolicyError(f"{path}: input '{inputs[0].name}' is {shape}, wanted [1, n] or [batch, n].")
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise OnnxPolicyError(f"{path}: input '{inputs[0].name}' is {kind}, wanted float (32 bit).")
    return shape[1]


def _output_size(path: Path, session: onnxruntime.InferenceSession, obs_dim: int) -> int:
    """The A of the first output [1, A], found by running one row of zeros and a random one."""
    random = np.random.default_rng(1).standard_normal((1, obs_dim)).astype(np.float32)
    try:
        action = run_rows(session, np.zeros((1, obs_dim), np.float32))
        other = run_rows(session, random)
    except Exception as error:
        raise OnnxPolicyError(f"{path}: the graph fails on a row of zeros: {_first_line(error)}") from None
    if not (np.isfinite(action).all() and np.isfinite(other).all()):
        raise OnnxPolicyError(f"{path}: its actions are not finite (for a row of zeros or a random one).")
    if action.ndim != 2 or action.shape[0] != 1 or action.dtype != np.float32:
        raise OnnxPolicyError(
            f"{path}: its first output is {action.dtype} {action.shape}, wanted float32 (1, J)."
        )
    return action.shape[1]


def _read_metadata(path: Path, model: onnx.ModelProto, obs_dim: int, action_dim: int) -> dict[str, Any]:
    try:
        raw = {item.key: item.value for item in model.metadata_props}
        meta = onnx_reading.harmonize(onnx_reading.decode(raw), INPUT_NAME)
    except ValueError as error:
        raise OnnxPolicyError(f"{path}: {error}") from None
    if meta.get("dof_names") is None:
        raise OnnxPolicyError(
            f"{path}: metadata 'dof_names' is missing, so nothing says which robot's joints its {action_dim} "
            "actions move; add them, a JSON list of names in the order of the action."
        )
    problems = onnx_metadata.check_metadata(meta, obs_dim=obs_dim, action_dim=action_dim, required=())
    if problems:
        more = f" ({len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise OnnxPolicyError(f"{path}: metadata {problems[0]}{more}.")
    return meta


def _check_names(path: Path, names: tuple[str, ...], robot: Robot) -> None:
    if len(names) != robot.num_joints:
        raise OnnxPolicyError(
            f"{path}: has {len(names)} joints, robot '{robot.name}' has {robot.num_joints}."
        )
    for i, (theirs, ours) in enumerate(zip(names, robot.joint_names, strict=True)):
        if theirs != ours:
            raise OnnxPolicyError(
                f"{path}: made for another robot or joint order: joint {i} is '{theirs}' in the file, "
                f"'{ours}' in robot '{robot.name}'."
            )


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
    for item in (*copy.graph.input, *copy.graph.output):
        dims = item.type.tensor_type.shape.dim
        if item.name not in constants and len(dims):
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
