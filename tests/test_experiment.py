"""Building the parts of a run: what was opened is closed again where a later part refuses the config."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import bridges
from holosoma_jax import envs, experiment
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from tests.support import tracking
from tests.support.toy_bridge import ToyBridge


def test_the_simulator_is_closed_if_the_task_refuses_the_config(monkeypatch):
    calls: list[str] = []
    bridge = SimpleNamespace(spec=ToyBridge(4).spec, close=lambda: calls.append("close"))

    def make(*_: Any, **__: Any) -> Any:
        calls.append("make")
        return bridge

    def refuse(*_: Any, **__: Any) -> Any:
        raise ConfigError("reward.terms.x: refused")

    monkeypatch.setattr(bridges, "make", make)
    monkeypatch.setattr(envs, "make", refuse)
    with pytest.raises(ConfigError, match="refused"):
        experiment.build(compose.load(["exp:g1-29dof", "terrain:terrain-locomotion-plane"]))
    assert calls == ["make", "close"]


@pytest.mark.parametrize(
    ("bounds", "hip", "wrist"),
    [("limits", 3.1918, 1.61443), ("holosoma", 12.7672 * 0.547546465, 6.45772 * 0.07450087)],
)
def test_what_the_actions_of_fast_sac_reach(bounds: str, hip: float, wrist: float):
    """In rad of joint target. holosoma's, which ignore the joints' scales, pass the hip's limit twice over and leave
    the wrist a third of its range."""
    more = (f"--algo.config.action-bounds={bounds}",)
    setup = experiment.build(tracking.config(exp="g1-29dof-wbt-fast-sac", more=more))
    setup.bridge.close()
    names, scale = setup.robot.joint_names, setup.robot.action_scale
    reach = dict(zip(names, setup.learner_spec.action_scale * scale, strict=True))
    assert reach["left_hip_pitch_joint"] == pytest.approx(hip, rel=1e-5)
    assert reach["right_wrist_yaw_joint"] == pytest.approx(wrist, rel=1e-5)
