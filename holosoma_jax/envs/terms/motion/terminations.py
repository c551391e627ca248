"""Ends of tracking episodes: the robot is too far from the clip, or the clip is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from holosoma_jax import rotations
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.schema.types import PositiveFloat
from holosoma_jax.envs.terms.motion import objects
from holosoma_jax.envs.terms.motion.reference import anchors, clip_bounds, motion_of, robot_bodies, state_of
from holosoma_jax.envs.terms.term import Term
from holosoma_jax.envs.view import View

EARLY = 5
"""Control steps after a reset within which a failure is the start's, not the policy's."""


def bad_tracking(
    *,
    bad_ref_pos_threshold: PositiveFloat = 0.5,
    bad_ref_ori_threshold: PositiveFloat = 0.8,
    bad_motion_body_pos_threshold: PositiveFloat = 0.25,
    bad_motion_body_pos_body_names: tuple[str, ...] | None = None,
    height_only: bool = True,
) -> Term:
    """The anchor is too far or tilted, or one of some bodies is too far from its aligned target.

    Args:
      bad_ref_pos_threshold: m, of the anchor.
      bad_ref_ori_threshold: of the difference in the vertical component of gravity in the anchor's frame,
        from 0 (upright) to 2 (upside down).
      bad_motion_body_pos_threshold: m.
      bad_motion_body_pos_body_names: tracked bodies that it holds for; default: the robot's feet and hands.
      height_only: compare heights; False: positions.

    Raises:
      ConfigError: no body is listed.
    """
    if bad_motion_body_pos_body_names == ():
        raise ConfigError("bad_motion_body_pos_body_names: is empty; list tracked bodies, e.g. the feet.")
    limits = {
        "bad_ref_pos": bad_ref_pos_threshold,
        "bad_ref_ori": bad_ref_ori_threshold,
        "bad_motion_body_pos": bad_motion_body_pos_threshold,
    }

    def apply(view: View, state: Any) -> tuple[jax.Array, Any]:
        found = errors(view, bad_motion_body_pos_body_names, height_only)
        return jnp.stack([found[name] > limit for name, limit in limits.items()]).any(0), state

    def metrics(view: View, state: Any) -> Mapping[str, Any]:
        """Of the episodes that end within `EARLY` steps: their share, and what ended them, with its error."""
        del state
        assert view.finished is not None and view.terminated is not None
        found = errors(view, bad_motion_body_pos_body_names, height_only)
        early = view.finished & view.terminated & (view.episode_step <= EARLY)
        ended = jnp.sum(view.finished.astype(jnp.float32))
        reported: dict[str, Any] = {"bad_tracking/early": (jnp.sum(early.astype(jnp.float32)), ended)}
        for name, limit in limits.items():
            mine = (early & (found[name] > limit)).astype(jnp.float32)
            reported[f"bad_tracking/early/{name}"] = (jnp.sum(mine), ended)
            reported[f"bad_tracking/early/{name}_error"] = (jnp.sum(mine * found[name]), jnp.sum(mine))
        return reported

    return Term(apply=apply, metrics=metrics)


def errors(view: View, bodies: tuple[str, ...] | None, height_only: bool) -> dict[str, jax.Array]:
    """What `bad_tracking` compares with its thresholds, each [E]; the worst of the `bodies`, or of feet and hands.

    Raises:
      ConfigError: a body is not tracked.
    """
    tracked = motion_of(view.scene).bodies
    if bodies is None:
        bodies = view.robot.end_bodies
    for body in bodies:
        if body not in tracked:
            raise ConfigError(
                f"termination 'bad_tracking': bad_motion_body_pos_body_names: '{body}' is not tracked."
                f"{nearest(body, tracked)}"
            )
    rows = jnp.asarray([tracked.index(body) for body in bodies])
    theirs, ours = anchors(view)
    anchor = theirs.pos - ours.pos
    off = (state_of(view).target_pos - robot_bodies(view).pos)[:, rows]
    tilt = rotations.projected_gravity(theirs.quat)[:, 2] - rotations.projected_gravity(ours.quat)[:, 2]

    def size(vectors: jax.Array) -> jax.Array:
        return jnp.abs(vectors[..., 2]) if height_only else jnp.linalg.norm(vectors, axis=-1)

    return {
        "bad_ref_pos": size(anchor),
        "bad_ref_ori": jnp.abs(tilt),
        "bad_motion_body_pos": size(off).max(-1),
    }


def motion_ends(view: View) -> jax.Array:
    """The clip's last frame has been reached [E]."""
    frame = state_of(view).frame
    return frame >= clip_bounds(view.scene, frame)[1] - 1


TERMS: dict[str, Callable[..., Any]] = {
    "bad_tracking": bad_tracking,
    "motion_ends": motion_ends,
    **objects.TERMINATIONS,
}
