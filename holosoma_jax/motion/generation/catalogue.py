"""The clips by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.generation import body, choreography, props
from holosoma_jax.motion.generation.body import Posture
from holosoma_jax.motion.generation.limbs import Limbs
from holosoma_jax.motion.generation.steps import Steps
from holosoma_jax.motion.kinematics import Skeleton

CLIPS: Mapping[str, Callable[[Limbs], tuple[Steps, Posture]]] = {
    "squat": choreography.squat,
    "side_steps": choreography.side_steps,
    "turn_in_place": choreography.turn_in_place,
    "arm_waves": choreography.arm_waves,
    "walk_circle": choreography.walk_circle,
    "dance": choreography.dance,
    "carry_box": props.carry_box,
    "walk_slope": props.walk_slope,
}
"""Name -> the steps and the posture for a robot's limbs."""


def generate(name: str, skeleton: Skeleton) -> Clip:
    """The clip `name`, of `CLIPS`, for a robot; called '<robot>_<name>'.

    Raises:
      ConfigError: there is no such clip, or the robot cannot do it.
    """
    if name not in CLIPS:
        raise ConfigError(f"no clip is called '{name}'.{nearest(name, CLIPS)} Clips: {', '.join(CLIPS)}.")
    limbs = Limbs(skeleton)
    label = f"{skeleton.robot.name}_{name}"
    try:
        clip = body.perform(limbs, label, *CLIPS[name](limbs))
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from None
    if name in props.HOLDING:
        return props.with_box(limbs, clip)
    return dataclasses.replace(clip, terrain=props.GROUND.get(name))
