"""A robot record without a robot: names and gains only, or with a small model to draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from holosoma_jax.robots.robot import Robot

STICK_MJCF = """
<mujoco model="stick">
  <worldbody>
    <body name="trunk" pos="0 0 0.9">
      <freejoint/>
      <geom type="box" size="0.08 0.12 0.2" pos="0 0 0.2" rgba="0.7 0.7 0.7 1"/>
      <body name="left_leg" pos="0 0.1 0">
        <joint name="left_hip" axis="0 1 0"/>
        <geom type="capsule" fromto="0 0 0 0 0 -0.8" size="0.05" rgba="0.2 0.2 0.2 1"/>
      </body>
      <body name="right_leg" pos="0 -0.1 0">
        <joint name="right_hip" axis="0 1 0"/>
        <geom type="capsule" fromto="0 0 0 0 0 -0.8" size="0.05" rgba="0.2 0.2 0.2 1"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


def stick_robot(
    mjcf: Path = Path("stick.xml"), joint_names: tuple[str, ...] = ("left_hip", "right_hip")
) -> Robot:
    """A two-legged record whose arrays have the right shapes and recognisable values."""
    joints, bodies = len(joint_names), ("trunk", "left_leg", "right_leg")
    ramp = np.arange(1, joints + 1, dtype=np.float32)
    return Robot(
        name="stick",
        mjcf=mjcf,
        joint_names=joint_names,
        body_names=bodies,
        default_joint_pos=0.1 * ramp,
        kp=np.full(joints, 40.179238471, np.float32),
        kd=np.full(joints, 2.557889765, np.float32),
        torque_limit=10 * ramp,
        velocity_limit=np.full(joints, 30.0, np.float32),
        armature=np.full(joints, 0.01, np.float32),
        joint_lower=np.full(joints, -2.0, np.float32),
        joint_upper=np.full(joints, 2.0, np.float32),
        action_scale=np.full(joints, 0.25, np.float32),
        mirror_index=np.arange(joints, dtype=np.int32)[::-1].copy(),
        mirror_sign=np.ones(joints, np.float32),
        init_pos=(0.0, 0.0, 0.9),
        init_quat=(1.0, 0.0, 0.0, 0.0),
        root_body="trunk",
        torso_body="trunk",
        feet_bodies=("left_leg", "right_leg"),
        foot_height_bodies=("left_leg", "right_leg"),
        termination_bodies=("trunk",),
        randomized_mass_bodies=("trunk",),
        body_mass=np.ones(len(bodies), np.float32),
    )
