"""Whole-body tracking: the robot imitates motion clips, one frame a control step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import BridgeSpec, Pose
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.schema import Config, TerminationTermConfig
from holosoma_jax.envs.compose import compose
from holosoma_jax.envs.env import Env, EnvState
from holosoma_jax.envs.task import Task, Timeline
from holosoma_jax.envs.tasks import tracking_ground, tracking_metrics
from holosoma_jax.envs.terms import registry
from holosoma_jax.envs.terms.motion.config import MotionConfig
from holosoma_jax.envs.terms.motion.reference import ASSET, MOTION, Motion, MotionState, motion_of
from holosoma_jax.envs.terms.motion.terminations import EARLY
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.motion.batch import concatenate
from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.formats.policy_graph import CLIPS
from holosoma_jax.motion.kinematics import Skeleton
from holosoma_jax.motion.selection import Transitions, distinct, select
from holosoma_jax.robots.robot import Robot

ENDS = "motion_ends"
"""The termination that ``clip_end: timeout`` adds."""
_PARAMS = f"command.setup_terms.{MOTION}.params"
_KEY = f"{_PARAMS}.motion_config"


def build(
    cfg: Config, robot: Robot, terrain: Terrain, bridge: BridgeSpec, *, evaluation: bool = False
) -> Env:
    """The tracking environment of `cfg`.

    An evaluation runs every clip once: its end is a time-out, and no other clock ends an episode before.

    Raises:
      ConfigError: there is no command `MOTION`, or it names no clip that can be read; see `bind.bind` for others.
    """
    settings = motion_config(cfg)
    motion = load(settings, robot, 1.0 / bridge.control_dt, terrain)
    if robot.object is not None and motion.clips.frames.object_pos is None:
        raise ConfigError(
            f"{_KEY}: robot.object.enabled is true, but not every clip tracks an object "
            f"({', '.join(motion.names[:3])}); name clips with object_pos_w and object_quat_w, such as "
            "g1_carry_box, or a preset without an object."
        )
    if evaluation:
        cfg = _long_enough(cfg, float(motion.clips.length.max() + 1) * bridge.control_dt)
    if evaluation or settings.clip_end == "timeout":
        cfg = _ending_with_clips(cfg)
    return compose(cfg, robot, terrain, bridge, evaluation=evaluation, assets={ASSET: motion})


def motion_config(cfg: Config) -> MotionConfig:
    """Settings of the motion command of `cfg`.

    Raises:
      ConfigError: it has none.
    """
    term = cfg.command.setup_terms.get(MOTION)
    if term is None:
        raise ConfigError(
            f"command.setup_terms: '{MOTION}' is missing, which the task 'tracking' follows; add "
            "command:wbt, or choose task:locomotion."
        )
    found = registry.parameters("commands", MOTION, term.func, term.params).get("motion_config")
    if not isinstance(found, MotionConfig):
        raise ConfigError(f"{_KEY}: missing; a command of your own in its place needs these settings, too.")
    return found


def load(settings: MotionConfig, robot: Robot, fps: float, terrain: Terrain | None = None) -> Motion:
    """The clips that `settings` name, at `fps`, on the device.

    Raises:
      ConfigError: a file cannot be read, a body is unknown, a weight is of no clip, or a clip is not on `terrain`.
    """
    names = [part.strip() for part in settings.motion_dir.split(",") if part.strip()]
    key = "motion_dir" if names else "motion_file"
    if not names:
        names = [settings.motion_file] if settings.motion_file else []
    if not names:
        raise ConfigError(f"{_KEY}.motion_file: is empty; name a motion file, or a clip such as g1_dance.")
    skeleton = Skeleton(robot)
    transitions = Transitions(
        settings.default_pose_prepend_duration_s if settings.enable_default_pose_prepend else 0.0,
        settings.default_pose_append_duration_s if settings.enable_default_pose_append else 0.0,
    )
    try:
        clips = select(
            names,
            skeleton,
            fps,
            several=bool(settings.motion_dir),
            bodies=settings.body_velocities,
            transitions=transitions,
        )
        if terrain is not None:
            tracking_ground.require_fit(clips, skeleton, terrain)
    except ConfigError as error:
        raise ConfigError(f"{_KEY}.{key}: {error}") from error
    return motion_from(clips, skeleton, settings, fps)


def motion_from(clips: list[Clip], skeleton: Skeleton, settings: MotionConfig, fps: float) -> Motion:
    """The asset made of `clips`.

    Raises:
      ConfigError: as of `load`.
    """
    robot = skeleton.robot
    try:
        tracked, anchor = settings.bodies_of(robot)
    except ConfigError as error:
        raise ConfigError(f"{_PARAMS}.{error}") from error
    names = distinct([clip.name for clip in clips])
    try:
        batch = concatenate(clips, skeleton, tracked, fps)
    except ConfigError as error:
        key = "motion_dir" if settings.motion_dir else "motion_file"
        raise ConfigError(f"{_KEY}.{key}: {error}") from error
    for name in settings.clip_weights:
        if name not in names:
            raise ConfigError(
                f"{_KEY}.clip_weights: there is no clip '{name}'.{nearest(name, names)} Clips: {', '.join(names[:8])}."
            )
    weights = np.array([settings.clip_weights.get(name, 1.0) for name in names])
    if weights.sum() <= 0.0:
        raise ConfigError(f"{_KEY}.clip_weights: every clip has weight 0; give one a positive weight.")
    return Motion(
        clips=batch._replace(frames=jax.tree.map(jnp.asarray, batch.frames)),
        names=names,
        weights=weights,
        bodies=tracked,
        anchor=tracked.index(anchor),
        rows=robot.body_index(*tracked),
    )


def _long_enough(cfg: Config, seconds: float) -> Config:
    sim = cfg.simulator.config.sim
    sim = replace(sim, max_episode_length_s=max(seconds, sim.max_episode_length_s))
    return replace(cfg, simulator=replace(cfg.simulator, config=replace(cfg.simulator.config, sim=sim)))


def _ending_with_clips(cfg: Config) -> Config:
    terms = {**cfg.termination.terms, ENDS: TerminationTermConfig(func=ENDS, is_timeout=True)}
    return replace(cfg, termination=replace(cfg.termination, terms=terms))


def explain(cfg: Config, metrics: Mapping[str, float]) -> str | None:
    """One line if most episodes end within a few steps of their start: what ends them, and by how much."""
    share, term = metrics.get("Env/bad_tracking/early", 0.0), cfg.termination.terms.get("bad_tracking")
    if not share > 0.5 or term is None:
        return None
    limits = registry.parameters("terminations", "bad_tracking", term.func, term.params)
    cause = {
        "bad_ref_pos": "the anchor's",
        "bad_ref_ori": "the anchor's tilt",
        "bad_motion_body_pos": "a body's",
    }
    worst = max(cause, key=lambda part: metrics.get(f"Env/bad_tracking/early/{part}", 0.0))
    error = metrics.get(f"Env/bad_tracking/early/{worst}_error", float("nan"))
    unit = "" if worst == "bad_ref_ori" else " m"
    return (
        f"{share:.0%} of the episodes end within {EARLY} steps of their start, most by bad_tracking: {cause[worst]} "
        f"error is {error:.3f}{unit} on average, above {worst}_threshold = {limits[f'{worst}_threshold']:g}{unit}. "
        "Look at the clip: python -m holosoma_jax.motion inspect FILE."
    )


def cases(env: Env) -> tuple[str, ...]:
    """The clips: in an evaluation, environment e runs clip e mod M."""
    return motion_of(env.mdp.scene).names


def tables(env: Env, signature: str = "holosoma") -> Mapping[str, np.ndarray]:
    """The clips for a policy file, all of them, one behind the other.

    Args:
      env: of the task.
      signature: 'holosoma': the anchor's pose, x y z w; 'mjlab': the tracked bodies, w x y z.
    """
    motion = motion_of(env.mdp.scene)
    frames, anchor = jax.device_get(motion.clips.frames), motion.anchor
    joints = {"joint_pos": frames.joint_pos, "joint_vel": frames.joint_vel}
    if signature == "mjlab":
        return joints | {
            "body_pos_w": frames.body_pos,
            "body_quat_w": frames.body_quat,
            "body_lin_vel_w": frames.body_lin_vel,
            "body_ang_vel_w": frames.body_ang_vel,
        }
    return joints | {
        "ref_pos_xyz": frames.body_pos[:, anchor],
        "ref_quat_xyzw": np.roll(frames.body_quat[:, anchor], -1, axis=-1),
    }


def facts(env: Env) -> Mapping[str, Any]:
    """Anchor and tracked bodies under mjlab's names, and where each clip's frames lie in the tables."""
    motion = motion_of(env.mdp.scene)
    return {
        "anchor_body_name": motion.bodies[motion.anchor],
        "body_names": list(motion.bodies),
        CLIPS: [[name, int(n)] for name, n in zip(motion.names, motion.clips.length, strict=True)],
    }


def start_at(env: Env, state: EnvState, frame: int) -> tuple[EnvState, Pose]:
    """Every environment at the beginning of an episode in `frame` of all clips, held within them, without noise."""
    command: MotionState = env.mdp.values("commands", state.terms)[MOTION]
    last = len(motion_of(env.mdp.scene).clips.clip) - 1
    frames = jnp.full_like(command.frame, min(max(frame, 0), last))
    command = command.replace(frame=frames, start=frames, replaced=jnp.zeros_like(command.replaced))
    cleared = ("episode_step", "action", "prev_action", "history")
    state = state.replace(
        terms={**state.terms, "commands": {**state.terms["commands"], MOTION: command}},
        **{name: jax.tree.map(jnp.zeros_like, getattr(state, name)) for name in cleared},
    )
    pose = env.ghost(state)
    assert pose is not None
    return state, pose


TIMELINE = Timeline(
    length=lambda env: len(motion_of(env.mdp.scene).clips.clip),
    frame=lambda env, state: env.mdp.values("commands", state.terms)[MOTION].frame,
    start_at=start_at,
    shown=("mpkpe", "anchor_error", "joint_rms"),
)

TASK = Task(
    name="tracking",
    build=build,
    measures=tracking_metrics.MEASURES,
    measure=tracking_metrics.measure,
    explain=explain,
    tables=tables,
    facts=facts,
    timeline=TIMELINE,
    cases=cases,
    reference_term="motion_command",
)
