"""What is said about a policy beside its file: in a YAML file, and by the flags --policy.*.

Two kinds of YAML are read: ours, with the keys of `PolicyArgs`, and the ``deploy.yaml`` of unitree_rl_lab.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.schema.evaluation import PolicyArgs
from holosoma_jax.policy.foreign.observed_terms import RESTATED
from holosoma_jax.robots import joint_order

DEPLOY = "deploy.yaml"
_TERMS = ("observation_names", "observation_layout")
_ALL = (None, [None, None, None])  # slice(None), too
_FREE = 10.0  # rad: a limit of the joint target beyond this one limits nothing
LARGEST = 1_000_000
"""bytes of a YAML file"""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, and two of the Python values that Isaac Lab's exporters write, as plain lists."""


def _as_list(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.constructor.ConstructorError(None, None, f"{node.tag} without a list", node.start_mark)
    return loader.construct_sequence(node)


for _tag in ("object/apply:builtins.slice", "tuple"):
    _Loader.add_constructor(f"tag:yaml.org,2002:python/{_tag}", _as_list)


def gather(path: Path, args: PolicyArgs | None = None, asset: str | None = None) -> dict[str, Any]:
    """Everything that is stated about the policy `path` outside of it, under the keys of its metadata.

    Flags come before ``<policy>.yaml`` beside the file, which comes before unitree's ``deploy.yaml`` (beside the
    file, or in ``params`` beside its folder).

    Args:
      path: the policy's file.
      args: the flags.
      asset: the robot, where the person names one; a robot's own order of joints is its.

    Raises:
      ConfigError: a YAML file cannot be read or has a key that means nothing.
    """
    result: dict[str, Any] = {}
    for file in (path.parent.parent / "params" / DEPLOY, path.parent / DEPLOY, path.with_suffix(".yaml")):
        if file.is_file():
            result = _laid_over(result, _read(file, asset))
    flags = {key: value for key, value in asdict(args or PolicyArgs()).items() if value is not None}
    return _laid_over(result, _named(flags, "--policy", asset))


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with `above` in its place; terms that `above` lists take the place of a layout, and of its scales."""
    if any(key in above for key in _TERMS):
        below = {key: value for key, value in below.items() if key not in (*_TERMS, *RESTATED)}
    return {**below, **above}


def _read(file: Path, asset: str | None) -> dict[str, Any]:
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"it holds {file.stat().st_size / 1e6:.0f} MB")
        content = yaml.load(file.read_text(), _Loader)
    except Exception as error:  # an explicit tag (!!bool maybe) or deep brackets may fail in any way
        raise ConfigError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, Mapping):
        raise ConfigError(f"{file}: got {type(content).__name__}, wanted lines like `kp: 40.0`.")
    if "joint_ids_map" in content:
        return _unitree(content, file, asset)
    known = [field.name for field in fields(PolicyArgs)]
    for key in content:
        if key not in known:
            raise ConfigError(
                f"{file}: unknown key '{key}'.{nearest(str(key), known)} Known: {', '.join(known)}."
            )
    return _named({key: value for key, value in content.items() if value is not None}, str(file), asset)


def _named(values: Mapping[str, Any], source: str, asset: str | None) -> dict[str, Any]:
    """`values` with `joint_order` replaced by the names that it means, and tuples by lists."""
    result = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    order = result.pop("joint_order", None)
    if order is not None:
        if order not in ("mjcf", "isaaclab"):
            raise ConfigError(f"{source}: joint_order: got '{order}'; wanted mjcf or isaaclab.")
        if "joint_names" in result:
            raise ConfigError(f"{source}: joint_order and joint_names both say it; leave one of them out.")
        robot = robots.load(asset or "g1")
        result["joint_names"] = list(
            robot.joint_names if order == "mjcf" else joint_order.breadth_first(robot)
        )
    if "joint_names" in result:
        result["dof_names"] = result.pop("joint_names")
    return result


def _unitree(content: Mapping[str, Any], file: Path, asset: str | None) -> dict[str, Any]:
    """Unitree's deploy.yaml: gains in the order of the motors, the rest in the order of the policy's joints.

    Raises:
      ConfigError: it is for another number of joints than the robot's, or asks for what cannot be done here.
    """
    robot = robots.load(asset or "g1")
    try:
        motors = [int(i) for i in content["joint_ids_map"]]
        stiffness, damping = ([float(v) for v in content[key]] for key in ("stiffness", "damping"))
        action = content["actions"]["JointPositionAction"]
        names = list(content.get("joint_names") or robot.joint_names)
        if (
            sorted(motors) != list(range(len(names)))
            or len(stiffness) != len(damping)
            or len(stiffness) != len(names)
        ):
            raise ConfigError(
                f"{file}: joint_ids_map has {len(motors)} entries, stiffness {len(stiffness)}; robot '{robot.name}' "
                f"has {len(names)} joints. Name the robot with --robot.asset."
            )
        default = [float(v) for v in content["default_joint_pos"]]
        if action.get("joint_ids") not in _ALL or not np.allclose(action["offset"], default, atol=2e-3):
            raise ConfigError(
                f"{file}: its actions move some joints only, or about another pose than default_joint_pos; "
                "neither can be done here."
            )
        limits = action.get("clip")
        if limits is not None and np.min(np.abs(np.asarray(limits, np.float64))) < _FREE:
            raise ConfigError(f"{file}: it clips joint targets to {limits} rad; that cannot be done here.")
        layout = [
            {
                "name": name,
                "scale": term.get("scale"),
                "history_length": term.get("history_length") or 1,
                "history_fill": "first",  # as unitree_rl_lab's program for the robot, and Isaac Lab
                "clip": term.get("clip"),
            }
            for name, term in content["observations"].items()
        ]
        result: dict[str, Any] = {
            "dof_names": [names[motor] for motor in motors],
            "kp": [stiffness[motor] for motor in motors],
            "kd": [damping[motor] for motor in motors],
            "default_joint_pos": default,
            "action_scale": action["scale"],
            "control_dt": float(content["step_dt"]),
            "observation_layout": layout,
        }
        ranges = ((content.get("commands") or {}).get("base_velocity") or {}).get("ranges") or {}
        axes = {"lin_vel_x": "lin_vel_x", "lin_vel_y": "lin_vel_y", "ang_vel_z": "ang_vel_yaw"}
        stated = {ours: list(ranges[theirs]) for theirs, ours in axes.items() if ranges.get(theirs)}
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ConfigError(
            f"{file}: not a deploy.yaml of unitree_rl_lab: {type(error).__name__} {error}."
        ) from None
    return result | ({"command_ranges": stated} if stated else {})
