"""A gantry: a rope from a point above the robot's start that holds one of its links, and is paid out after a while.

The rope pulls and never pushes. holosoma's formula, with the force of a push cut off: with d the distance of the
root from the point and v its speed towards it,

    tension = max(0, stiffness * (d - length) - damping * v)

acts on the link's centre of mass towards the point, at every physics sub-step. Until `hold_s` after a reset its rest
length is what it was; then it grows by `height` within `release_s`, which sets the robot down; then it lets go.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bridges.protocol import Array
from holosoma_jax.config.errors import ConfigError

if TYPE_CHECKING:
    import mujoco

    from holosoma_jax.config.schema import VirtualGantryConfig
    from holosoma_jax.robots.robot import Robot

KEY = "simulator.config.virtual_gantry"
SLACK = 1e6
"""m: the rest length of a rope that holds nothing"""


class Ropes(NamedTuple):
    """The rope of every environment."""

    anchor: Any
    """[E, 3] m, the point it hangs from"""
    length: Any
    """[E] m, at rest, before anything is paid out"""
    manual: Any
    """[E] bool: somebody has set its length since the reset, so nothing is paid out"""


def attached(cfg: VirtualGantryConfig, robot: Robot, model: mujoco.MjModel) -> int:
    """Index in `model` of the link that the rope holds: the first of `attachment_body_names` that the robot has.

    Raises:
      ConfigError: it has none; or the rope is too stiff for the link and the time step, so that it would diverge.
    """
    name = next((name for name in cfg.attachment_body_names if name in robot.body_names), None)
    if name is None:
        raise ConfigError(
            f"{KEY}.attachment_body_names: got {list(cfg.attachment_body_names)}; robot '{robot.name}' has none of "
            f"them. Its root is {robot.root_body}."
        )
    dt, mass = float(model.opt.timestep), float(model.body(name).mass[0])
    if cfg.damping * dt + cfg.stiffness * dt * dt > mass:
        too_stiff = cfg.stiffness * dt * dt >= mass  # even without damping
        key, got, unit, largest = (
            ("stiffness", cfg.stiffness, "N/m", max(0.0, mass - cfg.damping * dt) / dt**2)
            if too_stiff
            else ("damping", cfg.damping, "N s/m", mass / dt - cfg.stiffness * dt)
        )
        raise ConfigError(
            f"{KEY}.{key}: got {got:g} {unit}; with {mass:.3g} kg of {name} and steps of {dt:g} s wanted "
            f"{largest:.3g} at most, or the robot would shake itself to pieces."
        )
    return model.body(name).id


def require(cfg: VirtualGantryConfig) -> None:
    """Raise RuntimeError where there are no ropes."""
    if not cfg.enabled:
        raise RuntimeError(f"this bridge was made without a gantry; set {KEY}.enabled.")


def finite_length(length: Array, xp: ModuleType = np) -> Any:
    """`length`, where what lets go is `SLACK`."""
    return xp.where(xp.isposinf(length), np.float32(SLACK), length)


def at_start(cfg: VirtualGantryConfig, robot: Robot, root_pos: Array, xp: ModuleType = np) -> Ropes:
    """Ropes of robots that start with their roots at `root_pos` [E, 3] m; `xp` is NumPy or jax.numpy."""
    above = xp.asarray([[0.0, 0.0, cfg.height - float(robot.init_pos[2])]], np.float32)
    anchor = root_pos + above if cfg.point is None else 0.0 * root_pos + xp.asarray([cfg.point], np.float32)
    ones = xp.ones(root_pos.shape[0], np.float32)
    return Ropes(anchor.astype(np.float32), cfg.length * ones, ones < 0)


def over(ropes: Ropes, root_pos: Array, length: Array, xp: ModuleType = np) -> Ropes:
    """`ropes` at their heights, above where the robots are now, with these rest lengths [E] m until the next reset."""
    anchor = xp.concatenate([root_pos[:, :2], ropes.anchor[:, 2:]], -1).astype(np.float32)
    return Ropes(anchor, length.astype(np.float32), xp.ones_like(ropes.manual))


def rest_length(cfg: VirtualGantryConfig, ropes: Ropes, time: Array, xp: ModuleType = np) -> Any:
    """[E] m at `time` [E] s after the reset; `SLACK` for a rope that has let go."""
    if cfg.hold_s is None:
        return ropes.length
    paying = (time - cfg.hold_s) / max(cfg.release_s, 1e-6)
    paid = ropes.length + xp.clip(paying, 0.0, 1.0) * cfg.height
    paid = xp.where(paying >= 1.0, SLACK, paid)
    return xp.where(ropes.manual, ropes.length, paid).astype(np.float32)


def tension(cfg: VirtualGantryConfig, anchor: Array, length: Array, pos: Array, vel: Array) -> np.ndarray:
    """Force [E, 3] N on the link, world frame.

    Args:
      cfg: stiffness and damping.
      anchor: [E, 3] m.
      length: [E] m.
      pos: [E, 3] m, of the root.
      vel: [E, 3] m/s, of the root, world frame.
    """
    rope = anchor - pos
    distance = np.linalg.norm(rope, axis=-1)
    direction = rope / np.maximum(distance, 1e-6)[:, None]
    speed = np.sum(vel * direction, axis=-1)
    pull = cfg.stiffness * (distance - length) - cfg.damping * speed
    return np.maximum(0.0, np.where(distance > length, pull, 0.0))[:, None] * direction
