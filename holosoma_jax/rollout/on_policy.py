"""What an on-policy learner does around the control steps: fill a rollout buffer, learn from it at its end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.env import EnvSpec
from holosoma_jax.learn.learner import Learner
from holosoma_jax.rollout import nan_guard
from holosoma_jax.rollout.rollout_fns import Lagged, RolloutFns, learn_if
from holosoma_jax.rollout.seeding import stream
from holosoma_jax.rollout.state import EnvStep, Keys

ENV_COLUMNS = ("reward", "terminated", "truncated", "final_value", "valid")
"""What the environments' half of a control step adds to a row of the buffer."""


class RolloutBuffer(struct.PyTreeNode):
    """The transitions of one rollout: T control steps of N environments."""

    columns: dict[str, jax.Array]  # name -> [T, N, ...]: the action, what `act` says of it, `ENV_COLUMNS`
    row: jax.Array  # [] int32, of the control step under way


def rollout_fns(learner: Learner, cfg: Any, axis_size: int = 1) -> RolloutFns:
    """What `learner`, set by `cfg`, does around the control steps."""
    del axis_size
    return RolloutFns(
        init_pending=partial(init_buffer, learner, cfg.num_steps_per_env),
        act=partial(act, learner),
        process=partial(process, learner),
        update=partial(update, learner),
        learned=learner.learned,
        horizon=cfg.num_steps_per_env,
        learns_in_act=False,
        report=report,
        compiler_options=learner.compiler_options,
        lagged=Lagged(act=partial(act, learner), learn=partial(learn_lagged, learner)),
    )


def init_buffer(learner: Learner, steps: int, state: Any, spec: EnvSpec) -> RolloutBuffer:
    """An empty buffer of `steps` control steps.

    Raises:
      ConfigError: the learner's batch has a field that nothing fills.
    """
    obs = {name: jnp.zeros((spec.num_envs, dim)) for name, dim in spec.obs_dims.items()}
    action, extras = jax.eval_shape(learner.act, state, obs, jax.random.key(0))
    number, flag = (jax.ShapeDtypeStruct((spec.num_envs,), dtype) for dtype in (jnp.float32, bool))
    rest = dict(zip(ENV_COLUMNS, (number, flag, flag, number, flag), strict=True))
    shapes = {**_columns(extras), "action": action, **rest}
    missing = [name for name in _fields(learner) if name not in (*shapes, "last_value")]
    if missing:
        raise ConfigError(
            f"algo.name: the batch of learner '{learner.name}' has a field '{missing[0]}', which nothing fills; known: "
            f"{', '.join(shapes)}, last_value. Let `act` return it among its extras."
        )
    columns = {name: jnp.zeros((steps, *x.shape), x.dtype) for name, x in shapes.items()}
    return RolloutBuffer(columns, jnp.zeros((), jnp.int32))


def act(
    learner: Learner,
    state: Any,
    replay: None,
    buffer: RolloutBuffer,
    obs: Mapping[str, jax.Array],
    step: jax.Array,
    keys: Keys,
    axis_name: str | None,
) -> tuple[Any, None, RolloutBuffer, jax.Array, dict[str, Any]]:
    """Observe and act. A normaliser takes in the observation before it is applied to it."""
    if learner.observe is not None:
        state = learner.observe(state, obs, axis_name)
    action, extras = learner.act(state, obs, stream(keys.own, "act", step))
    return state, replay, _written(buffer, {**_columns(extras), "action": action}), action, {}


def process(
    learner: Learner, state: Any, buffer: RolloutBuffer, step: EnvStep
) -> tuple[RolloutBuffer, dict[str, Any]]:
    """Complete the row of a control step.

    The value of a final observation is computed only where the clock ends an episode or the task cuts it (see
    `StepResult.cut`), and is 0 for all others.
    """
    result = step.result
    final_value, value = jnp.zeros_like(result.reward), learner.value
    if value is not None:
        cut = result.cut & ~result.nonfinite
        final_value = jax.lax.cond(
            cut.any(),
            lambda obs: jnp.where(cut, value(state, obs), 0.0),
            lambda obs: jnp.zeros_like(result.reward),
            result.final_obs,
        )
    values = (result.reward, result.terminated, result.cut, final_value, ~result.nonfinite)
    buffer = _written(buffer, dict(zip(ENV_COLUMNS, values, strict=True)))
    return buffer.replace(row=buffer.row + 1), {}


def update(
    learner: Learner,
    state: Any,
    buffer: RolloutBuffer,
    obs: Mapping[str, jax.Array],
    iteration: jax.Array,
    keys: Keys,
    axis_name: str | None,
) -> tuple[Any, RolloutBuffer, dict[str, jax.Array], jax.Array]:
    """Learn from a full buffer; `obs` is what its last control step led to.

    Returns:
      learner, the buffer, to be filled again, losses, whether learner and losses are finite.
    """
    batch = make_batch(learner, state, buffer, obs)
    state, losses = learner.update(state, batch, stream(keys.shared, "update", iteration), axis_name)
    finite = nan_guard.finite((learner.learned(state), losses))
    return state, buffer.replace(row=jnp.zeros((), jnp.int32)), losses, finite


def learn_lagged(
    learner: Learner,
    state: Any,
    replay: None,
    buffer: RolloutBuffer,
    obs: Mapping[str, jax.Array],
    step: jax.Array,
    keys: Keys,
    axis_name: str | None,
) -> tuple[Any, None, RolloutBuffer, dict[str, Any]]:
    """`update` for `Lagged`: from the rollout before, in the first control step of the next one.

    The random stream is that of the rollout learned from. A buffer that is not full, as before the first rollout, is
    not learned from.
    """
    length = buffer.columns["reward"].shape[0]

    def updated(state: Any) -> tuple[Any, dict[str, jax.Array]]:
        batch = make_batch(learner, state, buffer, obs)
        return learner.update(state, batch, stream(keys.shared, "update", step // length - 1), axis_name)

    ready = buffer.row >= length
    state, measured = learn_if(ready, updated, state)
    return state, replay, buffer.replace(row=jnp.zeros((), jnp.int32)), measured


def make_batch(learner: Learner, state: Any, buffer: RolloutBuffer, obs: Mapping[str, jax.Array]) -> Any:
    """The learner's batch: its fields from the buffer, and the value of what the last control step led to."""
    last_value = jnp.zeros(buffer.columns["reward"].shape[1])
    if learner.value is not None:
        last_value = learner.value(state, obs)
    values = {**buffer.columns, "last_value": last_value}
    assert learner.batch is not None  # an on-policy learner has one
    return learner.batch(**{name: values[name] for name in _fields(learner)})


def report(buffer: RolloutBuffer) -> dict[str, np.ndarray]:
    """The columns with the environments first, [N, T, ...]."""
    return {name: np.asarray(x).swapaxes(0, 1) for name, x in buffer.columns.items()}


def _fields(learner: Learner) -> tuple[str, ...]:
    return getattr(learner.batch, "_fields", ())


def _columns(extras: Any) -> dict[str, Any]:
    """What `act` says of an action, by name; it may say nothing."""
    return extras._asdict() if hasattr(extras, "_asdict") else dict(extras)


def _written(buffer: RolloutBuffer, row: Mapping[str, jax.Array]) -> RolloutBuffer:
    """`buffer` with its present row of these columns replaced, in place when it is donated."""
    put = partial(jax.lax.dynamic_update_index_in_dim, index=buffer.row, axis=0)
    written = {name: put(buffer.columns[name], x) for name, x in row.items()}
    return buffer.replace(columns={**buffer.columns, **written})
