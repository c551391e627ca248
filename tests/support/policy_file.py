"""Policies as files, small enough to be read at a glance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holosoma_jax import robots
from tests.support.onnx_files import Graph

PolicyFile = Callable[..., Path]


@pytest.fixture
def policy_file(tmp_path: Path) -> PolicyFile:
    """Writes a linear policy, a = W obs + b, as holosoma exports one: static batch, four keys."""

    def write(robot: str = "g1", obs_dim: int = 100, gain: float = 0.0, **metadata: Any) -> Path:
        record = robots.load(robot)
        stated: Mapping[str, Any] = {
            "dof_names": list(record.joint_names),
            "kp": record.kp.tolist(),
            "kd": record.kd.tolist(),
            "command_ranges": {
                "lin_vel_x": [-1.0, 1.0],
                "lin_vel_y": [-1.0, 1.0],
                "ang_vel_yaw": [-1.0, 1.0],
            },
        }
        graph = Graph()
        weight = gain * np.random.default_rng(1).standard_normal((record.num_joints, obs_dim))
        bias = graph.const(np.zeros(record.num_joints))
        graph.add("Gemm", "actor_obs", graph.const(weight), bias, output="action", transB=1)
        return graph.save(
            tmp_path / "policy.onnx",
            {k: v for k, v in (stated | metadata).items() if v is not None},
            inputs={"actor_obs": (1, obs_dim)},
            output_shape=(1, record.num_joints),
        )

    return write
