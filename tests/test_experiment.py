"""Building the parts of a run: what was opened is closed again where a later part refuses the config."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import bridges
from holosoma_jax import envs, experiment
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from tests.support.toy import ToyBridge


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
