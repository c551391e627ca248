"""The toy's task, to hold the joints at a commanded angle: the whole `Env` interface."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from bridges.protocol import PhysicsParams, Pose
from holosoma_jax.envs.env import ActuatorCommand, Env, EnvSpec, ObservationTerm, Reset, StepResult
from tests.support.toy_bridge import BODIES, HEIGHT, JOINTS

MAX_STEPS = 20  # control steps of an episode


class ToyState(struct.PyTreeNode):
    """State of the toy task."""

    clock: jax.Array  # [E] int32, control steps of this episode
    command: jax.Array  # [E] rad, angle asked of every joint
    last_action: jax.Array  # [E, J]
    total: jax.Array  # [E] reward of this episode
    seen: (
        jax.Array
    )  # [E, J] rad, joint angles as last handed over: the array itself, to see that it is not borrowed
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
