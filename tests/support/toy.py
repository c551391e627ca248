"""An analytic robot and task with the whole `Bridge` and `Env` interfaces, for fast tests of the loop.

Robot: joints follow their targets by a first-order lag; the root glides at constant velocity and
drops to the ground while a joint is outside its range. Task: hold the joints at a commanded angle.
The bridge behaves like the worst simulator allowed: its state lives in NumPy arrays that it
overwrites in place, and what it hands over are views of them, valid until its next call only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bridges.protocol import (
    BridgeSpec,
    Ground,
    PhysicsParams,
    Pose,
    SimState,
    StalePhysicsError,
    UnsupportedRandomization,
)
from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config, TrainingConfig
from holosoma_jax.envs.env import ActuatorCommand, Env, EnvSpec, ObservationTerm, Reset, StepResult
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.experiment import Setup, learner_spec, load_learner
from holosoma_jax.parallel import processes
from holosoma_jax.robots.robot import Robot
from holosoma_jax.training.run_state import RunState

JOINTS = 3
BODIES = ("base", "foot")
LAG = 0.05  # s, time constant of every joint
RANGE = 0.9  # rad
MASS = 10.0  # kg
HEIGHT = 0.8  # m, of the base while it stands
MAX_STEPS = 20  # control steps of an episode
FIELDS = ("root_pos", "root_quat", "root_lin_vel", "root_ang_vel", "joint_pos", "joint_vel", "mass")


class ToyBridge:
    """`bridges.protocol.Bridge` in closed form; float64 inside, float32 views outside.

    poison_at: control step at which environment 0 turns non-finite (None: never), like a simulator
    whose solver diverged.
    """

    def __init__(self, num_envs: int, *, poison_at: int | None = None):
        self.spec = BridgeSpec(
            simulator="toy",
            num_envs=num_envs,
            joint_names=tuple(f"joint_{i}" for i in range(JOINTS)),
            body_names=BODIES,
            physics_dt=0.005,
            decimation=4,
            randomizes=frozenset({"mass_ratio"}),
        )
        e, b = num_envs, len(BODIES)
        self.calls = {"reset": 0, "step": 0, "randomize": 0, "set_root_velocity": 0}
        self._poison_at, self._token = poison_at, 0
        self._s = {
            "root_pos": np.tile([0.0, 0.0, HEIGHT], (e, 1)),
            "root_quat": np.tile([1.0, 0.0, 0.0, 0.0], (e, 1)),
            "root_lin_vel": np.zeros((e, 3)),
            "root_ang_vel": np.zeros((e, 3)),
            "joint_pos": np.zeros((e, JOINTS)),
            "joint_vel": np.zeros((e, JOINTS)),
            "mass": np.full((e, b), MASS / b),
        }
        shapes = SimState(
            (e, 3), (e, 4), (e, 3), (e, 3), (e, JOINTS), (e, JOINTS),
            (e, b, 3), (e, b, 4), (e, b, 3), (e, b, 3), (e, b, 3),
        )  # fmt: skip
        self._views = [SimState(*(_aligned(shape) for shape in shapes)) for _ in range(2)]

    def init(self) -> int:
        return self._token

    def step(self, physics, targets, torque_offset=None):
        self._use(physics)
        self.calls["step"] += 1
        s, dt = self._s, self.spec.control_dt
        target = np.asarray(targets, np.float64)
        before = s["joint_pos"].copy()
        s["joint_pos"] += (1.0 - np.exp(-dt / LAG)) * (target - s["joint_pos"])
        if torque_offset is not None:
            s["joint_pos"] += 1e-3 * np.asarray(torque_offset, np.float64).mean(1)
        s["joint_vel"][:] = (s["joint_pos"] - before) / dt
        fallen = (np.abs(s["joint_pos"]) > RANGE).any(-1)
        s["root_pos"] += s["root_lin_vel"] * dt
        s["root_pos"][:, 2] = np.where(fallen, 0.0, s["root_pos"][:, 2])
        if self.calls["step"] == self._poison_at:
            s["joint_pos"][0] = np.nan
        return self._hand_over()

    def reset(self, physics, mask, pose: Pose):
        self._use(physics)
        self.calls["reset"] += 1
        rows = np.asarray(mask)
        for name, value in pose._asdict().items():
            self._s[name][rows] = np.asarray(value, np.float64)[rows]
        return self._hand_over()

    def randomize(self, physics, params: PhysicsParams, mask):
        self._use(physics)
        self.calls["randomize"] += 1
        for name, value in params._asdict().items():
            if value is not None and name not in self.spec.randomizes:
                raise UnsupportedRandomization(f"toy: cannot randomise '{name}'")
        if params.mass_ratio is not None:
            rows = np.asarray(mask)
            self._s["mass"][rows] = (MASS / len(BODIES)) * np.asarray(params.mass_ratio, np.float64)[rows]
        return self._next()

    def set_root_velocity(self, physics, mask, lin, ang):
        self._use(physics)
        self.calls["set_root_velocity"] += 1
        rows = np.asarray(mask)
        self._s["root_lin_vel"][rows] = np.asarray(lin, np.float64)[rows]
        self._s["root_ang_vel"][rows] = np.asarray(ang, np.float64)[rows]
        return self._hand_over()

    def get_state(self, physics) -> Mapping[str, np.ndarray]:
        if physics != self._token:
            raise StalePhysicsError("toy: stale physics value")
        return {name: self._s[name].copy() for name in FIELDS}

    def set_state(self, physics, state: Mapping[str, np.ndarray]):
        self._use(physics)
        for name in FIELDS:
            if name not in state or state[name].shape != self._s[name].shape:
                raise ValueError(f"toy: array '{name}' is missing or misshapen")
            self._s[name][:] = state[name]
        return self._next()

    def close(self) -> None:
        self._token = -1

    def _use(self, physics) -> None:
        if physics != self._token:
            raise StalePhysicsError(f"toy: physics value {physics} is not the newest ({self._token})")
        for view in self._views:  # whoever still reads a borrowed array now reads rubbish
            for array in view:
                array.fill(np.nan)

    def _next(self) -> int:
        self._token += 1
        return self._token

    def _hand_over(self):
        token, view, s = self._next(), self._views[self._token % 2], self._s
        for name in SimState._fields[:6]:
            getattr(view, name)[:] = s[name]
        view.body_pos[:] = s["root_pos"][:, None]
        view.body_pos[:, 1, 2] -= HEIGHT
        view.body_quat[:] = s["root_quat"][:, None]
        view.body_lin_vel[:] = s["root_lin_vel"][:, None]
        view.body_ang_vel[:] = s["root_ang_vel"][:, None]
        view.contact_force[:] = 0.0
        if not np.isfinite(s["root_ang_vel"]).all():
            raise ValueError("toy: a push came with angular velocities that were taken back before")
        weight = 9.81 * s["mass"].sum(-1)
        down = s["root_pos"][:, 2] < 0.1
        view.contact_force[:, 0, 2] = np.where(down, weight, 0.0)
        view.contact_force[:, 1, 2] = np.where(down, 0.0, weight)
        return token, jax.tree.map(jnp.from_dlpack, view)


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros at a 64-byte boundary, which is what lets JAX's CPU backend share them without a copy."""
    count = int(np.prod(shape))
    raw = np.zeros(4 * count + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + 4 * count].view(np.float32).reshape(shape)


class ToyState(struct.PyTreeNode):
    """State of the toy task."""

    clock: jax.Array  # [E] int32, control steps of this episode
    command: jax.Array  # [E] rad, angle asked of every joint
    last_action: jax.Array  # [E, J]
    total: jax.Array  # [E] reward of this episode
    seen: (
        jax.Array
    )  # [E, J] rad, joint angles as last handed over: the very array, which must not be borrowed
    key: jax.Array
    difficulty: jax.Array  # [] grows with every finished episode


def make_env(
    num_envs: int,
    *,
    max_steps: int = MAX_STEPS,
    push_every: int = 7,
    jump_every: int = 0,
    ghost: bool = False,
) -> Env:
    """The toy task: reward 1 - mean |q - command|, failure when the base touches the ground.

    With `jump_every` it also places robots anew within their episodes, `StepResult.jumped`; with `ghost` it shows the
    robot as it is asked to be.
    """
    e, dim = num_envs, 4 * JOINTS + 1

    def reset_for(key: jax.Array, mask: jax.Array, push: jax.Array, spin: jax.Array) -> Reset:
        k_joint, k_mass, k_push = jax.random.split(key, 3)
        zeros = jnp.zeros((e, 3))
        pose = Pose(
            root_pos=jnp.tile(jnp.array([[0.0, 0.0, HEIGHT]]), (e, 1)),
            root_quat=jnp.tile(jnp.array([[1.0, 0.0, 0.0, 0.0]]), (e, 1)),
            root_lin_vel=zeros,
            root_ang_vel=zeros,
            joint_pos=jax.random.uniform(k_joint, (e, JOINTS), minval=-0.5, maxval=0.5),
            joint_vel=jnp.zeros((e, JOINTS)),
        )
        ratio = jax.random.uniform(k_mass, (e, len(BODIES)), minval=0.8, maxval=1.2)
        lin = jax.random.uniform(k_push, (e, 3), minval=-1.0, maxval=1.0)
        return Reset(mask, pose, PhysicsParams(mass_ratio=ratio), push, lin, spin)

    def init(key):
        key, k_reset, k_command = jax.random.split(key, 3)
        state = ToyState(
            clock=jnp.zeros(e, jnp.int32),
            command=jax.random.uniform(k_command, (e,), minval=-0.8, maxval=0.8),
            last_action=jnp.zeros((e, JOINTS)),
            total=jnp.zeros(e),
            seen=jnp.zeros((e, JOINTS)),
            key=key,
            difficulty=jnp.zeros(()),
        )
        return state, reset_for(k_reset, jnp.ones(e, bool), jnp.zeros(e, bool), jnp.zeros((e, 3)))

    def pre_step(state, action):
        return state.replace(last_action=action), ActuatorCommand(action, None)

    def critic_obs(state, sim):
        q, qd = sim.joint_pos, 0.05 * sim.joint_vel
        return jnp.concatenate([state.last_action, state.command[:, None], q, qd, state.seen], -1)

    def observe(state, sim):
        key, k_noise = jax.random.split(state.key)
        clean = critic_obs(state, sim)
        noise = 0.01 * jax.random.uniform(k_noise, clean.shape, minval=-1.0)
        return state.replace(key=key, seen=sim.joint_pos), {"actor_obs": clean + noise, "critic_obs": clean}

    def post_step(state, sim):
        key, k_reset, k_command = jax.random.split(state.key, 3)
        bad = ~jnp.isfinite(sim.joint_pos).all(-1)
        clean = sim._replace(joint_pos=jnp.where(bad[:, None], 0.0, sim.joint_pos))
        clock = state.clock + 1
        error = jnp.abs(clean.joint_pos - state.command[:, None]).mean(-1)
        terminated = ~bad & (clean.contact_force[:, 0, 2] > 1.0)
        truncated = bad | (clock > max_steps)
        done = terminated | truncated
        obs = critic_obs(state, clean)
        command = jax.random.uniform(k_command, (e,), minval=-0.8, maxval=0.8)
        reward = jnp.where(bad, 0.0, 1.0 - error)
        push = ~done & (clock % push_every == 0)
        jumped = ~done & (clock % jump_every == 0) if jump_every else None
        anew = done if jumped is None else done | jumped
        result = StepResult(
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            final_obs={"actor_obs": obs, "critic_obs": obs},
            reset=reset_for(k_reset, anew, push, sim.root_ang_vel),
            episode_return=state.total + reward,
            episode_length=clock,
            metrics={
                "Env/difficulty": state.difficulty,
                "Env/nonfinite": bad.sum(dtype=jnp.float32),
                "Episode/rew_track": (jnp.where(done, reward, 0.0).sum(), done.sum(dtype=jnp.float32)),
            },
            nonfinite=bad,
            jumped=jumped,
        )
        state = state.replace(
            clock=jnp.where(done, 0, clock),
            command=jnp.where(anew, command, state.command),
            last_action=jnp.where(anew[:, None], 0.0, state.last_action),
            total=jnp.where(done, 0.0, state.total + reward),
            key=key,
            difficulty=state.difficulty + 0.01 * done.sum(dtype=jnp.float32),
        )
        return state, result

    def shown(state):
        joints = jnp.broadcast_to(state.command[:, None], (e, JOINTS))
        upright = jnp.tile(jnp.array([[1.0, 0.0, 0.0, 0.0]]), (e, 1))
        still = jnp.zeros((e, 3))
        return Pose(still, upright, still, still, joints, jnp.zeros((e, JOINTS)))

    def randomize_clocks(state, key):
        return state.replace(clock=jax.random.randint(key, (e,), 0, max_steps))

    layout = tuple(
        ObservationTerm(group, "obs", "obs", dim, 1, 1.0, 0.0, 0, tuple(range(dim)), (1.0,) * dim)
        for group in ("actor_obs", "critic_obs")
    )
    spec = EnvSpec(
        num_envs=e,
        action_dim=JOINTS,
        control_dt=0.02,
        max_episode_steps=max_steps,
        layout=layout,
        obs_dims={"actor_obs": dim, "critic_obs": dim},
        action_mirror_index=tuple(range(JOINTS)),
        action_mirror_sign=(1.0,) * JOINTS,
        reward_names=("track",),
        command_ranges=None,
        clip_observations=100.0,
    )
    env = Env(spec, init, pre_step, post_step, observe, randomize_clocks)
    return env._replace(ghost=shown) if ghost else env


def config(**changes: Any) -> Config:
    """A small run; `changes` are fields of `TrainingConfig` or `PpoConfig`."""
    base = compose.load(["exp:g1-29dof"])
    training: dict[str, Any] = {
        "num_envs": 16,
        "seed": 3,
        "project": "toy",
        "name": "run",
        "export_onnx": False,
    }
    algo: dict[str, Any] = {
        "num_learning_iterations": 4,
        "num_steps_per_env": 8,
        "num_learning_epochs": 2,
        "num_mini_batches": 2,
        "actor_hidden": (16,),
        "critic_hidden": (16,),
        "actor_learning_rate": 1e-3,
        "critic_learning_rate": 1e-3,
        "empirical_normalization": True,
        "save_interval": 2,
    }
    training |= _training(changes)
    algo |= {k: v for k, v in changes.items() if k not in training}
    return replace(
        base,
        training=replace(base.training, **training),
        algo=replace(base.algo, config=replace(base.algo.config, **algo)),
        logger=replace(base.logger, type="console", video=replace(base.logger.video, enabled=False)),
    )


def fast_sac(**changes: Any) -> Config:
    """A small run of FastSAC; `changes` are fields of `TrainingConfig` or `FastSacConfig`."""
    algo: dict[str, Any] = {
        "num_learning_iterations": 24,
        "num_updates": 2,
        "policy_frequency": 2,
        "batch_size": 32,
        "buffer_size": 16,
        "learning_starts": 3,
        "actor_hidden_dim": 16,
        "critic_hidden_dim": 16,
        "num_atoms": 21,
        "bf16": False,  # the same products on every machine
        "save_interval": 12,
        "logging_interval": 4,
    }
    base, changed = compose.load(["exp:g1-29dof-fast-sac"]), config(**_training(changes))
    algo |= {k: v for k, v in changes.items() if k not in _training(changes)}
    settings = replace(base.algo.fast_sac, **algo)
    return replace(changed, exp=base.exp, algo=replace(base.algo, config=settings))


def _training(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in changes.items() if k in TrainingConfig.__dataclass_fields__}


def setup(
    cfg: Config | None = None, *, robot: str = "toy", poison_at: int | None = None, jump_every: int = 0
) -> Setup:
    """The parts of a toy run; each call makes a fresh simulator."""
    cfg = cfg or config()
    num_envs = processes.local_share(cfg.training.num_envs, cfg.training.devices)
    bridge = ToyBridge(num_envs, poison_at=poison_at)
    env = make_env(num_envs // cfg.training.devices, jump_every=jump_every)
    named = toy_robot(robot)
    ground = cast("Terrain", SimpleNamespace(ground=Ground()))
    learner = load_learner(cfg)
    return Setup(cfg, named, ground, bridge, env, learner, learner_spec(cfg, env, named, learner))


def toy_robot(name: str = "toy") -> Robot:
    """A record of the robot; no model file is read."""
    joints = np.zeros(JOINTS, np.float32)
    return Robot(
        name=name, mjcf=Path("toy.xml"), joint_names=tuple(f"joint_{i}" for i in range(JOINTS)), body_names=BODIES,
        default_joint_pos=joints, kp=joints + 1, kd=joints + 1, torque_limit=joints + 1, velocity_limit=joints + 1,
        armature=joints, joint_lower=joints - np.float32(RANGE), joint_upper=joints + np.float32(RANGE),
        action_scale=joints + 1, mirror_index=np.arange(JOINTS, dtype=np.int32), mirror_sign=joints + 1,
        init_pos=(0.0, 0.0, HEIGHT), init_quat=(1.0, 0.0, 0.0, 0.0), root_body="base", torso_body="base",
        feet_bodies=("foot", "foot"), foot_height_bodies=("foot", "foot"), termination_bodies=("base",),
        randomized_mass_bodies=("base",), body_mass=np.array([MASS, 1.0], np.float32),
    )  # fmt: skip


def everything(setup: Setup, state: RunState) -> dict[str, Any]:
    """All that a run is, as arrays on the host: learner, environments, simulator, keys, counters."""

    def fetch(x: jax.Array) -> np.ndarray:
        return np.array(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)

    learner, replay, pending, rollout = state.runner
    parts = {"learner": learner, "carry": rollout.carry, "sim": rollout.sim, "replay": replay}
    if setup.learner.kind == "off_policy":  # else it is a buffer to be filled again
        parts["last_transition"] = pending
    physics = dict(setup.bridge.get_state(rollout.physics))
    return {"iteration": state.iteration, "physics": physics, **jax.tree.map(fetch, parts)}
