"""Domain randomisation: what differs between environments, episodes and moments, by name.

Draws of different environments, terms and stages are independent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holosoma_jax.envs.terms.disturbances import action_delay, joint_bias, push, torque_noise
from holosoma_jax.envs.terms.motion import objects
from holosoma_jax.envs.terms.motion import push as motion
from holosoma_jax.envs.terms.physics import actuators, base_com, friction, masses
from holosoma_jax.envs.terms.starts import reset_joints, reset_root

TERMS: dict[str, Callable[..., Any]] = {
    "mass_randomizer": masses,
    "randomize_friction_startup": friction,
    "randomize_base_com_startup": base_com,
    "actuator_randomizer_state": actuators,
    "push_randomizer_state": push,
    "setup_action_delay_buffers": action_delay,
    "setup_torque_rfi": torque_noise,
    "setup_dof_pos_bias": joint_bias,
    "randomize_dof_state": reset_joints,
    "randomize_root_state": reset_root,
    **motion.TERMS,
    **objects.RANDOMIZATION,
}
