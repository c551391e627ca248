"""Export of a policy to ONNX, checked against JAX before the file gets its name.

The file is what holosoma's robot runtime loads: one float32 input [1, obs_dim], the action
[1, action_dim] as first output, opset 13, IR version 7, JSON metadata. The action is the policy's
own (before action scale and default pose); the observation normaliser is part of the graph.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax import __version__
from holosoma_jax.files import replacing
from holosoma_jax.policy import metadata_checks, motion_graph, onnx_digest, onnx_metadata

if TYPE_CHECKING:
    import onnx

OPSET = 13
IR_VERSION = 7
"""Of ONNX 1.8 (2020), like holosoma's files: the runtime on a robot may be old."""
PARITY_ROWS = 1024
PARITY_TOLERANCE = 1e-5
ROUNDING_FACTOR = 4.0
"""Two correct float32 evaluations differ by 1.0 to 1.6 times `rounding_error` (16 networks of both
learners' shapes, weights scaled 1 to 5 times); a mistake in the graph by thousands."""


class OnnxParityError(RuntimeError):
    """The exported graph does not compute what the JAX policy computes; no file was written."""


def export_policy(
    path: str | os.PathLike[str],
    policy: Callable[[jax.Array], jax.Array],
    obs_dim: int,
    action_dim: int,
    metadata: Mapping[str, Any],
    *,
    input_name: str = "actor_obs",
    output_name: str = "action",
    batch: Literal[1] | None = 1,
    observations: np.ndarray | None = None,
    tolerance: float = PARITY_TOLERANCE,
    tables: Mapping[str, np.ndarray] | None = None,
    encode: Callable[[Mapping[str, Any]], Mapping[str, str]] = onnx_metadata.encode,
) -> Path:
    """Write `policy` to `path`, atomically, after comparing the graph with JAX.

    Args:
      path: target file; its folder is created. An existing file is replaced only on success.
      policy: observations [N, obs_dim] float32 -> actions [N, action_dim] float32; deterministic.
      obs_dim: entries of the observation.
      action_dim: entries of the action.
      metadata: as `onnx_metadata.policy_metadata` returns; checked, then JSON-encoded.
      input_name: of the graph's only input.
      output_name: of the graph's first output.
      batch: 1 for a static batch of one row, as in holosoma's files; None for a dynamic batch.
      observations: [M, obs_dim] to compare on; default: random ones (`parity_observations`).
      tolerance: largest accepted `parity_error`, unless the policy's own rounding is larger: then
        `ROUNDING_FACTOR` times `rounding_error` (steep policies amplify the last bit of any sum).
      tables: further outputs, rows [F, ...] of which a second input, ``time_step`` [1, 1], selects one; it is
        held within [0, F - 1].
      encode: decoded metadata -> its text.

    Returns:
      The path written.

    Raises:
      OnnxParityError: ONNX Runtime and JAX differ by more than `tolerance`.
      ValueError: the metadata is wrong, or `policy` returns another shape or dtype.
    """
    target = Path(path)
    problems = metadata_checks.check_metadata(metadata, obs_dim=obs_dim, action_dim=action_dim)
    if problems:
        raise ValueError(f"{target.name}: metadata {problems[0]}.")
    wanted = jax.ShapeDtypeStruct((2, action_dim), jnp.float32)
    got = jax.eval_shape(policy, jax.ShapeDtypeStruct((2, obs_dim), jnp.float32))
    if not isinstance(got, jax.ShapeDtypeStruct) or (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(f"{target.name}: the policy returns {got}, wanted {wanted}.")

    model = _convert(policy, obs_dim, batch, input_name, output_name)
    if tables:
        motion_graph.add_tables(model.graph, tables)
    for key, text in encode(metadata).items():
        model.metadata_props.add(key=key, value=text)
    model.model_version = onnx_digest.DIGESTED
    model.metadata_props.add(key=onnx_digest.DIGEST, value=json.dumps(onnx_digest.digest(model)))
    data = model.SerializeToString()

    observations = parity_observations(obs_dim) if observations is None else observations
    observations = np.asarray(observations, np.float32)
    expected = _evaluate(policy, observations)
    error = parity_error(expected, _run(data, observations))
    allowed = tolerance
    if error > tolerance:
        allowed = max(tolerance, ROUNDING_FACTOR * rounding_error(policy, observations, expected))
    if not error <= allowed:  # `not <=` also catches NaN
        raise OnnxParityError(
            f"{target}: the ONNX graph differs from the JAX policy by {error:.3g} (allowed {allowed:.3g}, "
            f"relative to max(1, |action|), {len(observations)} observations). The file was not written."
        )
    if tables and (wrong := motion_graph.first_wrong(data, tables)):
        raise OnnxParityError(f"{target}: {wrong}. The file was not written.")
    with replacing(target) as temporary:
        temporary.write_bytes(data)
    return target


def parity_observations(obs_dim: int, rows: int = PARITY_ROWS, seed: int = 0) -> np.ndarray:
    """Random observations [rows, obs_dim] float32: normal, each row scaled by 0.1 to 10."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-1.0, 1.0, (rows, 1))
    return (scale * rng.standard_normal((rows, obs_dim))).astype(np.float32)


def parity_error(expected: np.ndarray, got: np.ndarray) -> float:
    """Largest difference of two action batches [N, A], each row relative to max(1, its largest action).

    Inputs as large as a policy never sees give actions of order 100; float32 rounding grows with
    them, so the measure is absolute for actions up to 1 and relative beyond.
    """
    scale = np.maximum(1.0, np.abs(expected).max(axis=1, keepdims=True))
    return float((np.abs(expected - got) / scale).max())


def rounding_error(
    policy: Callable[[jax.Array], jax.Array], observations: np.ndarray, actions: np.ndarray
) -> float:
    """`parity_error` of `policy` against itself when every observation changes in its last bit.

    Args:
      policy: observations [N, obs_dim] -> actions [N, action_dim].
      observations: [N, obs_dim] float32.
      actions: [N, action_dim] float32, the policy's at these observations.
    """
    direction = np.random.default_rng(1).choice(np.array([-np.inf, np.inf], np.float32), observations.shape)
    return parity_error(actions, _evaluate(policy, np.nextafter(observations, direction)))


def _evaluate(policy: Callable[[jax.Array], jax.Array], observations: np.ndarray) -> np.ndarray:
    # Accelerators multiply float32 matrices in TF32 unless told otherwise; ONNX Runtime does not.
    with jax.default_matmul_precision("float32"):
        return np.asarray(policy(jnp.asarray(observations)))


def _run(data: bytes, observations: np.ndarray) -> np.ndarray:
    """Actions [M, A] of the graph as it is written: row by row where its batch is 1."""
    from holosoma_jax.policy.onnx_policy import make_session, run_batch, run_rows

    session = make_session(data)
    static = session.get_inputs()[0].shape[0] == 1
    return (run_rows if static else run_batch)(session, observations)


def _convert(
    policy: Callable[[jax.Array], jax.Array],
    obs_dim: int,
    batch: Literal[1] | None,
    input_name: str,
    output_name: str,
) -> onnx.ModelProto:
    """The graph of `policy`. The first call in a process loads jax2onnx's plugins: some 5 s."""
    with _quiet():
        import onnx
        from jax2onnx import to_onnx

        # Functions that are jitted inside the policy (half of jax.nn is) are traced through: one flat
        # graph, and jax2onnx 0.17 cannot read nested ones on JAX 0.12.
        with jax.disable_jit():
            model = to_onnx(
                policy,
                [jax.ShapeDtypeStruct((batch or "batch", obs_dim), jnp.float32)],  # type: ignore[arg-type]
                model_name="policy",
                opset=OPSET,
                input_names=[input_name],
                output_names=[output_name],
            )
        _state_axes_as_attributes(model.graph)
        model.ir_version = IR_VERSION
        model.producer_name = onnx_digest.PRODUCER
        model.producer_version = __version__
        for node in model.graph.node:
            node.ClearField("doc_string")
        onnx.checker.check_model(model)
    return model


def _state_axes_as_attributes(graph: onnx.GraphProto) -> None:
    """Means over axes, as opsets before 18 want them; jax2onnx writes the axes as an input at any opset."""
    from onnx import helper, numpy_helper

    constants = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        if node.op_type == "ReduceMean" and len(node.input) == 2:
            axes = numpy_helper.to_array(constants[node.input.pop()])
            node.attribute.append(helper.make_attribute("axes", axes.tolist()))
    used = {name for node in graph.node for name in node.input}
    for name, constant in constants.items():
        if name not in used:
            graph.initializer.remove(constant)


@contextmanager
def _quiet() -> Iterator[None]:
    """jax2onnx imports plugins for many libraries; their deprecations are not the user's concern."""
    logger = logging.getLogger("jax2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
