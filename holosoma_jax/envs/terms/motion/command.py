"""The motion command: which frame of which clip each robot is to be in, where it is placed, and how well it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bridges.protocol import OBJECT_STATE, Pose
from holosoma_jax import rotations
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms.motion import objects, sampler
from holosoma_jax.envs.terms.motion.config import MotionConfig
from holosoma_jax.envs.terms.motion.reference import (
    MotionState,
    align,
    anchors,
    clip_bounds,
    frames_at,
    motion_of,
    reference,
    reference_bodies,
    robot_bodies,
)
from holosoma_jax.envs.terms.term import Command, where
from holosoma_jax.envs.view import View
from holosoma_jax.motion.batch import Frames

LISTED_CLIPS = 32
"""With more clips, success is reported over all of them only."""


class FrameDraw(NamedTuple):
    """One draw of a frame; each [E] in [0, 1)."""

    bin: jax.Array
    """which bin of the sampler, or which clip"""
    within: jax.Array
    """where in it"""
    zero: jax.Array
    """whether the clip's first frame is taken instead"""


def motion_command(*, motion_config: MotionConfig) -> Command:
    """Robots follow motion clips, one frame a control step. State: `MotionState`.

    An episode starts in a frame that the sampler draws, with noise; from then on each control step takes the
    next frame. Where the clip ends, see `MotionConfig.clip_end`. Targets of the tracked bodies are aligned with
    the robot when the step's resets are done, and rewards and terminations of the next step compare with them.

    An evaluation gives environment e the clip e mod M.

    Args:
      motion_config: which clips, and how they are tracked.
    """
    cfg = motion_config

    def bins_of(scene: Scene) -> sampler.Bins:
        motion = motion_of(scene)
        return sampler.bins(motion.clips.length, motion.weights, cfg.sampler, scene.control_dt)

    def init(key: jax.Array, scene: Scene) -> MotionState:
        del key
        motion, count = motion_of(scene), len(bins_of(scene).base)
        none, bodies = jnp.zeros((scene.num_envs,), jnp.int32), (scene.num_envs, len(motion.bodies))
        upright = jnp.zeros((*bodies, 4), jnp.float32).at[..., 0].set(1.0)
        return MotionState(
            frame=none,
            start=none,
            replaced=jnp.zeros((scene.num_envs,), bool),
            target_pos=jnp.zeros((*bodies, 3), jnp.float32),
            target_quat=upright,
            failures=jnp.zeros((count,), jnp.float32),
            counted=jnp.zeros((count,), jnp.float32),
        )

    def draw(key: jax.Array, scene: Scene) -> dict[str, Any]:
        key_reset, key_end, key_freeze, key_noise = jax.random.split(key, 4)
        e, j = scene.num_envs, scene.robot.num_joints
        keys = jax.random.split(key_noise, 5)
        shapes = {"dof_pos": j, "root_pos": 3, "root_rot": 3, "root_lin_vel": 3, "root_ang_vel": 3}
        carried = {}
        if scene.robot.object is not None:
            key_object = jax.random.fold_in(key_noise, len(shapes))
            carried["object_pos"] = jax.random.uniform(key_object, (e, 3), minval=-1.0)
        return {
            "reset": FrameDraw(*jax.random.uniform(key_reset, (3, e))),
            "clip_end": FrameDraw(*jax.random.uniform(key_end, (3, e))),
            "freeze": jax.random.uniform(key_freeze, (e,)),
            "noise": {
                name: jax.random.uniform(k, (e, n), minval=-1.0)
                for k, (name, n) in zip(keys, shapes.items(), strict=True)
            }
            | carried,
        }

    def sample(view: View, state: MotionState, drawn: FrameDraw) -> jax.Array:
        """[E] int32, frames to start in."""
        motion, evaluation = motion_of(view.scene), view.scene.evaluation
        clips = motion.clips
        if evaluation or not cfg.use_adaptive_timesteps_sampler:
            if evaluation:
                clip = jnp.arange(view.scene.num_envs, dtype=jnp.int32) % len(motion.names)
            else:
                weights = jnp.asarray(motion.weights / motion.weights.sum(), jnp.float32)
                clip = sampler.choose(weights, drawn.bin)
            first, length = jnp.asarray(clips.start)[clip], jnp.asarray(clips.length)[clip]
            frame = first + jnp.floor(drawn.within * (length - 1).astype(jnp.float32)).astype(jnp.int32)
            if evaluation and cfg.evaluation_start == "first":
                return first
        else:
            bins = bins_of(view.scene)
            probability = sampler.probabilities(state.failures, bins, cfg.sampler)
            frame = sampler.frame_in(bins, sampler.choose(probability, drawn.bin), drawn.within)
        first, end = clip_bounds(view.scene, frame)
        if not evaluation:
            frame = jnp.where(drawn.zero < cfg.start_at_timestep_zero_prob, first, frame)
        return jnp.minimum(frame, end - 2)

    def reset(view: View, mask: jax.Array, state: MotionState, draws: dict[str, Any]) -> MotionState:
        if view.terminated is not None and not view.scene.evaluation:
            failed = mask & view.terminated
            counted = sampler.count(bins_of(view.scene), state.frame, failed)
            state = state.replace(counted=state.counted + counted)
        frame = where(mask, sample(view, state, draws["reset"]), state.frame)
        return state.replace(frame=frame, start=where(mask, frame, state.start))

    def update(view: View, state: MotionState, draws: dict[str, Any]) -> MotionState:
        first, end = clip_bounds(view.scene, state.frame)
        frozen = (state.frame == first) & (draws["freeze"] < cfg.freeze_at_timestep_zero_prob)
        frame = jnp.where(frozen, state.frame, state.frame + 1)
        over = frame >= end
        frame = where(over, sample(view, state, draws["clip_end"]), frame)
        state = state.replace(frame=frame, start=where(over, frame, state.start), replaced=over)
        if view.scene.evaluation:
            return state
        failures = sampler.fold(state.failures, state.counted, cfg.sampler)
        return state.replace(failures=failures, counted=jnp.zeros_like(state.counted))

    def place(
        view: View, mask: jax.Array, pose: Pose, state: MotionState, draws: dict[str, Any]
    ) -> tuple[jax.Array, Pose]:
        del pose
        return mask | state.replaced, _noisy_pose(view, state.start, cfg, draws["noise"])

    def refresh(view: View, state: MotionState) -> MotionState:
        target_pos, target_quat = _aligned(view, state, cfg)
        return state.replace(target_pos=target_pos, target_quat=target_quat)

    def ghost(view: View, state: MotionState) -> Pose:
        found = frames_at(view, state.frame)
        robot = {name: getattr(found, name) for name in Pose._fields if name not in OBJECT_STATE}
        return Pose(**robot, **_object_of(view, found))

    def metrics(view: View, state: MotionState) -> Mapping[str, Any]:
        reported = {f"motion/{name}": value for name, value in errors(view, state).items()}
        if not view.scene.evaluation and cfg.use_adaptive_timesteps_sampler:
            probability = sampler.probabilities(state.failures, bins_of(view.scene), cfg.sampler)
            found = sampler.statistics(probability)
            reported |= {f"motion/adaptive_timesteps_sampler_{k}": v for k, v in found.items()}
        return reported | _success(view, state)

    return Command(
        init=init,
        reset=reset,
        draw=draw,
        update=update,
        refresh=refresh,
        place=place,
        jump=(lambda state: state.replaced) if cfg.clip_end == "soft" else None,
        ghost=ghost,
        metrics=metrics,
        pooled=("failures",),
    )


def _noisy_pose(view: View, frame: jax.Array, cfg: MotionConfig, unit: Mapping[str, jax.Array]) -> Pose:
    """The clip's state at `frame` [E] with noise, joints within their soft limits; `unit` is in [-1, 1)."""
    noise, found = cfg.noise_to_initial_pose, frames_at(view, frame)

    def amount(name: str) -> jax.Array:
        size = noise.overall_noise_scale * jnp.asarray(getattr(noise, name), jnp.float32)
        return unit[name] * jnp.broadcast_to(size, (1, unit[name].shape[1]))

    lower, upper = view.soft_limits
    carried = _object_of(view, found)
    return Pose(
        root_pos=found.root_pos + amount("root_pos"),
        root_quat=rotations.multiply(rotations.from_euler(amount("root_rot")), found.root_quat),
        root_lin_vel=found.root_lin_vel + amount("root_lin_vel"),
        root_ang_vel=found.root_ang_vel + amount("root_ang_vel"),
        joint_pos=jnp.clip(found.joint_pos + amount("dof_pos"), lower, upper),
        joint_vel=found.joint_vel,
        **(carried | ({"object_pos": carried["object_pos"] + amount("object_pos")} if carried else {})),
    )


def _object_of(view: View, found: Frames) -> dict[str, jax.Array]:
    """The object's fields of a `Pose` in the frames `found`, which does not spin; none if none is simulated."""
    if view.scene.robot.object is None:
        return {}
    return {
        "object_pos": found.object_pos,
        "object_quat": found.object_quat,
        "object_lin_vel": found.object_lin_vel,
        "object_ang_vel": jnp.zeros_like(found.object_lin_vel),
    }


def _aligned(view: View, state: MotionState, cfg: MotionConfig) -> tuple[jax.Array, jax.Array]:
    motion, found = motion_of(view.scene), frames_at(view, state.frame)
    pos, quat = found.body_pos[:, motion.anchor], found.body_quat[:, motion.anchor]
    ours = robot_bodies(view).row(motion.anchor)
    robot_pos, robot_quat = ours.pos, ours.quat
    if cfg.anchor_after_reset == "root":
        fresh = view.episode_step == 0
        pos, quat = where(fresh, (found.root_pos, found.root_quat), (pos, quat))
        root = view.sim.root_pos, view.sim.root_quat
        robot_pos, robot_quat = where(fresh, root, (robot_pos, robot_quat))
    return align(pos, quat, robot_pos, robot_quat, found.body_pos, found.body_quat)


def errors(view: View, state: MotionState) -> dict[str, jax.Array]:
    """How far the robots are from the clip, each the mean over the environments.

    ``error_ref_*``: the anchor in the world; ``error_body_pos``, ``_rot``: means over the tracked bodies against the
    aligned targets; ``error_body_*_vel`` likewise, not aligned; ``error_joint_*``: norm over the joints.
    """
    (theirs, ours), robot, clip = anchors(view), robot_bodies(view), reference_bodies(view)
    frames, sim = reference(view), view.sim
    per_env: dict[str, jax.Array] = {
        "error_ref_pos": jnp.linalg.norm(theirs.pos - ours.pos, axis=-1),
        "error_ref_rot": rotations.angle_between(theirs.quat, ours.quat),
        "error_ref_lin_vel": jnp.linalg.norm(theirs.lin_vel - ours.lin_vel, axis=-1),
        "error_ref_ang_vel": jnp.linalg.norm(theirs.ang_vel - ours.ang_vel, axis=-1),
        "error_body_pos": jnp.linalg.norm(state.target_pos - robot.pos, axis=-1).mean(-1),
        "error_body_rot": rotations.angle_between(state.target_quat, robot.quat).mean(-1),
        "error_body_lin_vel": jnp.linalg.norm(clip.lin_vel - robot.lin_vel, axis=-1).mean(-1),
        "error_body_ang_vel": jnp.linalg.norm(clip.ang_vel - robot.ang_vel, axis=-1).mean(-1),
        "error_joint_pos": jnp.linalg.norm(frames.joint_pos - sim.joint_pos, axis=-1),
        "error_joint_vel": jnp.linalg.norm(frames.joint_vel - sim.joint_vel, axis=-1),
    }
    if view.scene.robot.object is not None:
        per_env |= objects.errors(view)
    return {name: jnp.mean(value) for name, value in per_env.items()}


def _success(view: View, state: MotionState) -> dict[str, Any]:
    """(sum, count) of runs through a clip that ended in this step: 1 at its end or a time-out, 0 for a failure."""
    assert view.finished is not None and view.terminated is not None
    _, end = clip_bounds(view.scene, state.frame)
    failed = view.finished & view.terminated
    over = (view.finished | (state.frame >= end - 1)) & ~failed
    motion = motion_of(view.scene)
    reported: dict[str, Any] = {"motion/success": (_total(over), _total(over | failed))}
    if 1 < len(motion.names) <= LISTED_CLIPS:
        clip = jnp.asarray(motion.clips.clip)[state.frame]
        for i, name in enumerate(motion.names):
            mine = clip == i
            reported[f"motion/success/{name}"] = (_total(over & mine), _total((over | failed) & mine))
    return reported


def _total(flags: jax.Array) -> jax.Array:
    return jnp.sum(flags.astype(jnp.float32))


TERMS: dict[str, Callable[..., Any]] = {"motion_command": motion_command}
