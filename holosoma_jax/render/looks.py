"""Which model a robot is drawn with: its own, a file of the user's, or MuJoCo Menagerie's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from holosoma_jax.config.errors import ConfigError

if TYPE_CHECKING:
    from holosoma_jax.robots.robot import Robot

MENAGERIE = "menagerie"
MODELS = {"g1": "unitree_g1"}
"""Robot -> its folder in MuJoCo Menagerie, which has a T1 of 23 joints, without ours in the wrists, and no K1"""
KEY = "viewer.robot-xml"


def dress(robot: Robot, robot_xml: str | None) -> Robot:
    """`robot`, drawn as `robot_xml` says.

    Args:
      robot: the record.
      robot_xml: an MJCF file, 'menagerie', or None for the robot's own model.

    Raises:
      ConfigError: there is no such model, or a joint of it does not match; names the joint.
    """
    if robot_xml is None:
        return robot
    from holosoma_jax.render import visual_model

    path = menagerie(robot.name) if robot_xml == MENAGERIE else Path(robot_xml).expanduser()
    if not path.is_file():
        raise ConfigError(f"{KEY}: '{robot_xml}' is no file; give an MJCF file or 'menagerie'.")
    if path.suffix.lower() not in (".xml", ".mjcf", ".urdf"):  # else MuJoCo prints lines of its own
        raise ConfigError(f"{KEY}: '{robot_xml}' is no MJCF file; its name has to end in .xml.")
    try:
        visual_model.check(path, robot.joint_names, robot.mjcf)
    except visual_model.MisfitError as error:
        raise ConfigError(f"{KEY}: {error}") from None
    return replace(robot, looks=path.resolve())


def menagerie(robot: str) -> Path:
    """The MJCF of `robot` in MuJoCo Menagerie, downloaded where it is not there yet.

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
