"""How full MuJoCo Warp's buffers get, and what to set when one was too small.

MuJoCo Warp leaves out what does not fit, and simulates on: the robot sinks into the ground. So every
control step notes in the physics value what was needed, and drivers ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco_warp as mjw
import numpy as np

from bridges.mjwarp.state import Usage
from bridges.protocol import CapacityError

if TYPE_CHECKING:
    from holosoma_jax.config.schema import MujocoWarpConfig

_KEY = "simulator.config.mujoco_warp"
_OVERFLOW = mjw.OverflowType
_CONTACTS = _OVERFLOW.BROADPHASE | _OVERFLOW.NARROWPHASE | _OVERFLOW.CCD
_ROWS = _OVERFLOW.NEFC | _OVERFLOW.NJMAX_NNZ
_MARGIN = 1.25
"""what to set, over what was seen"""


def report(usage: Usage, cfg: MujocoWarpConfig) -> str:
    """One line: what was needed at most, of what there is."""
    per_env, rows = _needed(usage)
    return (
        f"MuJoCo Warp's buffers, at most so far: {per_env:.1f} of {cfg.nconmax_per_env} contacts per environment "
        f"({_KEY}.nconmax_per_env), {rows} of {cfg.njmax_per_env} constraint rows ({_KEY}.njmax_per_env)."
    )


def check(usage: Usage, cfg: MujocoWarpConfig) -> None:
    """Make sure that everything has fitted.

    Raises:
      CapacityError: something was left out; names the setting and the value to use.
    """
    bits = int(np.bitwise_or.reduce(np.asarray(usage.overflow)))
    per_env, rows = _needed(usage)
    if bits & _ROWS:
        number = int((np.asarray(usage.overflow) & int(_ROWS) != 0).sum())
        raise CapacityError(
            f"{number} environment(s) needed up to {rows} constraint rows, {_KEY}.njmax_per_env is "
            f"{cfg.njmax_per_env}; the rest was left out. {_fix('njmax-per-env', max(rows, cfg.njmax_per_env))}"
        )
    if bits & _CONTACTS:
        raise CapacityError(
            f"the environments needed {per_env:.1f} contacts each on average, {_KEY}.nconmax_per_env is "
            f"{cfg.nconmax_per_env}; the rest was left out. "
            f"{_fix('nconmax-per-env', max(per_env, cfg.nconmax_per_env))}"
        )
    if bits & _OVERFLOW.CONTACT_MATCH:
        raise CapacityError(
            f"a body had more than {cfg.max_contacts_per_body} contacts ({_KEY}.max_contacts_per_body); its force "
            f"was summed over these only. {_fix('max-contacts-per-body', 1.6 * cfg.max_contacts_per_body)}"
        )
    if bits & _OVERFLOW.HFIELD:
        raise CapacityError(
            "a geom lies over more cells of the height field than MuJoCo Warp looks at; some were left out. "
            "Make the cells larger (--terrain.terrain-term.horizontal-scale) or the robot's geoms smaller."
        )


def _needed(usage: Usage) -> tuple[float, int]:
    """Contacts per environment, constraint rows of the environment that needed most."""
    num_envs = len(usage.rows)
    return float(np.asarray(usage.contacts)[0]) / num_envs, int(np.asarray(usage.rows).max())


def _fix(option: str, needed: float) -> str:
    """What to type: a quarter more than was needed, in steps of 8."""
    value = int(np.ceil(_MARGIN * needed / 8) * 8)
    return f"Pass --simulator.config.mujoco-warp.{option}={value}; checkpoints of this run still fit."
