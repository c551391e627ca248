"""Observation terms: `View` -> [E, dim], and how each frame looks in the mirror.

A term without noise, scale and history; `envs.observe` adds these. Every function of the locomotion task
has a twin in `MIRRORS`: the permutation and signs of its entries under the left-right reflection in the
x-z plane, so that symmetry never has to guess a layout. Those of whole-body tracking have none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from holosoma_jax.envs.terms.motion import observations as motion
from holosoma_jax.envs.view import View
from holosoma_jax.robots.robot import Robot


def actions(view: View) -> jax.Array:
    """[E, J] the action of this step, neither clipped nor delayed; zero after a reset."""
    return view.action


def base_ang_vel(view: View) -> jax.Array:
    """[E, 3] rad/s, base frame (what a gyroscope at the root measures)."""
    return view.base_ang_vel


def base_lin_vel(view: View) -> jax.Array:
    """[E, 3] m/s, base frame."""
    return view.base_lin_vel


def command_ang_vel(view: View) -> jax.Array:
    """[E, 1] rad/s, commanded yaw rate."""
    return view.command[:, 2:3]


def command_lin_vel(view: View) -> jax.Array:
    """[E, 2] m/s, commanded forward and left velocity."""
    return view.command[:, :2]


def cos_phase(view: View) -> jax.Array:
    """[E, 2] cosine of the gait phase of the left and right foot."""
    return jnp.cos(view.phase)


def sin_phase(view: View) -> jax.Array:
    """[E, 2] sine of the gait phase of the left and right foot."""
    return jnp.sin(view.phase)


def dof_pos(view: View) -> jax.Array:
    """[E, J] rad, joint positions relative to the default pose."""
    return view.joint_offset


def dof_vel(view: View) -> jax.Array:
    """[E, J] rad/s."""
    return view.sim.joint_vel


def projected_gravity(view: View) -> jax.Array:
    """[E, 3] unit gravity direction, base frame."""
    return view.projected_gravity


TERMS: dict[str, Callable[..., jax.Array]] = {
    "actions": actions,
    "base_ang_vel": base_ang_vel,
    "base_lin_vel": base_lin_vel,
    "command_ang_vel": command_ang_vel,
    "command_lin_vel": command_lin_vel,
    "cos_phase": cos_phase,
    "sin_phase": sin_phase,
    "dof_pos": dof_pos,
    "dof_vel": dof_vel,
    "projected_gravity": projected_gravity,
    **motion.TERMS,
}

MirrorMap = tuple[tuple[int, ...], tuple[float, ...]]
"""index, sign: entry i of the mirrored frame is sign[i] * frame[index[i]]."""


def _joints(robot: Robot) -> MirrorMap:
    return tuple(int(i) for i in robot.mirror_index), tuple(float(s) for s in robot.mirror_sign)


def _signs(*sign: float) -> Callable[[Robot], MirrorMap]:
    return lambda robot: (tuple(range(len(sign))), sign)


def _swap(robot: Robot) -> MirrorMap:
    # the feet exchange roles; for phases half a turn apart this equals negating both entries
    return (1, 0), (1.0, 1.0)


MIRRORS: dict[str, Callable[[Robot], MirrorMap]] = {
    "actions": _joints,
    "dof_pos": _joints,
    "dof_vel": _joints,
    "base_lin_vel": _signs(1.0, -1.0, 1.0),
    "base_ang_vel": _signs(-1.0, 1.0, -1.0),
    "projected_gravity": _signs(1.0, -1.0, 1.0),
    "command_lin_vel": _signs(1.0, -1.0),
    "command_ang_vel": _signs(-1.0),
    "cos_phase": _swap,
    "sin_phase": _swap,
}
"""Function name -> its mirror for a robot."""

Term = TypeVar("Term", bound=Callable[..., jax.Array])


def mirrored(*sign: float, like: str | None = None) -> Callable[[Term], Term]:
    """Decorator that says how an observation of your own looks in the mirror; symmetry needs to know.

    Args:
      sign: of every entry, 1, or -1 for what left and right turn round; or none of them, and
      like: a term of `MIRRORS` that is mirrored in the same way, such as 'dof_vel' for one entry a joint.

    Raises:
      ValueError: neither or both are given, or there is no such term.
    """
    if bool(sign) == (like is not None) or like not in (None, *MIRRORS):
        raise ValueError(
            f"mirrored: got signs {sign} and like={like!r}; wanted either signs or one of {', '.join(MIRRORS)}."
        )

    def mark(term: Term) -> Term:
        vars(term)["mirror"] = _signs(*sign) if like is None else MIRRORS[like]
        return term

    return mark


def mirror_of(name: str, function: Callable[..., jax.Array], robot: Robot) -> MirrorMap:
    """The mirror of a term, by its function's name or its own word (`mirrored`); empty if nobody says."""
    mirror = MIRRORS.get(name) or getattr(function, "mirror", None)
    return mirror(robot) if mirror else ((), ())
