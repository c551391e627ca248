"""Which driver takes the control steps: Python between them, also while learning, or one XLA program an iteration."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import jax

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.experiment import Setup
from holosoma_jax.rollout import off_policy, on_policy
from holosoma_jax.rollout.fused import Fused
from holosoma_jax.rollout.overlapped import Overlapped
from holosoma_jax.rollout.stepped import Stepped

Driver: TypeAlias = Stepped | Fused


def make(setup: Setup) -> Driver:
    """The driver of a run.

    Raises:
      ConfigError: see `fused`.
    """
    algo, kind = setup.cfg.algo.config, setup.learner.kind
    rollout_fns = {"on_policy": on_policy.rollout_fns, "off_policy": off_policy.rollout_fns}[kind]
    # A control step is traced for its shapes and to be compiled, and an update that depends on a condition twice each
    # time: as a jitted function it is traced once, which takes seconds. Inlining leaves what is compiled as it was.
    learner = replace(setup.learner, update=jax.jit(setup.learner.update, static_argnums=3, inline=True))
    fns, devices = rollout_fns(learner, algo, setup.devices.total), setup.devices
    if setup.cfg.training.driver == "overlapped":
        return Overlapped(setup.env, setup.bridge, fns, devices)
    if not fused(setup):
        return Stepped(setup.env, setup.bridge, fns, devices)
    longest = fns.horizon if kind == "on_policy" else algo.logging_interval
    return Fused(setup.env, setup.bridge, fns, longest, devices)


def fused(setup: Setup) -> bool:
    """Whether an iteration is one jitted function: `training.driver`, by default wherever the simulator allows it.

    Raises:
      ConfigError: it was asked for, and the simulator cannot be called in a jitted function, or there is a viewer.
    """
    spec, driver = setup.bridge.spec, setup.cfg.training.driver
    if driver == "fused" and not spec.traceable:
        raise ConfigError(
            f"training.driver: got 'fused', but simulator '{spec.simulator}' keeps its state outside of JAX. "
            "Pass --training.driver auto, or simulator:mjwarp."
        )
    if not setup.cfg.training.headless:  # a viewer looks between control steps
        if driver == "fused":
            raise ConfigError(
                "training.driver: got 'fused' with training.headless false; a viewer needs Python between control "
                "steps. Leave the driver out."
            )
        return False
    return spec.traceable and driver not in ("stepped", "overlapped")
