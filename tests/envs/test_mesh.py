"""A mesh file as ground: its heights against worked examples and ray casts, what is lost, what is refused."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
import trimesh

import bridges
from bridges.protocol import Ground, Pose
from holosoma_jax import robots
from holosoma_jax.config import compose, extras
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import SpawnConfig, TerrainConfig, TerrainTermConfig
from holosoma_jax.envs import terrain
from holosoma_jax.envs.terrain import mesh

RAMP = [[0, 0, 0], [4, 0, 1], [0, 2, 0], [4, 2, 1]]
"""rises a metre over four along x"""
TWO = [[0, 1, 2], [1, 3, 2]]
"""its triangles, seen from above counter-clockwise"""


def write(path: Path, vertices: object, faces: object) -> Path:
    trimesh.Trimesh(np.array(vertices, float), faces, process=False).export(path)
    return path


def load(path: Path, **changes: object) -> terrain.Terrain:
    settings = {"border_size": 0.0, "num_rows": 1, "num_cols": 1} | changes
    term = TerrainTermConfig(mesh_type="load_obj", obj_file_path=str(path), **settings)  # type: ignore[arg-type]
    return terrain.build(TerrainConfig(term), 0)


def heights_of(built: terrain.Terrain) -> np.ndarray:
    assert built.ground.heights is not None
    return built.ground.heights


def hills(seed: int = 0, size: float = 6.0, points: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """A bumpy surface of irregular triangles over size x size m: vertices and faces."""
    rng, n = np.random.default_rng(seed), points
    step = size / (n - 1)
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1) * step
    moved = grid.copy()
    moved[1:-1, 1:-1] += rng.uniform(-0.3, 0.3, (n - 2, n - 2, 2)) * step
    z = 0.15 * np.sin(1.3 * moved[..., 0]) * np.cos(0.9 * moved[..., 1]) + rng.uniform(0, 0.02, (n, n))
    index = np.arange(n * n).reshape(n, n)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[:-1, 1:], index[1:, 1:]))
    vertices = np.concatenate([moved, z[..., None]], -1).reshape(-1, 3)
    return vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])


@pytest.mark.parametrize("suffix", ["obj", "stl", "ply", "OBJ"])
def test_a_ramp_in_every_format(tmp_path: Path, suffix: str) -> None:
    """Height x / 4 on [0, 4] x [0, 2] m; beyond it, that of its edge."""
    path = write(tmp_path / "ramp.obj", RAMP, TWO) if suffix == "OBJ" else None
    path = path.rename(tmp_path / "ramp.OBJ") if path else write(tmp_path / f"ramp.{suffix}", RAMP, TWO)
    built = load(path, horizontal_scale=0.5, border_size=1.0)
    assert built.ground.corner == (-1.0, -1.0) and heights_of(built).shape == (13, 9)
    wanted = np.tile(np.clip((np.arange(13) * 0.5 - 1.0) / 4, 0.0, 1.0)[:, None], (1, 9))
    np.testing.assert_allclose(heights_of(built), wanted, atol=1e-7)


def test_heights_are_where_rays_from_above_hit_the_mesh(tmp_path: Path) -> None:
    """Two routes: our rasterisation, and MuJoCo's rays onto the same triangles."""
    vertices, faces = hills()
    built = load(write(tmp_path / "hills.obj", vertices, faces), horizontal_scale=0.05)
    spec = mujoco.MjSpec()
    spec.add_mesh(
        name="hills",
        uservert=vertices.ravel(),
        userface=faces.ravel(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname="hills")
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    inner = np.stack(np.meshgrid(np.arange(1, 120, 7), np.arange(1, 120, 7), indexing="ij"), -1).reshape(
        -1, 2
    )
    hit = np.zeros(1, np.int32)
    for i, j in inner:
        start = np.array([0.05 * i, 0.05 * j, 5.0])
        distance = mujoco.mj_ray(model, data, start, np.array([0.0, 0.0, -1.0]), None, 1, -1, hit)
        assert distance > 0
        np.testing.assert_allclose(heights_of(built)[i, j], 5.0 - distance, atol=2e-6)
    assert mesh.surface(vertices[faces], 0.05, np.zeros(2), (121, 121)).hidden == 0.0


def test_a_large_triangle_is_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    triangles = np.array(RAMP, float)[np.array(TWO)]
    whole = mesh.surface(triangles, 0.1, np.zeros(2), (41, 21))
    monkeypatch.setattr(mesh, "PAIRS", 37)
    parts = mesh.surface(triangles, 0.1, np.zeros(2), (41, 21))
    np.testing.assert_array_equal(whole.heights, parts.heights)
    assert whole.covered.all() and parts.covered.all()


def test_of_a_table_the_top_is_kept_and_the_loss_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A floor of 4 x 4 m with a box of 2 x 2 x 0.5 m that floats 1 m above it: 16 m^2, 4 m^2 of it twice."""
    floor = trimesh.creation.box((4.0, 4.0, 0.2), trimesh.transformations.translation_matrix([2, 2, -0.1]))
    table = trimesh.creation.box((2.0, 2.0, 0.5), trimesh.transformations.translation_matrix([2, 2, 1.25]))
    path = tmp_path / "table.stl"
    trimesh.util.concatenate([floor, table]).export(path)
    with caplog.at_level(logging.WARNING):
        built = load(path, horizontal_scale=0.5)
    wanted = np.zeros((9, 9))
    wanted[2:7, 2:7] = 1.5
    np.testing.assert_allclose(heights_of(built), wanted, atol=1e-6)
    assert (
        len(caplog.messages) == 1 and f"{25 / 81:.1%}" in caplog.messages[0]
    )  # grid points with two surfaces
    assert "7.2 m^2" in caplog.messages[0]  # walls: 4 * 4 * 0.2 of the floor, 4 * 2 * 0.5 of the box


def test_the_order_of_corners_does_not_matter() -> None:
    vertices, faces = hills()
    one = mesh.surface(vertices[faces], 0.1, np.zeros(2), (61, 61))
    other = mesh.surface(vertices[faces[:, ::-1]], 0.1, np.zeros(2), (61, 61))
    np.testing.assert_allclose(one.heights, other.heights, atol=1e-6)
    assert one.hidden == other.hidden == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_of_a_closed_solid_only_the_top_looks_up(seed: int) -> None:
    """Its faces cancel, seen from above; a convex one has a single surface that looks up, whichever way corners go."""
    solid = trimesh.creation.box((2.0, 1.5, 1.0))
    turn = trimesh.transformations.random_rotation_matrix(np.random.default_rng(seed).random(3))
    corners = (np.asarray(solid.triangles) @ turn[:3, :3].T) + (3.0, 3.0, 5.0)
    for triangles in (corners, corners[:, ::-1]):
        seen = mesh.surface(triangles, 0.05, np.zeros(2), (121, 121))
        assert seen.covered.any() and seen.hidden == 0.0


def test_robots_start_on_the_mesh(tmp_path: Path, key: jax.Array) -> None:
    """Two islands at heights 1 and 2 with a gap between them: each start is on one, at its height."""
    square = np.array([[0, 0], [2, 0], [0, 2], [2, 2]], float)
    vertices = [[x, y, 1.0] for x, y in square] + [[x + 6.0, y, 2.0] for x, y in square]
    path = write(tmp_path / "islands.ply", vertices, [*TWO, *(np.array(TWO) + 4)])
    spawn = SpawnConfig(query_terrain_height=True, use_grid_sampling=True)
    built = load(path, num_rows=5, num_cols=2, horizontal_scale=0.1, spawn=spawn)
    assert built.tile_origins.shape == (5, 2, 3)
    x, z = built.tile_origins[..., 0], built.tile_origins[..., 2]
    assert set(np.round(z, 6).ravel()) == {1.0, 2.0}
    np.testing.assert_array_equal(z < 1.5, x < 4.0)
    assert ((x <= 2.01) | (x >= 5.99)).all()
    np.testing.assert_allclose(x[0], 0.8)  # (0 + 0.5) / 5 * 8 m
    origins = np.asarray(built.origins(built.env_tiles(key, 8)))
    height = np.asarray(built.spawn_height(jnp.asarray(origins[:, :2])))
    np.testing.assert_allclose(height, origins[:, 2], atol=1e-6)


def test_a_file_with_y_up_is_named_and_turned(tmp_path: Path) -> None:
    turned = np.array([[x, z, -y] for x, y, z in RAMP])
    path = write(tmp_path / "ramp.obj", turned, TWO)
    with pytest.raises(ConfigError, match=r"4 x 1 x 2 m.*up-axis=y"):
        load(path)
    np.testing.assert_allclose(
        heights_of(load(path, up_axis="y", horizontal_scale=0.5)),
        heights_of(load(write(tmp_path / "z.obj", RAMP, TWO), horizontal_scale=0.5)),
        atol=1e-6,
    )


def test_millimetres_are_converted(tmp_path: Path) -> None:
    path = write(tmp_path / "mm.stl", 1000.0 * np.array(RAMP), TWO)
    built = load(path, scale_factor=0.001, horizontal_scale=0.5, border_size=1.0)
    assert heights_of(built).shape == (13, 9)
    np.testing.assert_allclose(heights_of(built).max(), 1.0, atol=1e-6)


def _text(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


FLAT = "v 0 0 0\nv 4 0 0\nv 0 4 0\n"


@pytest.mark.parametrize(
    "name, make, changes, named",
    [
        ("none.obj", lambda path: None, {}, "no such file"),
        ("hill.fbx", _text("x"), {}, r"\.obj, \.stl, \.ply"),
        ("folder.obj", Path.mkdir, {}, "folder"),
        ("pipe.obj", os.mkfifo, {}, "no regular file"),
        ("device.obj", lambda path: path.symlink_to("/dev/zero"), {}, "no regular file"),
        ("empty.obj", _text(""), {}, "."),
        ("empty.stl", _text(""), {}, "."),
        ("points.obj", _text(FLAT), {}, "no triangles"),
        ("noise.ply", lambda path: path.write_bytes(bytes(range(256)) * 9) and None, {}, "."),
        ("nan.obj", _text(FLAT.replace("4 0 0", "nan 0 0") + "f 1 2 3\n"), {}, "1 of 1 triangles"),
        ("inf.obj", _text(FLAT.replace("4 0 0", "1e400 0 0") + "f 1 2 3\n"), {}, "1 of 1 triangles"),
        ("missing.obj", _text(FLAT + "f 1 2 9\n"), {}, "."),
        ("small.obj", _text(FLAT.replace("4", "0.4") + "f 1 2 3\n"), {}, "scale-factor"),
        ("far.obj", _text(FLAT.replace("4", "40000") + "f 1 2 3\n"), {}, "scale-factor"),
        ("large.obj", _text(FLAT.replace("4", "4000") + "f 1 2 3\n"), {"horizontal_scale": 0.01}, "GB"),
        ("wall.obj", _text("v 0 0 0\nv 4 4 0\nv 0 0 4\nf 1 2 3\n"), {"up_axis": "z"}, "above"),
    ],
)
def test_what_is_no_terrain_is_one_line(
    tmp_path: Path, name: str, make: Callable[[Path], None], changes: dict[str, object], named: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(ConfigError, match=named) as raised:
        load(tmp_path / name, **changes)
    assert name in str(raised.value) and "\n" not in str(raised.value)
    assert str(raised.value).startswith("terrain.terrain_term.")


def test_the_file_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match=r"terrain\.terrain_term\.obj_file_path"):
        compose.load(["exp:g1-29dof", "terrain:terrain-load-obj"])


def test_a_file_that_no_terrain_reads_is_refused() -> None:
    for more in ([], ["terrain:terrain-locomotion-mix"]):
        with pytest.raises(
            ConfigError, match=r"terrain-term\.obj-file-path.*hills.obj.*terrain:terrain-load-obj"
        ):
            compose.load(["exp:g1-29dof", *more, "--terrain.terrain-term.obj-file-path=hills.obj"])


@pytest.mark.parametrize("simulator", ["mujoco", pytest.param("mjwarp", marks=pytest.mark.slow)])
def test_a_robot_that_is_dropped_stands_on_it(tmp_path: Path, simulator: str) -> None:
    """After a second it is as high above the mesh as above a plane, and its feet carry its weight."""
    if simulator == "mjwarp" and not extras.is_installed("mujoco_warp"):
        pytest.skip("needs MuJoCo Warp")
    steps = 1.5 * np.array(RAMP) * (1, 1, 0) + (0, 0, 0.4)  # level, 6 x 3 m, 0.4 m up
    path = write(tmp_path / "block.obj", steps, TWO)
    cfg = compose.load(
        ["exp:g1-29dof", "terrain:terrain-load-obj", f"--terrain.terrain-term.obj-file-path={path}",
         f"simulator:{simulator}"]
    )  # fmt: skip
    robot = robots.configure(robots.load(cfg.robot.asset), cfg.robot)
    term = replace(cfg.terrain.terrain_term, num_rows=2, num_cols=1, border_size=2.0)
    built = terrain.build(TerrainConfig(term), 0)
    origins = built.tile_origins[:, 0]
    still, joints = np.zeros((2, 3), np.float32), np.zeros((2, robot.num_joints), np.float32)
    pose = Pose(
        (origins + np.asarray(robot.init_pos)).astype(np.float32),
        np.tile(np.asarray(robot.init_quat, np.float32), (2, 1)),
        still,
        still,
        joints + np.asarray(robot.default_joint_pos, np.float32),
        joints,
    )
    above, carried = {}, {}
    feet = [robot.body_names.index(name) for name in robot.feet_bodies]
    for name, ground, height in (("mesh", built.ground, 0.0), ("plane", Ground(), 0.4)):
        bridge = bridges.make(cfg.simulator, robot, ground, 2)
        try:
            lowered = pose._replace(root_pos=pose.root_pos - np.float32([0.0, 0.0, height]))
            physics, sim = bridge.reset(bridge.init(), np.ones(2, bool), lowered)
            for _ in range(50):
                physics, sim = bridge.step(physics, pose.joint_pos)
            above[name] = np.array(sim.root_pos)[:, 2] + height
            carried[name] = np.array(sim.contact_force)[:, feet, 2].sum(1)
        finally:
            bridge.close()
    np.testing.assert_allclose(above["mesh"], above["plane"], atol=0.002)
    weight = 9.81 * float(mujoco.MjModel.from_xml_path(str(robot.mjcf)).body_mass.sum())
    np.testing.assert_allclose(carried["mesh"], weight, rtol=0.25)
