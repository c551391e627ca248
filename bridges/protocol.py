"""What a simulator hands over, what it is asked to do, and in which units.

A bridge is values in, values out: every call takes the ``physics`` value that the previous call
returned. A *traceable* bridge (MJWarp) keeps its true state there, so a whole rollout can be one
compiled program. The others keep their state in place; their ``physics`` is a token, and using an
old one raises `StalePhysicsError`.

Conventions, for every bridge: float32, SI units, world frame with z up, quaternions w x y z,
joints and bodies in the robot's order. Velocities are those of the link frame's origin.
E = number of environments, J = joints, B = bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from holosoma_jax.runtime import ExpectedFailure

Array: TypeAlias = Any
"""A JAX array, or a NumPy array where a function accepts both."""

Physics: TypeAlias = Any
"""A bridge's physics value: a pytree of arrays (traceable) or a token (stateful)."""


class SimState(NamedTuple):
    """All that the environment functions see of a simulator after a control step.

    Arrays may be *borrowed* from the simulator: they are valid until the bridge's next call
    (`bridges.exchange`). Copy what has to live longer.
    """

    root_pos: Array
    """[E, 3] m"""
    root_quat: Array
    """[E, 4] w x y z, body to world"""
    root_lin_vel: Array
    """[E, 3] m/s, world frame, at the root link's origin"""
    root_ang_vel: Array
    """[E, 3] rad/s, world frame"""
    joint_pos: Array
    """[E, J] rad"""
    joint_vel: Array
    """[E, J] rad/s"""
    body_pos: Array
    """[E, B, 3] m"""
    body_quat: Array
    """[E, B, 4] w x y z"""
    body_lin_vel: Array
    """[E, B, 3] m/s, world frame, at each link's origin"""
    body_ang_vel: Array
    """[E, B, 3] rad/s, world frame"""
    contact_force: Array
    """[E, B, 3] N, world frame: net contact force *on* each body at the last physics step"""
    object_pos: Array | None = None
    """[E, 3] m, of the box beside the robot; this and what follows are None without `BridgeSpec.has_object`"""
    object_quat: Array | None = None
    """[E, 4] w x y z"""
    object_lin_vel: Array | None = None
    """[E, 3] m/s, world frame, at the middle of the box"""
    object_ang_vel: Array | None = None
    """[E, 3] rad/s, world frame"""


class Pose(NamedTuple):
    """Root and joint state to write into the environments that are reset."""

    root_pos: Array
    """[E, 3] m"""
    root_quat: Array
    """[E, 4] w x y z"""
    root_lin_vel: Array
    """[E, 3] m/s, world frame"""
    root_ang_vel: Array
    """[E, 3] rad/s, world frame"""
    joint_pos: Array
    """[E, J] rad"""
    joint_vel: Array
    """[E, J] rad/s"""
    object_pos: Array | None = None
    """[E, 3] m, of the box, if there is one; None: the box is put at its own initial place, at rest. All four
    are given, or none"""
    object_quat: Array | None = None
    """[E, 4] w x y z"""
    object_lin_vel: Array | None = None
    """[E, 3] m/s, world frame"""
    object_ang_vel: Array | None = None
    """[E, 3] rad/s, world frame"""


OBJECT_STATE = ("object_pos", "object_quat", "object_lin_vel", "object_ang_vel")
"""Fields of `SimState` and of `Pose` that are None where there is no object."""


class PhysicsParams(NamedTuple):
    """Physical parameters of each environment; a field that is None stays as it is.

    Every field is relative to the robot's nominal model, so writing the same values twice changes
    nothing: ratios multiply the nominal value, offsets are added to it.
    """

    mass_ratio: Array | None = None
    """[E, B] mass over nominal mass; the inertia tensor scales by the same ratio"""
    com_offset: Array | None = None
    """[E, B, 3] m, added to the nominal centre of mass, body frame"""
    friction: Array | None = None
    """[E] sliding friction coefficient in force at the robot's contacts, feet included"""
    kp_scale: Array | None = None
    """[E, J] multiplies the PD stiffness"""
    kd_scale: Array | None = None
    """[E, J] multiplies the PD damping"""
    armature_ratio: Array | None = None
    """[E, J] reflected rotor inertia over nominal"""
    object_mass_ratio: Array | None = None
    """[E] mass of the box over nominal; its inertia scales by the same ratio"""
    object_inertia_ratio: Array | None = None
    """[E, 3] principal moments of inertia of the box over what its mass makes of the nominal ones"""
    object_friction: Array | None = None
    """[E] sliding friction coefficient in force at all contacts of the box"""


OBJECT_PARAMS = ("object_mass_ratio", "object_inertia_ratio", "object_friction")
"""Fields of `PhysicsParams` that need an object; the others are the robot's, `ROBOT_PARAMS`."""
ROBOT_PARAMS = tuple(name for name in PhysicsParams._fields if name not in OBJECT_PARAMS)


@dataclass(frozen=True, eq=False)
class Ground:
    """The surface the robot stands on, as data that every bridge can build.

    ``heights`` None is the infinite plane z = 0. Otherwise ``heights[i, j]`` [rows, cols] in m is
    the height at x = corner[0] + i * cell, y = corner[1] + j * cell; each cell is two triangles
    split along the diagonal from (i, j) to (i + 1, j + 1).
    """

    heights: np.ndarray | None = None
    cell: float = 0.1
    """m between neighbouring grid points"""
    corner: tuple[float, float] = (0.0, 0.0)
    """m, world x and y of heights[0, 0]"""


@dataclass(frozen=True)
class BridgeSpec:
    """Names and rates of a running bridge; everything in it is static under jit."""

    simulator: str
    """its name in messages, such as 'mujoco'"""
    num_envs: int
    """rows E of the arrays; of a traceable simulator on several devices, those of one device"""
    joint_names: tuple[str, ...]
    body_names: tuple[str, ...]
    physics_dt: float
    """s, one physics sub-step"""
    decimation: int
    """physics sub-steps per control step"""
    randomizes: frozenset[str]
    """names of the `PhysicsParams` fields that this simulator can change"""
    traceable: bool = False
    """True: every method may be called inside jit, and ``physics`` is the whole state"""
    repeatable: bool = True
    """True: equal calls give equal bits; False: up to rounding, which contacts magnify"""
    has_object: bool = False
    """a free box, `Robot.object`, is simulated beside each robot"""

    @property
    def control_dt(self) -> float:
        """Seconds per control step."""
        return self.physics_dt * self.decimation


class StalePhysicsError(RuntimeError):
    """A stateful bridge was given a physics token that is not its newest."""


class UnsupportedRandomization(NotImplementedError):
    """A `PhysicsParams` field was given that this simulator cannot change."""


class SimulatorError(ExpectedFailure):
    """The simulator itself failed (its process died, hangs, ran out of memory); its state is lost."""


class CapacityError(RuntimeError):
    """A simulator left something out because a buffer was too small; names the setting and the value."""


@runtime_checkable
class Bridge(Protocol):
    """One simulator running ``spec.num_envs`` copies of one robot."""

    spec: BridgeSpec

    def init(self) -> Physics:
        """Physics value of freshly built environments, robots at their initial pose."""
        ...

    def reset(self, physics: Physics, mask: Array, pose: Pose) -> tuple[Physics, SimState]:
        """Write ``pose`` [E, ...] where ``mask`` [E] bool is true; the others are untouched.

        The returned state holds fresh kinematics for the environments that were reset.
        """
        ...

    def step(
        self, physics: Physics, targets: Array, torque_offset: Array | None = None
    ) -> tuple[Physics, SimState]:
        """Advance one control step: ``decimation`` physics sub-steps of PD control.

        torque = clip(kp * (target - q) - kd * qd + offset, +-torque_limit), re-evaluated from the
        current q and qd at every physics sub-step.

        Args:
          physics: the value that the previous call returned.
          targets: [E, J] rad, held during the control step.
          torque_offset: [E, decimation, J] N m added before the clip, or None.
        """
        ...

    def randomize(self, physics: Physics, params: PhysicsParams, mask: Array) -> Physics:
        """Set the given parameters [E, ...] where ``mask`` [E] is true.

        Raises:
          UnsupportedRandomization: a field is not in ``spec.randomizes``.
        """
        ...

    def set_root_velocity(
        self, physics: Physics, mask: Array, lin: Array, ang: Array
    ) -> tuple[Physics, SimState]:
        """Replace the root's world velocity [E, 3] m/s, rad/s where ``mask`` [E] is true."""
        ...

    def get_state(self, physics: Physics) -> Mapping[str, np.ndarray]:
        """Everything needed to continue bit for bit, as arrays [E, ...] (for checkpoints)."""
        ...

    def set_state(self, physics: Physics, state: Mapping[str, np.ndarray]) -> Physics:
        """Inverse of `get_state`; raises ValueError naming a missing or misshapen array."""
        ...

    def close(self) -> None:
        """Release threads and memory; the bridge must not be used afterwards."""
        ...


@runtime_checkable
class Hanging(Protocol):
    """A bridge whose simulator has the gantry of ``simulator.config.virtual_gantry``: ropes that hold robots.

    It needs no call: every reset hangs the robots up, and they are let go by the clock. This is for a person
    who does so by hand.
    """

    def hang(self, physics: Physics, mask: Array, length: Array) -> Physics:
        """Hold the robots of ``mask`` [E] by ropes of this rest length [E] m from above where they are.

        An infinite length lets go. Until their next reset, nothing else changes the ropes.
        """
        ...


@runtime_checkable
class Remote(Protocol):
    """A bridge whose simulator runs in another process, which may be of another Python."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Of that Python, of NumPy and of the simulator's packages, as far as they are installed there."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """A bridge whose simulator works in buffers of a fixed size."""

    def usage(self, physics: Physics) -> str:
        """One line: how much of its buffers was needed at most since `Bridge.init`."""
        ...

    def check(self, physics: Physics) -> None:
        """Make sure that everything has fitted so far.

        Raises:
          CapacityError: something was left out; names the setting and the value to use.
        """
        ...
