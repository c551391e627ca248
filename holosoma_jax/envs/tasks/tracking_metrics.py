"""How well a policy tracks a clip, with the measures and the definitions of mjlab's evaluation, and two more."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from bridges.protocol import Array, SimState
from holosoma_jax import rotations
from holosoma_jax.envs.env import Env, EnvState
from holosoma_jax.envs.task import Measure, Measurement
from holosoma_jax.envs.terms.motion.reference import MOTION, Motion, MotionState, motion_of
from holosoma_jax.motion.batch import Frames
from holosoma_jax.robots.robot import Robot

MEASURES: Mapping[str, Measure] = {
    "mpkpe": Measure("body position error (MPKPE)", "m"),
    "r_mpkpe": Measure("body position error, relative to the anchor (R-MPKPE)", "m"),
    "joint_vel_error": Measure("joint velocity error, norm", "rad/s"),
    "ee_pos_error": Measure("end-effector position error", "m"),
    "ee_ori_error": Measure("end-effector orientation error", "rad"),
    "anchor_error": Measure("anchor position error, world", "m"),
    "joint_rms": Measure("joint position error, RMS over joints", "rad"),
    "object_pos_error": Measure("object position error, world", "m"),
    "object_ori_error": Measure("object orientation error, world", "rad"),
}
"""What an evaluation of a tracking policy reports."""


def measure(env: Env, state: EnvState, sim: SimState, targets: Array) -> Mapping[str, Measurement]:
    """All measures of one control step: the state reached against the frame that the policy was to reach.

    - ``mpkpe``: mean over the tracked bodies of the distance to the targets, which are aligned with the robot
      in horizontal position and heading when the policy acts, as the rewards' are.
    - ``r_mpkpe``: mean distance of the positions relative to the anchor's position, not turned.
    - ``joint_vel_error``: norm over joints of the difference of velocities.
    - ``ee_pos_error``, ``ee_ori_error``: of hands and feet, against the aligned targets.
    - ``anchor_error``: distance of the anchor in the world, the drift that the others forgive.
    - ``joint_rms``: root of the mean over joints of the squared difference of angles.
    - ``object_pos_error``, ``object_ori_error``: of the object, if one is simulated, in the world.
    """
    del targets
    scene = env.mdp.scene
    motion = motion_of(scene)
    command: MotionState = env.mdp.values("commands", state.terms)[MOTION]
    clip = motion.clips.at(command.frame)
    origin = scene.terrain.origins(state.tile)[:, None]
    theirs, ours = clip.body_pos + origin, sim.body_pos[:, motion.rows]
    quat, anchor = sim.body_quat[:, motion.rows], slice(motion.anchor, motion.anchor + 1)
    apart = theirs[:, anchor] - ours[:, anchor]
    rows = [motion.bodies.index(name) for name in end_effectors(motion, scene.robot)]
    off = command.target_pos[:, rows] - ours[:, rows]
    turned = rotations.angle_between(command.target_quat[:, rows], quat[:, rows])
    joints = clip.joint_pos - sim.joint_pos
    values = {
        "mpkpe": jnp.linalg.norm(command.target_pos - ours, axis=-1).mean(-1),
        "r_mpkpe": jnp.linalg.norm(theirs - ours - apart, axis=-1).mean(-1),
        "joint_vel_error": jnp.linalg.norm(clip.joint_vel - sim.joint_vel, axis=-1),
        "ee_pos_error": jnp.linalg.norm(off, axis=-1).mean(-1),
        "ee_ori_error": turned.mean(-1),
        "anchor_error": jnp.linalg.norm(apart[:, 0], axis=-1),
        "joint_rms": jnp.sqrt(jnp.mean(jnp.square(joints), axis=-1)),
    }
    always = jnp.ones(joints.shape[:1], jnp.float32)
    found = {name: Measurement(value, always) for name, value in values.items()}
    return found | _object(clip, sim, origin[:, 0])


def _object(clip: Frames, sim: SimState, origin: jax.Array) -> dict[str, Measurement]:
    """The object's measures; of weight 0 where there is none."""
    if clip.object_pos is None or sim.object_pos is None or sim.object_quat is None:
        none = Measurement(jnp.zeros(origin.shape[:1]), jnp.zeros(origin.shape[:1]))
        return {"object_pos_error": none, "object_ori_error": none}
    always = jnp.ones(origin.shape[:1], jnp.float32)
    off = jnp.linalg.norm(clip.object_pos + origin - sim.object_pos, axis=-1)
    turned = rotations.angle_between(clip.object_quat, sim.object_quat)
    return {
        "object_pos_error": Measurement(off, always),
        "object_ori_error": Measurement(turned, always),
    }


def end_effectors(motion: Motion, robot: Robot) -> tuple[str, ...]:
    """Feet and hands, those of them that are tracked; the last tracked body if none is."""
    return tuple(b for b in motion.bodies if b in robot.end_bodies) or motion.bodies[-1:]
