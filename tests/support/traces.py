"""Recorded traces of holosoma, as our own types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from bridges.protocol import BridgeSpec, PhysicsParams, SimState
from holosoma_jax import robots
from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config
from holosoma_jax.envs.state import Draws
from holosoma_jax.envs.terms.commands import AXES, VelocityDraw
from holosoma_jax.envs.view import GAIT, VELOCITY
from holosoma_jax.robots.robot import Robot
from tests.support.shared import shared_arrays, shared_path


@dataclass(frozen=True)
class Recorded:
    """Arrays and facts of one recorded run, with the config and robot that it needs."""

    data: dict[str, np.ndarray]
    facts: dict[str, Any]
    cfg: Config
    robot: Robot

    @property
    def steps(self) -> int:
        """Recorded control steps."""
        return self.facts["num_steps"]

    @property
    def envs(self) -> int:
        """Recorded environments."""
        return self.facts["num_envs"]

    @property
    def bridge(self) -> BridgeSpec:
        """What holosoma's simulator would have said of itself."""
        return BridgeSpec(
            simulator="mujoco",
            num_envs=self.envs,
            joint_names=self.robot.joint_names,
            body_names=self.robot.body_names,
            physics_dt=self.facts["sim_dt"],
            decimation=self.facts["decimation"],
            randomizes=frozenset(PhysicsParams._fields),
        )


@dataclass(frozen=True)
class Trace(Recorded):
    """A locomotion run."""

    @property
    def has_feet_quat(self) -> bool:
        """Whether foot orientations were recorded (the history trace lacks them)."""
        return "pre/feet_quat" in self.data

    def term_names(self) -> list[str]:
        """Reward terms, in the recorded order."""
        return list(self.facts["reward_terms"])

    def sim(self, stage: str) -> SimState:
        """Simulator states [T, N, ...] of 'pre' (after physics) or 'post' (after resets and pushes)."""
        d = self.data
        root = {k: d[f"pre/{k}"] for k in ("root_pos", "root_quat", "root_lin_vel", "root_ang_vel")}
        joints = {k: d[f"pre/{k}"] for k in ("dof_pos", "dof_vel")}
        if stage == "post":
            steps, envs = d["event/index"].T
            for values in (root, joints):
                for k, before in values.items():
                    values[k] = before.copy()
                    values[k][steps, envs] = d[f"event/{k}"]
        t, n, b = self.steps, self.envs, self.robot.num_bodies
        body_pos = np.zeros((t, n, b, 3), np.float32)
        body_quat = np.zeros((t, n, b, 4), np.float32)
        body_quat[..., 0] = 1.0
        force = np.zeros((t, n, b, 3), np.float32)
        body_pos[:, :, d["const/feet_height_indices"]] = d["pre/foot_point_pos"]
        body_pos[:, :, d["const/feet_indices"]] = d["pre/feet_pos"]
        if self.has_feet_quat:
            body_quat[:, :, d["const/feet_indices"]] = wxyz(d["pre/feet_quat"])
        force[:, :, d["const/termination_contact_indices"]] = d["pre/termination_contact_forces"]
        return SimState(
            root_pos=root["root_pos"],
            root_quat=wxyz(root["root_quat"]),
            root_lin_vel=root["root_lin_vel"],
            root_ang_vel=root["root_ang_vel"],
            joint_pos=joints["dof_pos"],
            joint_vel=joints["dof_vel"],
            body_pos=body_pos,
            body_quat=body_quat,
            body_lin_vel=np.zeros_like(body_pos),
            body_ang_vel=np.zeros_like(body_pos),
            contact_force=force,
        )

    def draws(self, example: Draws) -> Draws:
        """What holosoma drew, [T, N, ...]: its values where used, those of `example` (one step) elsewhere."""
        d, shape = self.data, (self.steps, self.envs)
        push = np.zeros((*shape, 2), np.float32)
        steps, envs = d["event/index"].T
        push[steps, envs] = d["event/root_lin_vel"][:, :2]
        frequency = d["post/gait_freq"][..., 0]
        whole = jax.tree.map(lambda x: np.broadcast_to(x, (self.steps, *x.shape)), example.terms)
        recorded = {
            ("commands", VELOCITY): {
                "reset": self._velocity_draw(d["afterreset/command"]),
                "timer": self._velocity_draw(d["post/command"]),
            },
            ("commands", GAIT): {
                "left": d["post/phase_offset"][..., 0],
                "reset": frequency,
                "timer": frequency,
            },
            ("randomization", "setup_action_delay_buffers"): np.concatenate(
                [d["act/delay_idx"][1:], d["act/delay_idx"][-1:]]
            ),
            ("randomization", "push_randomizer_state"): {
                "interval": np.floor(d["post/push_interval_s"] / np.float32(self.facts["dt"])).astype(
                    np.int32
                ),
                "velocity": push,
            },
        }
        for (kind, name), values in recorded.items():
            assert jax.tree.map(np.shape, whole[kind][name]) == jax.tree.map(np.shape, values)
            whole[kind][name] = values
        return Draws(whole, np.zeros((*shape, 2), np.float32), np.zeros((self.steps, 2), np.uint32))

    def _velocity_draw(self, command: np.ndarray) -> VelocityDraw:
        """The draw that gives these commands [T, N, 3]."""
        ranges = self.cfg.command.setup_terms[VELOCITY].params["command_ranges"]
        low, high = (np.array([ranges[axis][side] for axis in AXES], np.float32) for side in (0, 1))
        return VelocityDraw((command - low) / (high - low), ~command.any(-1))


def wxyz(quat: np.ndarray) -> np.ndarray:
    """Recorded quaternions (scalar last) in our order (scalar first)."""
    return np.roll(quat, 1, axis=-1)


def load(name: str, exp: str, *overrides: str) -> Trace:
    """The recorded trace `name`, with the preset `exp` on the plane, noise off; skips if absent."""
    data = shared_arrays(name)
    facts = json.loads(shared_path(f"golden/{name}.json").read_text())
    cfg = compose.load(
        [
            f"exp:{exp}",
            "terrain:terrain-locomotion-plane",
            "--observation.groups.actor-obs.enable-noise=False",
            f"--training.num-envs={facts['num_envs']}",
            *overrides,
        ]
    )
    return Trace(data, facts, cfg, robots.configure(robots.load(cfg.robot.asset), cfg.robot))
