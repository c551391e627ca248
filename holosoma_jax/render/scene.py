"""The scene of videos and of the viewer: a robot on a chequered ground, under a sky and a sun.

Separate from physics: nothing here is stepped, only placed and drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from bridges.protocol import Ground
from holosoma_jax.render import visual_spec
from holosoma_jax.render.velocity_arrows import Arrow

SKY_TOP, SKY_HORIZON = (0.30, 0.47, 0.68), (0.80, 0.86, 0.92)
TILE_DARK, TILE_LIGHT, TILE_MARK = (0.38, 0.42, 0.47), (0.46, 0.50, 0.55), (0.62, 0.66, 0.71)
BOX_RGBA = (0.72, 0.53, 0.33, 1.0)
"""Cardboard"""
GROUND_MARGIN = 12.0
"""m of a height field that is kept around the robot's path; drawing all of a large map is slow."""
# What a file's <default> sets for geoms, lights and materials would apply to the scene's as well.
_PLAIN_GEOM: dict[str, Any] = {"group": 0, "rgba": (0.5, 0.5, 0.5, 1.0), "quat": (1.0, 0.0, 0.0, 0.0)}
_PLAIN_MATERIAL: dict[str, Any] = {"rgba": (1.0, 1.0, 1.0, 1.0), "emission": 0.0, "reflectance": 0.0}
_PLAIN_LIGHT: dict[str, Any] = {"active": True, "ambient": (0.0, 0.0, 0.0), "attenuation": (1.0, 0.0, 0.0)}


def scene_model(
    mjcf: Path,
    ground: Ground,
    width: int,
    height: int,
    *,
    joint_names: Sequence[str],
    path: np.ndarray | None = None,
    studio: bool = False,
) -> mujoco.MjModel:
    """A model to draw from: the robot's MJCF with floor, sky and lights.

    Args:
      mjcf: the model file, MJCF or URDF, the robot's or another one of it; `visual_spec` says what of it is
        drawn.
      ground: flat, or a height field.
      width: pixels of the largest image that will be drawn.
      height: likewise.
      joint_names: the robot's; the body that carries them is followed by the sun.
      path: [T, 2] m, root positions of the episode; a height field is cropped to what is around them.
      studio: MuJoCo Studio's renderer draws it, not MuJoCo's own: light it for that one.

    Raises:
      MisfitError: MuJoCo cannot read or compile the file, or it has no body with these joints.
    """
    spec, root = visual_spec.read(mjcf, joint_names)
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    _set_visual(spec, width, height)
    _add_sky(spec)
    _add_floor(spec, ground if path is None else crop_to_path(ground, path))
    if studio:
        _light_for_studio(spec)
    else:
        _add_lights(spec, root)
    return visual_spec.compile_model(spec, mjcf)


def crop_heightfield(ground: Ground, centre: np.ndarray, extent: np.ndarray) -> Ground:
    """The rectangle of a height field around a point; a flat ground stays as it is.

    Its shape depends on `extent` alone, also at the rim of the field, where the rectangle is shifted inwards.

    Args:
      ground: the field.
      centre: [2] m, x and y of the middle.
      extent: [2] m from the middle to each side.
    """
    if ground.heights is None:
        return ground
    starts, counts = [], []
    for axis, size in enumerate(ground.heights.shape):
        count = min(size, 2 * (int(np.ceil(extent[axis] / ground.cell)) + 1) + 1)
        start = round((centre[axis] - ground.corner[axis]) / ground.cell) - count // 2
        starts.append(int(np.clip(start, 0, size - count)))
        counts.append(count)
    (i, j), (n, m) = starts, counts
    corner = (ground.corner[0] + i * ground.cell, ground.corner[1] + j * ground.cell)
    return Ground(ground.heights[i : i + n, j : j + m], ground.cell, corner)


def crop_to_path(ground: Ground, path: np.ndarray, margin: float = GROUND_MARGIN) -> Ground:
    """The part of a height field within `margin` m of the rectangle around `path` [T, 2] m."""
    low, high = path.min(axis=0).astype(np.float64), path.max(axis=0).astype(np.float64)
    return crop_heightfield(ground, (low + high) / 2.0, (high - low) / 2.0 + margin)


def draw_arrow(geom: mujoco.MjvGeom, arrow: Arrow) -> None:
    """Make `geom` that arrow."""
    kind = mujoco.mjtGeom.mjGEOM_ARROW
    rgba = np.asarray(arrow.rgba, np.float32)
    mujoco.mjv_initGeom(geom, kind, np.zeros(3), np.zeros(3), np.zeros(9), rgba)
    mujoco.mjv_connector(geom, kind, 0.016, arrow.start, arrow.end)
    geom.emission = 0.4


def draw_box(
    geom: mujoco.MjvGeom,
    size: Sequence[float],
    pos: np.ndarray,
    quat: np.ndarray,
    rgba: tuple[float, float, float, float] = BOX_RGBA,
) -> None:
    """Make `geom` a box of `size` m, whole lengths, at `pos` [3] m with the attitude `quat` [4] (w x y z)."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quat, np.float64))
    half, place = np.asarray(size, np.float64) / 2.0, np.asarray(pos, np.float64)
    mujoco.mjv_initGeom(geom, mujoco.mjtGeom.mjGEOM_BOX, half, place, matrix, np.asarray(rgba, np.float32))
    geom.transparent = int(rgba[3] < 1.0)


def set_height_field(model: mujoco.MjModel, ground: Ground) -> None:
    """Show another part of the ground in a model of `scene_model`, of the same shape as the one it has."""
    field, geom = model.hfield("video_ground").id, model.geom("video_ground").id
    heights = np.asarray(ground.heights, np.float64)
    low, high = float(heights.min()), float(heights.max())
    extent_x, extent_y = (0.5 * ground.cell * (n - 1) for n in heights.shape)
    start = int(model.hfield_adr[field])
    model.hfield_data[start : start + heights.size] = ((heights - low) / max(high - low, 1e-3)).T.ravel()
    model.hfield_size[field] = (extent_x, extent_y, max(high - low, 1e-3), 0.1)
    model.geom_pos[geom] = (ground.corner[0] + extent_x, ground.corner[1] + extent_y, low)
    model.geom_pos[model.geom("video_floor").id, 2] = low - 0.02


def _set_visual(spec: mujoco.MjSpec, width: int, height: int) -> None:
    visual = spec.visual
    visual.global_.offwidth, visual.global_.offheight = width, height
    visual.global_.fovy = 45.0
    # Drawn in software where there is no GPU: these halve the time of a frame, and the image stays.
    visual.quality.shadowsize = 1024
    visual.quality.offsamples = 2
    visual.quality.numslices, visual.quality.numstacks, visual.quality.numquads = 18, 10, 1
    visual.headlight.ambient[:] = 0.28
    visual.headlight.diffuse[:] = 0.30
    visual.headlight.specular[:] = 0.05
    visual.rgba.haze[:] = (*SKY_HORIZON, 1.0)
    visual.map.znear, visual.map.zfar = 0.02, 15.0  # times the extent
    visual.map.shadowclip = 0.75
    spec.stat.extent = 2.0  # m; MuJoCo would take the ground's size and lose depth and shadow detail
    spec.stat.center[:] = (0.0, 0.0, 0.8)


def _add_sky(spec: mujoco.MjSpec) -> None:
    spec.add_texture(
        name="video_sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=SKY_HORIZON,
        rgb2=SKY_TOP,
        width=256,
        height=1536,
    )


def _add_floor(spec: mujoco.MjSpec, ground: Ground) -> None:
    spec.add_texture(
        name="video_tiles",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        mark=mujoco.mjtMark.mjMARK_EDGE,
        rgb1=TILE_DARK,
        rgb2=TILE_LIGHT,
        markrgb=TILE_MARK,
        width=512,
        height=512,
    )
    tiles = spec.add_material(
        name="video_floor", texuniform=True, shininess=0.1, specular=0.1, **_PLAIN_MATERIAL
    )
    tiles.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "video_tiles"
    tiles.texrepeat = (1.0, 1.0)  # a tile is 0.5 m
    low = 0.0 if ground.heights is None else float(np.min(ground.heights)) - 0.02
    spec.worldbody.add_geom(  # endless, also below and beyond a height field: it carries the haze
        name="video_floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=(0.0, 0.0, low),
        size=(0.0, 0.0, 0.05),
        material="video_floor",
        **_PLAIN_GEOM,
    )
    if ground.heights is not None:
        _add_height_field(spec, ground)


def _add_height_field(spec: mujoco.MjSpec, ground: Ground) -> None:
    heights = np.asarray(ground.heights, np.float64)
    low, high = float(heights.min()), float(heights.max())
    extent_x, extent_y = (0.5 * ground.cell * (n - 1) for n in heights.shape)
    spec.add_hfield(
        name="video_ground",
        nrow=heights.shape[1],  # MuJoCo's rows run along y
        ncol=heights.shape[0],
        size=(extent_x, extent_y, max(high - low, 1e-3), 0.1),
        userdata=(heights - low).T.ravel().tolist(),
    )
    spec.worldbody.add_geom(
        name="video_ground",
        type=mujoco.mjtGeom.mjGEOM_HFIELD,
        hfieldname="video_ground",
        pos=(ground.corner[0] + extent_x, ground.corner[1] + extent_y, low),
        material="video_floor",
        **_PLAIN_GEOM,
    )


def _light_for_studio(spec: mujoco.MjSpec) -> None:
    # The sun comes from behind the robot, as the viewer's camera does. Studio's shadows reach wherever the
    # camera looks, so it may stand still; and Studio has a sky light of its
    # own, beside which our lights for MuJoCo's renderer are too weak to cast a shadow.
    spec.visual.headlight.ambient[:] = 0.1
    spec.visual.headlight.diffuse[:] = 0.1
    spec.visual.quality.shadowsize = 4096
    spec.worldbody.add_light(
        name="video_sun",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=(-2.4, 1.6, 4.0),
        dir=(0.6, -0.4, -1.0),
        diffuse=(0.72, 0.70, 0.67),
        specular=(0.3, 0.3, 0.3),
        castshadow=True,
        **_PLAIN_LIGHT,
    )


def _add_lights(spec: mujoco.MjSpec, root: mujoco.MjsBody) -> None:
    # The sun's shadow map covers the surroundings of its position, so it travels with the robot. It
    # shines from the camera's side: software OpenGL speckles the lit edge of the map, out of view here.
    root.add_light(
        name="video_sun",
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=(2.4, 0.6, 4.0),
        dir=(-0.6, -0.15, -1.0),
        diffuse=(0.62, 0.60, 0.56),
        specular=(0.25, 0.25, 0.25),
        castshadow=True,
        **_PLAIN_LIGHT,
    )
    root.add_light(
        name="video_fill",
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=(-2.0, 3.0, 3.0),
        dir=(0.4, -0.7, -0.6),
        diffuse=(0.14, 0.16, 0.20),
        specular=(0.0, 0.0, 0.0),
        castshadow=False,
        **_PLAIN_LIGHT,
    )
