"""What every simulator's bridge must do, as checks that run on any machine that has the simulator.

::

    for result in conformance.run(compose.load(["exp:g1-29dof", "simulator:mjwarp"])):
        print(result)

Each check is a function of a `Subject` (a running bridge on a plane and its robot) and returns
`Result`s: a quantity, what was measured, what is wanted, and how far they may be apart. Physics is held
against closed forms and against plain MuJoCo driven by hand; behaviour, such as masks, against itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import bridges
from bridges.conformance import calls, contact, control, frames, objects
from bridges.conformance.result import Result, Subject
from bridges.protocol import Ground
from holosoma_jax import robots
from holosoma_jax.config.schema import Config

Check = Callable[[Subject], list[Result]]

CHECKS: dict[str, Check] = {
    check.__name__.removeprefix("check_"): check
    for group in (frames, control, contact, calls, objects)
    for check in group.CHECKS
}
"""Name -> check, in the order in which they are best read."""

NUM_ENVS = 4
"""environments that the checks use; more do no harm"""


def run(cfg: Config, num_envs: int = NUM_ENVS) -> list[Result]:
    """All checks of the simulator that `cfg` names, with its robot and rates, on a plane.

    Raises:
      ConfigError: the simulator is not available.
    """
    with started(cfg, num_envs) as subject:
        return [result for results in each(subject) for result in results]


@contextmanager
def started(cfg: Config, num_envs: int = NUM_ENVS) -> Iterator[Subject]:
    """The simulator that `cfg` names, with its robot and rates, on a plane; closed on leaving the context.

    Raises:
      ConfigError: the simulator is not available.
    """
    robot = robots.configure(robots.load(cfg.robot.asset), cfg.robot)
    bridge = bridges.make(cfg.simulator, robot, Ground(), num_envs)
    try:
        yield Subject(bridge, robot)
    finally:
        bridge.close()


def each(subject: Subject) -> Iterator[list[Result]]:
    """The results of one check after the other. A check that raises has failed, and says why."""
    for name, check in CHECKS.items():
        try:
            yield check(subject)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            yield [Result(name, f"{type(error).__name__}: {reason}", float("nan"), 0.0, 0.0)]


__all__ = ["CHECKS", "NUM_ENVS", "Check", "Result", "Subject", "each", "run", "started"]
