"""Policies of the G1 as other projects write them: the network, and what is stated in the file or beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holosoma_jax import robots
from tests.support.onnx_files import Graph

G1 = robots.load("g1")
BREADTH_FIRST = [
    *(0, 6, 12, 1, 7, 13, 2, 8, 14, 3),
    *(9, 15, 22, 4, 10, 16, 23, 5, 11, 17),
    *(24, 18, 25, 19, 26, 20, 27, 21, 28),
]
"""`joint_ids_map` of the deploy.yaml that unitree_rl_lab writes for the G1 of 29 joints"""
MJLAB = ("base_lin_vel", "base_ang_vel", "projected_gravity", "joint_pos", "joint_vel", "actions", "command")

Write = Callable[..., Path]


@pytest.fixture
def picking(tmp_path: Path) -> Write:
    """Writes a policy whose action i is entry `picks[i]` of its observation: what goes in, comes out."""

    def write(obs_dim: int, picks: list[int], name: str = "policy.onnx", **raw: str) -> Path:
        graph = Graph()
        weight = np.zeros((len(picks), obs_dim))
        weight[np.arange(len(picks)), picks] = 1.0
        bias = graph.const(np.zeros(len(picks)))
        graph.add("Gemm", "obs", graph.const(weight), bias, output="actions", transB=1)
        return graph.save(
            tmp_path / name,
            raw=raw,
            inputs={"obs": (1, obs_dim)},
            output="actions",
            output_shape=(1, len(picks)),
        )

    return write


def separated(values: Any) -> str:
    """Comma-separated text, three decimals, as mjlab and BeyondMimic write it."""
    return ",".join(v if isinstance(v, str) else f"{v:.3f}" for v in values)


def mjlab_metadata(names: list[str]) -> dict[str, str]:
    order = [G1.joint_names.index(name) for name in names]
    return {
        "run_path": "someone/mjlab/abc123",
        "joint_names": separated(names),
        "joint_stiffness": separated(2.0 * G1.kp[order]),
        "joint_damping": separated(G1.kd[order]),
        "default_joint_pos": separated(0.01 * np.arange(29)),
        "command_names": "twist",
        "observation_names": separated(MJLAB),
        "action_scale": separated(np.linspace(0.2, 0.6, 29)),
    }


def deploy_yaml(history: int) -> dict[str, Any]:
    """As unitree_rl_lab writes it: gains by motor, everything else by the policy's joints."""
    pose = (0.01 * np.arange(29)).round(3).tolist()
    names = (
        "base_ang_vel",
        "projected_gravity",
        "velocity_commands",
        "joint_pos_rel",
        "joint_vel_rel",
        "last_action",
    )
    scales = {"base_ang_vel": [0.2] * 3, "joint_vel_rel": [0.05] * 29, "velocity_commands": [2.0, 2.0, 0.25]}
    dims = {"joint_pos_rel": 29, "joint_vel_rel": 29, "last_action": 29}
    return {
        "joint_ids_map": BREADTH_FIRST,
        "step_dt": 0.02,
        "stiffness": (10.0 + np.arange(29)).tolist(),
        "damping": [2.0] * 29,
        "default_joint_pos": pose,
        "commands": {"base_velocity": {"ranges": {"lin_vel_x": [-0.5, 1.0], "ang_vel_z": [-0.2, 0.2]}}},
        "actions": {
            "JointPositionAction": {
                "clip": None,
                "joint_names": [".*"],
                "scale": [0.25] * 29,
                "offset": pose,
                "joint_ids": None,
            }
        },
        "observations": {
            name: {
                "params": {},
                "clip": [-100.0, 100.0],
                "scale": scales.get(name, [1.0] * dims.get(name, 3)),
                "history_length": history,
            }
            for name in names
        },
    }
