"""What term functions read: one frozen record a control step, and the quantities derived from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import SimState
from holosoma_jax import rotations
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.robots.robot import Robot

_BASE_GRID = (-0.1, 0.0, 0.1)  # m


VELOCITY = "locomotion_command"
"""The command term that `View.command` reads; a command of one's own takes its place under this name."""
GAIT = "locomotion_gait"
"""The command term that `View.phase` reads."""


class Values(Mapping[str, Any]):
    """What the terms of one kind show to the others, by name; a missing one is a `ConfigError`."""

    def __init__(self, kind: str, values: Mapping[str, Any]):
        """The values of a kind's terms; `kind` is for the message."""
        self._kind, self._values = kind, values

    def __getitem__(self, name: str) -> Any:
        """The value of term `name`."""
        if name not in self._values:
            known = ", ".join(self._values) or "none"
            raise ConfigError(
                f"a term reads the {self._kind} '{name}', which is not configured. Configured: {known}."
            )
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a term."""
        return name in self._values

    def get(self, name: str, default: Any = None) -> Any:
        """The value of term `name`, or `default`."""
        return self._values.get(name, default)

    def __iter__(self) -> Iterator[str]:
        """Names, in the order of the config."""
        return iter(self._values)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._values)


@dataclass(frozen=True, eq=False)
class View:
    """The state that a term may look at.

    E environments, J joints, B bodies. Static facts (`scene`) are Python values; the rest are traced
    arrays. Built inside the step, so properties cost nothing that XLA cannot merge.
    """

    scene: Scene
    sim: SimState
    action: jax.Array
    """[E, J] the policy's output of this step, neither clipped nor delayed; zero after a reset"""
    prev_action: jax.Array
    """[E, J] the same, one step earlier"""
    default_joint_pos: jax.Array
    """[E, J] rad, the pose of a zero action (with the per-environment bias, if any)"""
    episode_step: jax.Array
    """[E] int32, control steps since the reset"""
    origin: jax.Array
    """[E, 3] m, world position of the tile that the episode started on"""
    commands: Mapping[str, Any]
    """term -> its value"""
    curricula: Mapping[str, Any]
    """term -> its value"""
    randomization: Mapping[str, Any]
    """term -> its value"""
    command_ranges: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """axis -> (low, high) that a curriculum sets; commands draw from it instead of their own range"""
    terminated: jax.Array | None = None
    """[E] bool, failed in this step; known after the terminations"""
    finished: jax.Array | None = None
    """[E] bool, the episode ended in this step by failure or time-out, not by a non-finite state; known
    after the rewards"""

    @property
    def robot(self) -> Robot:
        """Of the scene."""
        return self.scene.robot

    @property
    def terrain(self) -> Terrain:
        """Of the scene."""
        return self.scene.terrain

    @property
    def control_dt(self) -> float:
        """Of the scene, s."""
        return self.scene.control_dt

    @property
    def max_episode_steps(self) -> int:
        """Of the scene, control steps."""
        return self.scene.max_episode_steps

    @property
    def command(self) -> jax.Array:
        """[E, 3] m/s, m/s, rad/s: forward, left, yaw rate, base frame: the command named `VELOCITY`."""
        value = self.commands[VELOCITY]
        if jnp.shape(value)[1:] != (3,):  # JAX reads an entry that is not there as the last one
            raise ConfigError(
                f"commands term '{VELOCITY}': its value has the shape {jnp.shape(value)}, wanted [E, 3]: forward, left "
                "and yaw rate."
            )
        return value

    @property
    def phase(self) -> jax.Array:
        """[E, 2] rad in [-pi, pi], gait phase of the left and right foot: the command named `GAIT`."""
        clock = self.commands[GAIT]
        if not hasattr(clock, "phase"):
            raise ConfigError(
                f"commands term '{GAIT}': its value is a {type(clock).__name__}, and has no `phase`."
            )
        return clock.phase

    @property
    def soft_limits(self) -> tuple[jax.Array, jax.Array]:
        """Lower and upper [1, J] rad: the joint ranges shrunk about their middle."""
        return self.limits_at(self.robot.soft_limit_factor)

    @property
    def base_lin_vel(self) -> jax.Array:
        """[E, 3] m/s, base frame."""
        return rotations.rotate_inverse(self.sim.root_quat, self.sim.root_lin_vel)

    @property
    def base_ang_vel(self) -> jax.Array:
        """[E, 3] rad/s, base frame."""
        return rotations.rotate_inverse(self.sim.root_quat, self.sim.root_ang_vel)

    @property
    def projected_gravity(self) -> jax.Array:
        """[E, 3] unit gravity direction, base frame."""
        return rotations.projected_gravity(self.sim.root_quat)

    @property
    def feet_pos(self) -> jax.Array:
        """[E, 2, 3] m, left and right foot body, world frame."""
        return self.sim.body_pos[:, self._bodies(self.robot.feet_bodies)]

    @property
    def feet_quat(self) -> jax.Array:
        """[E, 2, 4] w x y z."""
        return self.sim.body_quat[:, self._bodies(self.robot.feet_bodies)]

    @property
    def feet_contact_force(self) -> jax.Array:
        """[E, 2, 3] N, world frame."""
        return self.sim.contact_force[:, self._bodies(self.robot.feet_bodies)]

    @property
    def foot_height(self) -> jax.Array:
        """[E, 2] m, height of the sole markers above the ground below them."""
        return self.height_of(self.robot.foot_height_bodies)

    @property
    def joint_offset(self) -> jax.Array:
        """[E, J] rad, joint positions relative to the default pose."""
        return self.sim.joint_pos - self.default_joint_pos

    @property
    def base_height(self) -> jax.Array:
        """[E] m, height of the root above the ground around it.

        The ground is the mean of the middle five of nine heights, on a grid of 0.1 m that turns with
        the robot's heading, so that one pit does not count (as in holosoma).
        """
        if self.terrain.ground.heights is None:  # a plane: XLA would sort its zeros at compile time, slowly
            return self.sim.root_pos[:, 2]
        yaw = rotations.heading(self.sim.root_quat)[:, None]
        x, y = (row(axis.ravel()) for axis in np.meshgrid(_BASE_GRID, _BASE_GRID))
        turned = jnp.stack([jnp.cos(yaw) * x - jnp.sin(yaw) * y, jnp.sin(yaw) * x + jnp.cos(yaw) * y], -1)
        ground = jnp.sort(self.terrain.height(self.sim.root_pos[:, None, :2] + turned), axis=-1)
        return self.sim.root_pos[:, 2] - jnp.mean(ground[:, 2:7], axis=-1)

    def limits_at(self, share: float) -> tuple[jax.Array, jax.Array]:
        """Lower and upper [1, J] rad: the joint ranges shrunk to `share` about their middle."""
        lower, upper = row(self.robot.joint_lower), row(self.robot.joint_upper)
        middle, half = 0.5 * (lower + upper), 0.5 * share * (upper - lower)
        return middle - half, middle + half

    def height_of(self, bodies: tuple[str, ...]) -> jax.Array:
        """[E, len(bodies)] m, height of the named bodies' origins above the ground below them."""
        origins = self.sim.body_pos[:, self._bodies(bodies)]
        return origins[..., 2] - self.terrain.height(origins[..., :2])

    def contact_force_of(self, bodies: tuple[str, ...]) -> jax.Array:
        """[E, len(bodies), 3] N, net contact force on the named bodies, world frame."""
        return self.sim.contact_force[:, self._bodies(bodies)]

    def _bodies(self, names: tuple[str, ...]) -> np.ndarray:
        return self.robot.body_index(*names)


def row(values: object) -> jax.Array:
    """A per-joint constant [J] as [1, J] float32, to meet arrays [E, J] without rank promotion."""
    return jnp.asarray(values, jnp.float32)[None]
