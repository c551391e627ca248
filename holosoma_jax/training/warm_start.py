"""A new run that begins with the policy of another: in other environments, another simulator, another task.

What describes environments (their state, the physics, the replay buffer) is new; what was learned, and how far the
curricula had come, is taken over.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.env import EnvState
from holosoma_jax.experiment import Setup
from holosoma_jax.learn.policy_leaves import policy_leaves
from holosoma_jax.parallel import global_arrays
from holosoma_jax.robots import record
from holosoma_jax.rollout.control_step import is_global_scalar, leaf_name
from holosoma_jax.rollout.state import RunnerState
from holosoma_jax.runs import checkpoint, policy_only

log = logging.getLogger(__name__)


def init_from(path: Path, setup: Setup, fresh: RunnerState) -> tuple[RunnerState, checkpoint.Meta]:
    """A new run, `fresh`, with the learner of checkpoint `path`, and with curricula where they stood.

    The learner is as it was saved, under the settings of that run.

    Args:
      path: a checkpoint folder.
      setup: the parts of the new run; simulator, number of environments and task may be others.
      fresh: the new run before its first iteration.

    Returns:
      The state to begin with, and what the checkpoint says of itself.

    Raises:
      ConfigError: damaged, or of another robot, learner or network, or one that observes otherwise.
    """
    meta = checkpoint.read_meta(path)
    checkpoint.require(path, meta, robot=setup.robot.name, learner=setup.cfg.algo.name)
    record.require_order(path, meta.robot_record, setup.robot)
    if note := _stretched(path, meta, setup):
        log.warning(note)
    _require_same_observations(path, meta.config, compose.to_mapping(setup.cfg))
    learner = _learner(path, meta, setup, fresh.learner)
    carry = fresh.rollout.carry
    carry = carry.replace(env=_with_global_scalars(carry.env, setup.devices.one(carry.env), meta.curriculum))
    return fresh._replace(learner=learner, rollout=fresh.rollout._replace(carry=carry)), meta


def _learner(path: Path, meta: checkpoint.Meta, setup: Setup, fresh: Any) -> Any:
    """What the checkpoint holds of the learner; the rest (of a policy alone: critics, optimisers) is as in `fresh`."""
    devices = setup.devices
    if policy_only.is_alone(meta):
        template = devices.first(fresh)
        leaves = policy_leaves(setup.learner, template, setup.env.spec.obs_dims)
        return devices.replicate(policy_only.load(path, template, leaves))
    template = {"learner": global_arrays.replicated(devices, fresh)}
    return global_arrays.everywhere(devices, checkpoint.load(path, template)["learner"])


def _stretched(path: Path, meta: checkpoint.Meta, setup: Setup) -> str | None:
    """What to tell whose FastSAC policy now acts within the joint ranges of another model of the robot; else None."""
    if not getattr(setup.cfg.algo.config, "use_tanh", False):
        return None
    before, now = record.trained_on(meta.robot_record, setup.robot).action_reach, setup.robot.action_reach
    j = int(np.argmax(np.abs(now / before - 1.0)))
    if np.isclose(now[j], before[j], rtol=record.RELATIVE):
        return None
    return (
        f"checkpoint {path}: its actions were bounded by other joint ranges, and stretch with them: those of "
        f"'{setup.robot.joint_names[j]}' reach {now[j]:g} instead of {before[j]:g}. Learning has to make up for it."
    )


def _require_same_observations(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise ConfigError unless both configs observe the same: equal sizes alone would let a policy read nonsense."""
    for group, settings in here["observation"]["groups"].items():
        other = there["observation"]["groups"].get(group, {})
        for one, two in itertools.zip_longest(_observed(other), _observed(settings)):
            if one != two:
                raise ConfigError(
                    f"checkpoint {path} observes {_shown(one)} in {group} where this run observes {_shown(two)}. Leave "
                    "out observation: and --observation.* to observe as its policy does."
                )


def _observed(group: Mapping[str, Any]) -> list[tuple[str, str, float, int, str]]:
    """What a group observes, in the order of names: name and function, scale, frames, what fills them."""
    frames = group.get("history_length", 1)
    fill = group.get("history_fill", "zero") if frames > 1 else "zero"
    terms = group.get("terms", {})
    return [(name, term["func"] or name, term["scale"], frames, fill) for name, term in sorted(terms.items())]


def _shown(term: tuple[str, str, float, int, str] | None) -> str:
    if term is None:
        return "nothing more"
    name, func, scale, frames, fill = term
    filled = " filled with the first" if fill == "first" else ""
    return f"'{name}'" + f" ({func})" * (func != name) + f" times {scale:g}, {frames} frame(s){filled}"


def _with_global_scalars(state: EnvState, one: EnvState, numbers: Mapping[str, float]) -> EnvState:
    """`state` with `numbers` of another one (`global_scalars`), as far as it has them; `one`: shapes on one device."""

    def known(path: Any, x: jax.Array, one: jax.ShapeDtypeStruct) -> jax.Array:
        if not (is_global_scalar(one) and leaf_name(path) in numbers):
            return x
        return jax.device_put(np.full(x.shape, numbers[leaf_name(path)], x.dtype), x.sharding)

    return jax.tree_util.tree_map_with_path(known, state, one)
