"""The config that a policy file without one is run with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from holosoma_jax import robots
from holosoma_jax.config import compose, keys
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion.formats import policy_graph
from holosoma_jax.policy.foreign import adapter, observation_names
from holosoma_jax.policy.loaded import INPUT_NAME, LoadedPolicy
from holosoma_jax.robots.joint_order import plain_name
from holosoma_jax.robots.robot import Robot

PRESETS: Mapping[str, str] = {"g1": "g1-29dof", "t1": "t1-29dof", "k1": "k1-22dof"}
"""Robot -> the preset that a policy file without a config is run with; with ``-wbt`` that of motion tracking."""
MOTION = "motion_command"
"""The command term that follows a clip."""


def make(
    file: LoadedPolicy, asset: str | None = None, config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The config that the file is run with: `config`, or the preset of its robot on flat ground.

    Observations, rates, clips and command ranges are the file's where it states them.

    Args:
      file: the policy.
      asset: the robot that the person names.
      config: the config that the person gives.

    Raises:
      ConfigError: no robot has these joints; a term of the file's layout is not known here.
    """
    if config is not None:
        result = dict(config)
        _require_task(file, result)
    else:
        asset = asset or _robot_of(file)
        preset = PRESETS.get(asset, PRESETS["g1"])
        terrain = "terrain:terrain-locomotion-plane"
        if file.clip:
            preset, terrain = f"{preset}-wbt", "terrain:terrain-plane"
        cfg = compose.load([f"exp:{preset}", "simulator:mujoco", terrain])
        result = compose.to_mapping(cfg)
        result["robot"]["asset"] = asset
        adapter.joint_index(file, robots.load(asset))
    meta = file.metadata
    if file.observation_layout is not None:
        groups = result["observation"]["groups"]
        known = {name: term for group in groups.values() for name, term in group["terms"].items()}
        known |= groups[INPUT_NAME]["terms"]
        groups[INPUT_NAME] = groups[INPUT_NAME] | _observed(file, known)
    if clip := meta.get("observation_clip"):
        result["observation"]["clip_observations"] = float(clip)
    if clip := meta.get("action_clip"):
        result["robot"]["control"]["action_clip_value"] = float(clip)
    if _needs_implicit_damping(file, robots.load(result["robot"]["asset"]), result):
        for engine in ("mujoco", "mujoco_warp"):
            result["simulator"]["config"][engine]["integrator"] = "implicitfast"
    if dt := meta.get("control_dt"):
        result["simulator"]["config"]["sim"]["control_decimation"] = _decimation(file, float(dt), result)
    ranges = meta.get("command_ranges")
    if ranges and not file.clip:
        params = result["command"]["setup_terms"]["locomotion_command"]["params"]
        params["command_ranges"] = dict(params["command_ranges"]) | dict(ranges)
    return result


def follow_clip(config: Mapping[str, Any], file: LoadedPolicy) -> dict[str, Any]:
    """`config` with the clip inside `file` as what is tracked, with its bodies and anchor where it names them.

    Args:
      config: a tracking config, as `compose.to_mapping` writes it.
      file: a policy with a clip.
    """
    bodies, anchor = policy_graph.bodies_of(file.metadata)
    motion: dict[str, Any] = {
        "motion_file": str(file.path),
        "motion_dir": "",
        "enable_default_pose_prepend": False,  # the clip has what it was exported with
        "enable_default_pose_append": False,
        "body_velocities": "computed",
    }
    if bodies is not None:
        motion["body_names_to_track"] = list(bodies)
    if anchor is not None:
        motion["body_name_ref"] = [anchor]
    command = {"setup_terms": {MOTION: {"params": {"motion_config": motion}}}}
    result = keys.overlay(config, {"command": command})
    result["command"]["setup_terms"][MOTION]["params"]["motion_config"]["clip_weights"] = {}  # of other names
    return result


def _require_task(file: LoadedPolicy, config: Mapping[str, Any]) -> None:
    """Raise ConfigError where a given config is of another task than the file."""
    tracks = MOTION in config["command"]["setup_terms"]
    if file.clip and not tracks:
        raise ConfigError(
            f"{file.path}: tracks the motion clip that it holds, the given config has no '{MOTION}'; leave the config "
            "out, or give one such as exp:g1-29dof-wbt."
        )
    if tracks and not file.clip:
        raise ConfigError(
            f"{file.path}: holds no motion clip, the given config tracks one; leave the config out, or give one such "
            "as exp:g1-29dof."
        )


def _robot_of(file: LoadedPolicy) -> str:
    """The built-in robot with the file's joints, in any order; else the first that has all of them."""
    joints = {asset: set(map(plain_name, robots.load(asset).joint_names)) for asset in PRESETS}
    names = set(map(plain_name, file.dof_names))
    same = [asset for asset, of_robot in joints.items() if names == of_robot]
    if found := same or [asset for asset, of_robot in joints.items() if names < of_robot]:
        return found[0]
    known = ", ".join(f"{asset} ({len(of_robot)} joints)" for asset, of_robot in joints.items())
    raise ConfigError(
        f"{file.path}: its {len(file.dof_names)} joints ({file.dof_names[0]}, ...) are of no robot known here: "
        f"{known}. Name yours with --robot.asset or --config."
    )


def _needs_implicit_damping(file: LoadedPolicy, robot: Robot, config: Mapping[str, Any]) -> bool:
    """Whether the file's damping is for a simulator that integrates it implicitly, as PhysX does.

    Explicit integration of a damping kd diverges where kd * dt > 2 * inertia, of which the armature is the part
    that does not depend on the pose. unitree_rl_lab's arms have kd 10 on 0.004 kg m^2.
    """
    if file.kd is None:
        return False
    dt = 1.0 / config["simulator"]["config"]["sim"]["fps"]
    return bool(np.any(file.kd * dt > 2.0 * robot.armature[adapter.joint_index(file, robot)]))


def _decimation(file: LoadedPolicy, control_dt: float, config: Mapping[str, Any]) -> int:
    """Physics steps in `control_dt` s.

    Raises:
      ConfigError: they are not a whole number.
    """
    fps = config["simulator"]["config"]["sim"]["fps"]
    steps = round(control_dt * fps)
    if steps < 1 or abs(steps / fps - control_dt) > 1e-4:
        raise ConfigError(
            f"{file.path}: it acts every {control_dt:g} s, which is no whole number of physics steps at "
            f"{fps} Hz; choose --simulator.config.sim.fps and --policy.control-dt to match."
        )
    return steps


def _observed(file: LoadedPolicy, known: Mapping[str, Any]) -> dict[str, Any]:
    """Terms in the file's order, with its scales and its longest history, and the preset's noise."""
    layout = file.observation_layout or ()
    terms = {}
    for term in layout:
        for part in observation_names.parts(str(term["name"])):
            name = part.term
            if name not in known and name not in observation_names.known():
                raise ConfigError(
                    f"{file.path}: it observes '{name}', which the preset of its robot does not. "
                    f"Known: {', '.join(known)}; give --policy.observation-names."
                )
            default = known.get(name, {"func": "", "scale": 1.0, "noise": 0.0, "params": {}})
            scale = term.get("scale", default["scale"])
            uniform = isinstance(scale, (int, float))
            terms.setdefault(name, dict(default) | {"scale": float(scale) if uniform else 1.0})
    frames = max(term["history_length"] for term in layout)
    fill = next((term["history_fill"] for term in layout if "history_fill" in term), "zero")
    return {"terms": terms, "history_length": frames, "history_fill": fill, "order": list(terms)}
