"""Which model file a robot is drawn with: its own, a file of the user's, or MuJoCo Menagerie's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bridges.protocol import Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.files import expanded

if TYPE_CHECKING:
    from holosoma_jax.robots.robot import Robot

MENAGERIE = "menagerie"
MODELS = {"g1": "unitree_g1"}
"""Robot -> its folder in MuJoCo Menagerie, which has a T1 of 23 joints, without ours in the wrists, and no K1"""
KEY = "viewer.robot-xml"


def with_visual_model(robot: Robot, robot_xml: str | None) -> Robot:
    """`robot`, drawn with the model that `robot_xml` names.

    Args:
      robot: the record.
      robot_xml: an MJCF or URDF file, 'menagerie', or None for the robot's own model.

    Raises:
      ConfigError: there is no such model, or a joint of it does not match; names the joint.
    """
    if robot_xml is None:
        return robot
    from holosoma_jax.render import scene, visual_model, visual_spec

    path = menagerie(robot.name) if robot_xml == MENAGERIE else expanded(robot_xml)
    if not path.is_file():
        raise ConfigError(f"{KEY}: '{robot_xml}' is no file; give an MJCF or URDF file, or 'menagerie'.")
    try:
        visual_spec.read(path, robot.joint_names, complete=True)
        model = scene.scene_model(path, Ground(), 64, 64, joint_names=robot.joint_names)
        visual_model.bind(model, robot.joint_names, path, robot.mjcf)
    except visual_spec.MisfitError as error:
        raise ConfigError(f"{KEY}: {error}") from None
    return replace(robot, visual_mjcf=path.resolve())


def menagerie(robot: str) -> Path:
    """The MJCF of `robot` in MuJoCo Menagerie, downloaded if it is not there yet.

    Raises:
      ConfigError: the package is missing, has no such robot, or cannot download.
    """
    if robot not in MODELS:
        raise ConfigError(
            f"{KEY}: MuJoCo Menagerie has no '{robot}' with the same joints, only {', '.join(MODELS)}. "
            "Give an MJCF file."
        )
    try:
        import mujoco_menagerie  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise ConfigError(
            f"{KEY}: '{MENAGERIE}' needs the package mujoco-menagerie. Fix: pip install mujoco-menagerie."
        ) from None
    try:
        model = mujoco_menagerie.get(MODELS[robot])
        return Path(model.xml(model.default_model))
    except (mujoco_menagerie.MenagerieError, OSError) as error:
        raise ConfigError(
            f"{KEY}: MuJoCo Menagerie could not bring {MODELS[robot]}: {' '.join(str(error).split())}"
        ) from None
