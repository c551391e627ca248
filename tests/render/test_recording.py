"""Recordings: what goes in comes out, and what is wrong is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridges.protocol import OBJECT_STATE, Ground, SimState
from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.render.recording import METADATA, UNITS, Recorder
from holosoma_jax.render.recording_file import read

STEPS, ENVS = 6, 3


@pytest.fixture(scope="module")
def g1():
    return robots.load("g1")


def state(g1, t: int) -> SimState:
    """Environment e at step t holds 10 t + e everywhere."""
    shapes = {
        "root_pos": 3,
        "root_quat": 4,
        "root_lin_vel": 3,
        "root_ang_vel": 3,
        "joint_pos": 29,
        "joint_vel": 29,
    }
    bodies = g1.num_bodies
    value = (10.0 * t + np.arange(ENVS)).astype(np.float32)

    def of(name: str) -> np.ndarray:
        tail = (shapes[name],) if name in shapes else (bodies, 4 if name == "body_quat" else 3)
        if name.endswith("_quat"):  # a turn about x by that many radians
            half = np.stack([np.cos(value / 2), np.sin(value / 2), 0 * value, 0 * value], -1)
            return np.broadcast_to(half.reshape(ENVS, *[1] * (len(tail) - 1), 4), (ENVS, *tail))
        return np.broadcast_to(value.reshape(-1, *[1] * len(tail)), (ENVS, *tail))

    return SimState(**{name: of(name) for name in SimState._fields if name not in OBJECT_STATE})


@pytest.fixture(scope="module")
def file(g1, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = Recorder(g1, env=1)
    for t in range(STEPS):
        sim = state(g1, t)
        kept.add(sim, np.full((ENVS, 3), 0.5), np.full((ENVS, 29), 0.1), sim.joint_pos + 0.02, t in (0, 4))
    path = tmp_path_factory.mktemp("rec") / "sub" / "walk.npz"
    return kept.save(path, control_dt=0.02, decimation=4, policy="p.onnx")


def test_every_quantity_of_the_chosen_environment(file: Path, g1):
    alone = [name for name in UNITS if not name.startswith(("ghost_", "object_"))]
    with np.load(file) as raw:
        assert set(raw.files) == {METADATA, "episode_start", *alone}
        assert all(raw[name].dtype == np.float32 and len(raw[name]) == STEPS for name in alone)
        np.testing.assert_array_equal(raw["root_pos"][:, 0], [1.0, 11.0, 21.0, 31.0, 41.0, 51.0])
        np.testing.assert_array_equal(raw["episode_start"], [True, False, False, False, True, False])
        # kp * 0.02 - kd * qd, clipped: at t = 0, qd = 1; later the damping saturates the motor
        first = np.clip(g1.kp * 0.02 - g1.kd * 1.0, -g1.torque_limit, g1.torque_limit)
        np.testing.assert_allclose(raw["joint_torque"][0], first, rtol=1e-4, atol=1e-4)
        assert (np.abs(raw["joint_torque"]) <= g1.torque_limit).all()
        metadata = json.loads(str(raw[METADATA]))
    assert metadata["control_hz"] == 50.0 and metadata["physics_hz"] == 200.0
    assert metadata["joint_names"] == list(g1.joint_names) and metadata["policy"] == "p.onnx"
    assert set(metadata["units"]) == set(UNITS)
    assert [p.name for p in file.parent.iterdir()] == ["walk.npz"]


def test_a_second_robot_is_kept_beside_the_first(g1, tmp_path: Path):
    kept = Recorder(g1, env=1)
    for t in range(3):
        sim, ghost = state(g1, t), state(g1, t + 100)
        kept.add(sim, np.zeros((ENVS, 3)), np.zeros((ENVS, 29)), sim.joint_pos, ghost=ghost)
    found = read(kept.save(tmp_path / "two.npz", control_dt=0.02, decimation=4))
    second = found.ghost(2)
    assert second is not None
    assert second.root_pos[0, 0] == 1021.0 and second.joint_pos.shape == (1, 29)
    path = found.trajectory(1).ghost
    assert path is not None
    np.testing.assert_array_equal(path.root_pos[:, 0], [1011.0, 1021.0])


def test_reading_gives_states_and_trajectories(file: Path, g1):
    found = read(file)
    assert (found.num_frames, found.dt, found.robot) == (STEPS, 0.02, "g1")
    frame = found.frame(2)
    for name, want in state(g1, 2)._asdict().items():
        if name in OBJECT_STATE:
            assert getattr(frame, name) is None
            continue
        np.testing.assert_array_equal(getattr(frame, name), want[1:2])
    part = found.trajectory(1, 5, 2)
    np.testing.assert_array_equal(part.root_pos[:, 0], [11.0, 31.0])
    assert part.command is not None and part.command.shape == (2, 3)


def test_a_task_without_commands_records_none(g1, tmp_path: Path):
    """Files of before hold NaN instead, and are read the same."""
    kept = Recorder(g1)
    for t in range(3):
        sim = state(g1, t)
        kept.add(sim, None, np.zeros((ENVS, 29)), sim.joint_pos)
    path = kept.save(tmp_path / "a.npz", control_dt=0.02, decimation=4)
    assert "command" not in read(path).arrays and read(path).trajectory().command is None
    with np.load(path) as raw:
        old = dict(raw) | {"command": np.full((3, 3), np.nan, np.float32)}
    np.savez(tmp_path / "b.npz", allow_pickle=False, **old)
    assert "command" not in read(tmp_path / "b.npz").arrays
    old["command"][0] = 0.0
    np.savez(tmp_path / "c.npz", allow_pickle=False, **old)
    with pytest.raises(ConfigError, match=r"command, frame 1"):
        read(tmp_path / "c.npz")


def test_the_ground_around_the_path_is_kept(g1, tmp_path: Path):
    """Robot 1 goes from (1, 1) to (51, 51) m; the ground is a ramp of 1 in 10 along x, 400 m wide."""
    grid = np.arange(-200.0, 200.5, 0.5)
    ramp = Ground(np.broadcast_to(0.1 * grid[:, None], (801, 801)).astype(np.float32), 0.5, (-200.0, -200.0))
    kept = Recorder(g1, env=1, ground=ramp)
    for t in range(STEPS):
        sim = state(g1, t)
        kept.add(sim, np.zeros((ENVS, 3)), np.zeros((ENVS, 29)), sim.joint_pos)
    found = read(kept.save(tmp_path / "ramp.npz", control_dt=0.02, decimation=4)).ground
    assert found.heights is not None and found.cell == 0.5
    low, high = np.array(found.corner), np.array(found.corner) + 0.5 * (np.array(found.heights.shape) - 1)
    assert (low <= 1.0 - 12.0).all() and (high >= 51.0 + 12.0).all() and found.heights.size < 801**2 / 10
    np.testing.assert_allclose(
        found.heights[:, 0], 0.1 * (low[0] + 0.5 * np.arange(len(found.heights))), atol=1e-5
    )


@pytest.mark.parametrize(
    ("place", "shape"),
    [
        (None, (3, 3)),
        ({"cell": 0.1}, (3, 3)),
        ({"cell": 0.0, "corner": [0, 0]}, (3, 3)),
        ({"cell": "a", "corner": [0, 0]}, (3, 3)),
        ({"cell": 0.1, "corner": [0, 0, 0]}, (3, 3)),
        ({"cell": 0.1, "corner": [0, float("nan")]}, (3, 3)),
        ({"cell": 0.1, "corner": "ab"}, (3, 3)),
        ({"cell": 0.1, "corner": [0, 0]}, (1, 3)),
        ({"cell": 0.1, "corner": [0, 0]}, (3,)),
    ],
)
def test_a_ground_without_a_place_is_refused(
    file: Path, tmp_path: Path, place: object, shape: tuple[int, ...]
):
    with np.load(file) as raw:
        arrays = dict(raw)
    stated = json.loads(str(arrays[METADATA])) | {"ground": place}
    arrays |= {METADATA: np.array(json.dumps(stated)), "ground_heights": np.zeros(shape, np.float32)}
    np.savez(tmp_path / "odd.npz", allow_pickle=False, **arrays)
    with pytest.raises(ConfigError, match="ground"):
        read(tmp_path / "odd.npz")


def document(**changes: Any) -> np.ndarray:
    """The metadata of a recording of one joint and one body."""
    return np.array(json.dumps({"joint_names": ["a"], "body_names": ["b"], "dt": 0.02} | changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"joint_pos": np.zeros((STEPS, 28))}, "joint_pos is float64 of shape .*, 29]"),
        ({"joint_pos": np.zeros(STEPS)}, "joint_pos is float64 of shape .*, 29]"),
        ({"body_quat": np.zeros((STEPS, 3, 4))}, "body_quat is float64 of shape"),
        ({"command": np.zeros((STEPS - 1, 3))}, "command is float64 of shape .*, 3]"),
        ({"root_pos": np.full((STEPS, 3), "far")}, "root_pos is <U3 of shape"),
        ({"root_pos": np.zeros((0, 3))}, "root_pos is float64 of shape"),
        ({"root_pos": np.float64(1.0)}, "root_pos is float64 of shape"),
        ({"root_quat": None}, "lacks 'root_quat'"),
        ({"joint_pos": np.full((STEPS, 29), np.inf)}, "joint_pos, frame 0, entry \\[0\\] is inf"),
        ({"root_quat": np.zeros((STEPS, 4))}, "root_quat, frame 0: .* length 0"),
        ({"ghost_root_pos": np.zeros((STEPS, 3))}, "lacks 'ghost_root_quat'"),
        ({METADATA: document(dt=0)}, "dt is 0"),
        ({METADATA: document(dt=float("nan"))}, "dt is nan"),
        ({METADATA: document(dt=1e-320)}, "dt is 1e-320"),
        ({METADATA: document(dt=True)}, "dt is True"),
        ({METADATA: document(dt="0.02")}, "dt is '0.02'"),
        ({METADATA: document(joint_names="knee")}, "joint_names is 'knee'"),
        ({METADATA: document(joint_names=["a", "a"])}, "joint_names names 'a' twice"),
        ({METADATA: document(body_names=[])}, "body_names is empty"),
        ({METADATA: document(robot=["g1"])}, "joint_pos is|robot is"),
        ({METADATA: np.array("[" * 100_000)}, "not JSON"),
        ({METADATA: np.array("3")}, "holds 3"),
    ],
)
def test_a_recording_that_is_wrong(file: Path, tmp_path: Path, changes: dict[str, Any], expected: str):
    with np.load(file) as arrays:
        changed = dict(arrays) | changes
    np.savez(tmp_path / "wrong.npz", **{k: v for k, v in changed.items() if v is not None})
    with pytest.raises(ConfigError, match=f"wrong.npz: .*{expected}") as error:
        read(tmp_path / "wrong.npz")
    assert "\n" not in str(error.value)


def test_what_is_no_recording(tmp_path: Path):
    (tmp_path / "x.npz").write_text("no zip")
    (tmp_path / "empty.npz").touch()
    (tmp_path / "run").mkdir()
    for name, expected in (
        ("none.npz", "no such file"),
        ("x.npz", "not an .npz file of arrays, or cut short; wanted an .npz that eval --record has written"),
        ("empty.npz", "not an .npz file of arrays"),
        ("run", "is a folder; wanted an .npz"),
    ):
        with pytest.raises(ConfigError, match=expected) as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)
    np.savez(tmp_path / "clip.npz", joint_pos=np.zeros((5, 36)))
    with pytest.raises(ConfigError, match="has no _metadata_json"):
        read(tmp_path / "clip.npz")
    np.savez(tmp_path / "y.npz", **{METADATA: np.array("{}")})
    with pytest.raises(ConfigError, match="joint_names is None"):
        read(tmp_path / "y.npz")
