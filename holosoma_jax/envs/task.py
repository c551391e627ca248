"""What a task is: one record, found by its name in the config (`config.extensions.TASKS`) or `package.module:TASK`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from bridges.protocol import Array, BridgeSpec, Pose, SimState
from holosoma_jax.config.own_code import guarded_fields, kind_of
from holosoma_jax.config.schema import Config
from holosoma_jax.envs.env import Env, EnvState
from holosoma_jax.envs.perturbations import Perturbations, apply_perturbations
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.robots.robot import Robot


class Measurement(NamedTuple):
    """One measure of one control step: environments are averaged by their weight."""

    value: jax.Array
    """[E]"""
    weight: jax.Array
    """[E], 0 where there is nothing to measure"""


class Measure(NamedTuple):
    """What an evaluation reports of a measurement."""

    label: str
    unit: str
    magnitude: bool = False
    """True: reported is the mean over environments of the magnitude of each one's mean, so that opposite signs of
    two environments do not cancel, while those within one (a gait's sway) do"""


class Build(Protocol):
    """Makes the environment of a task."""

    def __call__(
        self, cfg: Config, robot: Robot, terrain: Terrain, bridge: BridgeSpec, *, evaluation: bool = False
    ) -> Env:
        """The task's functions; raises ConfigError for what in `cfg` it cannot do."""
        ...


@dataclass(frozen=True)
class Steering:
    """What a person, or an evaluation, may tell the robot while it acts: one velocity an environment."""

    limits: Callable[[Env], Mapping[str, tuple[float, float]]]
    """environment -> axis -> limits; the axes are lin_vel_x, lin_vel_y in m/s and ang_vel_yaw in rad/s"""
    sample: Callable[[Env, jax.Array], jax.Array]
    """environment, key -> velocities [E, 3] as training draws them"""
    set: Callable[[Env, EnvState, jax.Array], EnvState]
    """environment, state, velocity [E, 3] -> state that asks for it, in the middle of an episode"""
    begin: Callable[[Env, EnvState, jax.Array], EnvState]
    """the same before the first step"""


@dataclass(frozen=True)
class Timeline:
    """Where in something that is played, such as a motion clip, an environment is, and how it is put elsewhere."""

    length: Callable[[Env], int]
    """frames"""
    frame: Callable[[Env, EnvState], jax.Array]
    """environment, state -> [E] int32, the frame that the next control step plays"""
    start_at: Callable[[Env, EnvState, int], tuple[EnvState, Pose]]
    """environment, state, frame -> state that begins there, and where all robots are to be put"""
    shown: tuple[str, ...] = ()
    """measures of the task that an evaluation draws over the frames"""


@dataclass(frozen=True)
class Task:
    """One task. Its environment carries what an export must contain (`EnvSpec`)."""

    name: str
    build: Build
    measures: Mapping[str, Measure] = field(default_factory=dict)
    """what an evaluation reports beside survival and rewards, in the order of reports"""
    measure: Callable[[Env, EnvState, SimState, Array], Mapping[str, Measurement]] = lambda *_: {}
    """environment, state before `post_step`, simulator state reached, joint targets [E, J] -> one measurement
    for every name in `measures`"""
    steering: Steering | None = None
    timeline: Timeline | None = None
    """for a person who looks at the task from a frame of their choice"""
    cases: Callable[[Env], tuple[str, ...]] = lambda env: ()
    """what an evaluation's environments are divided into, to be reported apart: environment e runs case e mod n"""
    explain: Callable[[Config, Mapping[str, float]], str | None] = lambda *_: None
    """config, averages of an iteration's metrics -> what is plainly wrong, in one line"""
    tables: Callable[[Env, str], Mapping[str, np.ndarray]] = lambda env, signature: {}
    """environment, `export --signature` -> what a policy file holds beside the policy: output -> rows [F, ...], one
    for each frame"""
    facts: Callable[[Env], Mapping[str, Any]] = lambda env: {}
    """what a policy file's metadata says beside what every task's says"""
    reference_term: str | None = None
    """the function of the observation term that begins with the joint angles [J] rad which the robot is to take"""
    perturb: Callable[[Config, Perturbations], Config] = apply_perturbations
    """trained config, disturbances -> config of an evaluation under them"""


def guarded_task(task: Task, where: str) -> Task:
    """`task`, what it builds and measures with guarded, except where that is the package's."""

    def measured(result: Any, *_: Any) -> str | None:
        if not isinstance(result, Mapping) or set(result) != set(task.measures):
            names = ", ".join(result) if isinstance(result, Mapping) else kind_of(result)
            return f"{names or 'no measurement'}, wanted one of each of its `measures`: {', '.join(task.measures)}."
        odd = next((name for name, x in result.items() if not isinstance(x, Measurement)), None)
        return odd and f"{kind_of(result[odd])} for '{odd}', wanted a Measurement."

    def built(result: Any, *_: Any) -> str | None:
        return (
            None if isinstance(result, Env) else f"{kind_of(result)}, wanted an Env, as `compose` makes it."
        )

    functions = {
        "build": ("cfg, robot, terrain, bridge, evaluation=False -> Env", built),
        "measure": ("env, state, sim, targets -> dict", measured),
    }
    return guarded_fields(task, where, functions)
