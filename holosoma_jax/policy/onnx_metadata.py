"""What a policy file says about itself: the metadata of an exported ONNX policy.

Every value is one JSON document, so that a reader needs no schema to parse it. The first group of
keys is holosoma's, in its units and order; files of holosoma may lack all but ``dof_names``,
``kp`` and ``kd``. The second group is ours and says what holosoma leaves to convention: the default
pose, the torque limits, the action clip, the control period, the units.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from holosoma_jax import __version__
from holosoma_jax.envs.env import EnvSpec
from holosoma_jax.policy.foreign import observation_names
from holosoma_jax.robots.robot import Robot

if TYPE_CHECKING:
    pass

UNITS: Mapping[str, str] = {
    "kp": "N m/rad",
    "kd": "N m s/rad",
    "torque_limit": "N m",
    "default_joint_pos": "rad",
    "action_scale": "rad; joint target = default_joint_pos + action_scale * action",
    "action_clip": "actions are clipped to +- this before they are scaled; the observed action is not",
    "control_dt": "s between two actions",
    "command_ranges": "m/s for lin_vel_*, rad/s for ang_vel_yaw, rad for heading",
    "observation_layout": "(value + noise) * scale per frame, oldest frame first, terms in this order",
}
"""Unit or formula of each numeric key."""

_WINDOWS_PATH = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")


def policy_metadata(
    config: Mapping[str, Any],
    robot: Robot,
    spec: EnvSpec,
    iteration: int,
    *,
    group: str = "actor_obs",
    include_config: bool = True,
    urdf: str | None = None,
    wandb_run_path: str | None = None,
) -> dict[str, Any]:
    """Metadata of a policy trained with `config` on `robot`.

    Args:
      config: the resolved configuration as plain mappings; absolute paths in it are cut down to
        their last part, so that the file does not describe the machine it was trained on.
      robot: gains, limits and names are taken from here.
      spec: the environment's layout, command ranges and rates.
      iteration: learning iterations that the policy has seen.
      group: observation group that the policy reads; only its terms are listed.
      include_config: False leaves ``experiment_config`` out.
      urdf: the robot's, as text; None leaves ``robot_urdf`` out.
      wandb_run_path: 'entity/project/run_id', where the run is at Weights & Biases.

    Returns:
      Key -> value, ready for `encode`.
    """
    result: dict[str, Any] = {
        "dof_names": list(robot.joint_names),
        "kp": _floats(robot.kp),
        "kd": _floats(robot.kd),
        "action_scale": _floats(robot.action_scale),
        "command_ranges": spec.command_ranges,
        "observation_layout": [
            {
                "group": term.group,
                "name": term.name,
                "func": term.func,
                "dim": term.dim,
                "history_length": term.history_length,
                "history_fill": term.history_fill,
                "scale": term.scale,
                "clip": None,  # terms are not clipped one by one; see observation_clip
                "noise": term.noise,
                "params": dict(term.params),
            }
            for term in spec.layout
            if term.group == group
        ],
        "observation_clip": spec.clip_observations,
        "iteration": int(iteration),
        "default_joint_pos": _floats(robot.default_joint_pos),
        "torque_limit": _floats(robot.torque_limit),
        "action_clip": spec.action_clip,
        "control_dt": spec.control_dt,
        "robot": robot.name,
        "units": dict(UNITS),
        "holosoma_jax_version": __version__,
    }
    if include_config:
        result["experiment_config"] = strip_paths(config)
    if urdf is not None:
        result["robot_urdf"] = urdf
    if wandb_run_path is not None:
        result["wandb_run_path"] = wandb_run_path
    return result


def encode(meta: Mapping[str, Any]) -> dict[str, str]:
    """Each value as a JSON document; raises ValueError naming a key that JSON cannot hold."""
    encoded = {}
    for key, value in meta.items():
        try:
            encoded[key] = json.dumps(_plain(value), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"metadata '{key}' cannot be written as JSON: {error}.") from None
    return encoded


def encode_mjlab(meta: Mapping[str, Any]) -> dict[str, str]:
    """`encode`, and mjlab's and BeyondMimic's keys, whose lists are text with commas between.

    What both name alike (default pose, action scale, bodies) is written as they write it.
    """
    layout = meta["observation_layout"]
    theirs = {
        "joint_names": meta["dof_names"],
        "joint_stiffness": meta["kp"],
        "joint_damping": meta["kd"],
        "default_joint_pos": meta["default_joint_pos"],
        "action_scale": meta["action_scale"],
        "command_names": ["motion"],
        "observation_names": [observation_names.of_mjlab(term["name"]) for term in layout],
        "observation_history_lengths": [term["history_length"] for term in layout],
        "body_names": meta["body_names"],
    }
    text = {"anchor_body_name": meta["anchor_body_name"], "run_path": meta.get("wandb_run_path", "none")}
    return encode(meta) | {key: ",".join(map(str, value)) for key, value in theirs.items()} | text


def strip_paths(value: Any) -> Any:
    """The same nested value with every absolute or home-relative path cut to its last part.

    URIs of remote stores (``wandb://...``) and relative paths inside the project stay.
    """
    if isinstance(value, Mapping):
        return {key: strip_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strip_paths(item) for item in value]
    if isinstance(value, str) and (
        value.startswith(("/", "~", "../", "..\\", "file:")) or _WINDOWS_PATH.match(value)
    ):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return value


def _floats(values: Sequence[float] | np.ndarray) -> list[float]:
    """Shortest decimals that read back as the same float32 (40.179237, not 40.17923736572266)."""
    return [float(str(np.float32(value))) for value in np.asarray(values)]


def _plain(value: Any) -> Any:
    """NumPy values and tuples as what `json` knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value
