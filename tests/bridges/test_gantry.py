"""The gantry: what its rope pulls with, that it holds a robot and sets it down, in MuJoCo and in MuJoCo Warp."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bridges
from bridges import remote
from bridges.mujoco import gantry
from bridges.mujoco import model as mujoco_model
from bridges.protocol import Ground, Hanging, Pose
from holosoma_jax import robots
from holosoma_jax.config import compose, extras
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import SimulatorConfig, VirtualGantryConfig

NUM = 2
G1 = robots.load("g1")


def simulator(name: str = "mujoco", **changes: object) -> SimulatorConfig:
    cfg = compose.load(["exp:g1-29dof", f"simulator:{name}"]).simulator
    settings = replace(VirtualGantryConfig(enabled=True), **changes)
    return replace(cfg, config=replace(cfg.config, virtual_gantry=settings))


def standing(places: np.ndarray, robot: robots.robot.Robot = G1) -> Pose:
    """At rest in the default pose, `places` [E, 2] m."""
    e = len(places)
    still, joints = np.zeros((e, 3), np.float32), np.zeros((e, robot.num_joints), np.float32)
    height = np.full((e, 1), robot.init_pos[2])
    return Pose(
        np.concatenate([places, height], 1).astype(np.float32),
        np.tile(np.asarray(robot.init_quat, np.float32), (e, 1)),
        still,
        still,
        joints + np.asarray(robot.default_joint_pos, np.float32),
        joints,
    )


PLACES = np.array([[0.0, 0.0], [3.0, -2.0]])


@pytest.fixture(params=["mujoco", pytest.param("mjwarp", marks=pytest.mark.slow)], scope="module")
def bridge(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "mjwarp" and not extras.is_installed("mujoco_warp"):
        pytest.skip("needs MuJoCo Warp")
    made = bridges.make(simulator(request.param, hold_s=0.6, release_s=0.8), G1, Ground(), NUM)
    yield made
    made.close()


def limp(bridge: Any, physics: Any, seconds: float, hold: np.ndarray) -> tuple[Any, Any]:
    """Some control steps that hold the default pose."""
    sim = None
    for _ in range(round(seconds / bridge.spec.control_dt)):
        physics, sim = bridge.step(physics, hold)
    return physics, sim


# --- the rope ------------------------------------------------------------------------------------------


def test_tension_by_hand() -> None:
    """200 N/m, 100 N s/m. 1 m of rope stretched to 2 m: 200 N; rising at 1 m/s: 100 N; at 3 m/s: slack."""
    cfg = VirtualGantryConfig()
    anchor, length = np.tile([[0.0, 0.0, 3.0]], (6, 1)), np.ones(6)
    pos = np.array([[0, 0, 1.0]] * 4 + [[0, 0, 2.5], [1.2, 0, 1.4]])
    vel = np.array([[0, 0, 0], [0, 0, 1.0], [0, 0, 3.0], [1.0, 0, 0], [0, 0, -1.0], [0, 0, 0]])
    force = gantry.tension(cfg, anchor, length, pos, vel)
    # the last: 2 m away, 0.6 of it along -x and 0.8 along z
    wanted = [[0, 0, 200], [0, 0, 100], [0, 0, 0], [0, 0, 200], [0, 0, 0], [-120, 0, 160]]
    np.testing.assert_allclose(force, wanted, atol=1e-9)


@pytest.mark.parametrize("xp", [np, jnp])
def test_it_is_held_paid_out_and_let_go(xp: Any) -> None:
    """Length 0.5 for 2 s, 3 m more within 2 s, then nothing; a rope that somebody has set stays as it is."""
    cfg = VirtualGantryConfig(length=0.5)
    ropes = gantry.at_start(cfg, G1, xp.zeros((6, 3), np.float32), xp)
    time = xp.asarray([0.0, 2.0, 3.0, 3.5, 4.0, 60.0], np.float32)
    found = gantry.rest_length(cfg, ropes, time, xp)
    np.testing.assert_allclose(found, [0.5, 0.5, 2.0, 2.75, gantry.SLACK, gantry.SLACK])
    for_ever = gantry.rest_length(replace(cfg, hold_s=None), ropes, time, xp)
    np.testing.assert_allclose(for_ever, 0.5)
    at_once = gantry.rest_length(replace(cfg, release_s=0.0), ropes, time, xp)
    np.testing.assert_allclose(at_once, [0.5, 0.5, *[gantry.SLACK] * 4])
    by_hand = gantry.over(ropes, xp.ones((6, 3), np.float32), xp.full(6, 0.7), xp)
    np.testing.assert_allclose(gantry.rest_length(cfg, by_hand, time, xp), 0.7)
    np.testing.assert_allclose(by_hand.anchor[0], [1.0, 1.0, 3.0 - G1.init_pos[2]])
    assert found.dtype == by_hand.length.dtype == np.float32


# --- robots on it --------------------------------------------------------------------------------------


def test_a_robot_hangs_is_set_down_and_stands(bridge: Any) -> None:
    """Hanging at rest, the rope is as long as its weight stretches it; after the release it carries nothing."""
    assert isinstance(bridge, Hanging)
    pose = standing(PLACES)
    physics, sim = bridge.reset(bridge.init(), np.ones(NUM, bool), pose)
    physics = bridge.hang(physics, np.ones(NUM, bool), np.zeros(NUM, np.float32))
    physics, sim = limp(bridge, physics, 4.0, pose.joint_pos)
    weight = 9.81 * float(mujoco_model.build(G1, Ground(), simulator()).body_mass.sum())
    hanging = np.array(sim.root_pos)
    # 200 N/m from a point 3 m up: 1.636 m of rope
    np.testing.assert_allclose(hanging[:, 2], 3.0 - weight / 200.0, atol=0.06)
    np.testing.assert_allclose(hanging[:, :2], PLACES, atol=0.15)
    assert not np.array(sim.contact_force).any()
    # from the start again: 0.6 s up, 0.8 s down, and 0.4 s on its own feet
    physics, sim = bridge.reset(physics, np.ones(NUM, bool), pose)
    physics, sim = limp(bridge, physics, 0.6, pose.joint_pos)
    assert (np.array(sim.root_pos)[:, 2] > 1.0).all()
    physics, sim = limp(bridge, physics, 1.2, pose.joint_pos)
    feet = [G1.body_names.index(name) for name in G1.feet_bodies]
    assert (np.array(sim.contact_force)[:, feet, 2].sum(1) > 0.5 * weight).all()
    assert (np.abs(np.array(sim.root_pos)[:, 2] - G1.init_pos[2]) < 0.25).all()


def test_a_person_holds_one_robot_and_lets_it_go(bridge: Any) -> None:
    pose = standing(PLACES)
    physics, _ = bridge.reset(bridge.init(), np.ones(NUM, bool), pose)
    one = np.array([False, True])
    physics = bridge.hang(physics, np.ones(NUM, bool), np.full(NUM, np.inf, np.float32))
    physics = bridge.hang(physics, one, np.zeros(NUM, np.float32))
    physics, sim = limp(bridge, physics, 1.0, pose.joint_pos)
    high = np.array(sim.root_pos)[:, 2]
    assert high[0] < 0.85 and high[1] > 1.1
    physics = bridge.hang(physics, one, np.full(NUM, np.inf, np.float32))
    physics, sim = limp(bridge, physics, 0.3, pose.joint_pos)
    assert np.array(sim.root_pos)[1, 2] < high[1] - 0.2
    with pytest.raises(ValueError, match="length"):
        bridge.hang(physics, one, np.array([0.0, -1.0], np.float32))


def test_the_ropes_are_part_of_the_state(bridge: Any) -> None:
    """Saved while one robot is held by hand and another by the clock, and continued: the same bits."""
    pose = standing(PLACES)
    physics, _ = bridge.reset(bridge.init(), np.ones(NUM, bool), pose)
    physics = bridge.hang(physics, np.array([True, False]), np.full(NUM, 0.4, np.float32))
    physics, _ = limp(bridge, physics, 0.5, pose.joint_pos)
    saved = jax.tree.map(np.array, dict(bridge.get_state(physics)))
    physics, sim = limp(bridge, physics, 0.6, pose.joint_pos)
    first = jax.tree.map(np.array, sim)
    physics = bridge.set_state(bridge.init(), saved)
    _, sim = limp(bridge, physics, 0.6, pose.joint_pos)
    jax.tree.map(np.testing.assert_array_equal, first, jax.tree.map(np.array, sim))


@pytest.mark.slow
def test_both_simulators_pull_alike() -> None:
    pytest.importorskip("mujoco_warp")
    pose, heights = standing(PLACES), []
    for name in ("mujoco", "mjwarp"):
        made = bridges.make(simulator(name), G1, Ground(), NUM)
        try:
            physics, _ = made.reset(made.init(), np.ones(NUM, bool), pose)
            _, sim = limp(made, physics, 0.4, pose.joint_pos)
            heights.append(np.array(sim.root_pos))
        finally:
            made.close()
    np.testing.assert_allclose(*heights, atol=2e-4)


def test_without_it_the_model_and_the_state_are_as_they_were() -> None:
    cfg = simulator(enabled=False)
    made = bridges.make(cfg, G1, Ground(), NUM)
    try:
        physics = made.init()
        assert set(made.get_state(physics)) == {"integration", "warnings", "contact_force"}
        with pytest.raises(RuntimeError, match="virtual_gantry"):
            made.hang(physics, np.ones(NUM, bool), np.zeros(NUM, np.float32))  # type: ignore[attr-defined]
    finally:
        made.close()


# --- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"attachment_body_names": ("neck", "tail")}, r"attachment_body_names.*'neck', 'tail'.*pelvis"),
        ({"damping": 5000.0}, r"damping: got 5000.*torso_link"),
        ({"stiffness": 1e6, "damping": 0.0}, r"stiffness: got 1e\+06.*torso_link"),
    ],
)
def test_what_cannot_hold_is_one_line(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as raised:
        bridges.make(simulator(**changes), G1, Ground(), 1)
    assert "\n" not in str(raised.value)


def test_simulators_without_it_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "make", lambda *args, **kwargs: pytest.fail("it was started"))
    gym = replace(simulator(), name="isaacgym")
    far = simulator()
    far = replace(
        far, config=replace(far.config, remote=replace(far.config.remote, python="/usr/bin/python3"))
    )
    for cfg in (gym, far):
        with pytest.raises(ConfigError, match=r"virtual_gantry\.enabled.*simulator:mjwarp"):
            bridges.make(cfg, G1, Ground(), 1)
