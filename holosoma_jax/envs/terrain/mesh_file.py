"""A mesh file (OBJ, STL, PLY) as triangles with z up, and every reason why it cannot be one, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import TerrainTermConfig
from holosoma_jax.files import expanded

KEY = "terrain.terrain_term"
MESHES = Path(__file__).parent / "meshes"
SUFFIXES = (".obj", ".stl", ".ply")
LARGEST = 1_000_000_000
"""bytes of a file at most; reading takes several times as much memory"""
FARTHEST = 10_000.0
"""m from the origin; single precision loses millimetres beyond"""
SMALLEST = 1.0
"""m along x and y; a robot has to stand on it"""


def read(term: TerrainTermConfig) -> np.ndarray:
    """The triangles [T, 3, 3] m of the file that a config names, z up, scaled by `scale_factor`.

    Raises:
      ConfigError: there is no such file, it cannot be read, or no terrain is in it; names the key and the cause.
    """
    path = located(term.obj_file_path)
    where = f"{KEY}.obj_file_path: {term.obj_file_path}"
    triangles = _triangles(path, where) * term.scale_factor
    finite = np.isfinite(triangles).all(axis=(1, 2))
    if not finite.all():
        raise ConfigError(
            f"{where}: {(~finite).sum():,} of {len(triangles):,} triangles have coordinates that are not finite."
        )
    size = np.ptp(triangles.reshape(-1, 3), axis=0)
    if term.up_axis == "y" or (term.up_axis is None and _looks_y_up(triangles, size)):
        if term.up_axis is None:
            raise ConfigError(
                f"{where}: measures {_metres(size)} m along x, y, z and faces y, as if y were up. "
                f"Pass --terrain.terrain-term.up-axis=y to turn it, or z to take it as it is."
            )
        triangles = np.stack([triangles[..., 0], -triangles[..., 2], triangles[..., 1]], axis=-1)
        size = size[[0, 2, 1]]
    units = "Another unit than metres is converted by --terrain.terrain-term.scale-factor (0.001 for millimetres)."
    if size[:2].min() < SMALLEST:
        raise ConfigError(
            f"{where}: measures {_metres(size)} m; wanted {SMALLEST:g} m along x and y. {units}"
        )
    farthest = float(np.abs(triangles).max())
    if farthest > FARTHEST:
        raise ConfigError(
            f"{where}: reaches {farthest:,.0f} m from the origin; wanted {FARTHEST:,.0f} m at most, as single "
            f"precision loses millimetres beyond. {units}"
        )
    return triangles


def shipped() -> tuple[str, ...]:
    """Names of the meshes that come with the package."""
    return tuple(sorted(path.stem for path in MESHES.glob("*.obj")))


def located(name: str) -> Path:
    """The file that a config names: a path, or the name of a mesh that comes with the package."""
    path = expanded(name)
    shipped = MESHES / f"{name}.obj"
    return shipped if not path.exists() and path.name == name and shipped.is_file() else path


def _triangles(path: Path, where: str) -> np.ndarray:
    """What the file holds, as it is."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{where}: wanted a file that ends in {', '.join(SUFFIXES)}.")
    try:
        if path.is_dir():
            raise ConfigError(f"{where}: is a folder; wanted a mesh file in it.")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{where}: is no regular file; wanted a mesh.")
        if path.stat().st_size > LARGEST:
            size = path.stat().st_size / 1e9
            raise ConfigError(
                f"{where}: holds {size:.1f} GB, at most {LARGEST / 1e9:g} are read. Simplify the mesh."
            )
        mesh = _load(path)
    except FileNotFoundError:
        raise ConfigError(f"{where}: no such file.") from None
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror or error}).") from None
    except MemoryError:
        raise ConfigError(f"{where}: does not fit into memory. Simplify the mesh.") from None
    except Exception as error:  # a damaged file may fail in any way
        raise ConfigError(
            f"{where}: no mesh can be read from it ({type(error).__name__}: {error})."
        ) from None
    if len(mesh) == 0:
        raise ConfigError(f"{where}: holds no triangles; wanted a surface to walk on.")
    return mesh


def _load(path: Path) -> np.ndarray:
    import trimesh  # half a second, and only meshes need it

    # From an open file: trimesh then looks for no material or texture that the file names.
    with open(path, "rb") as file:
        mesh = trimesh.load_mesh(
            file, file_type=path.suffix.lower().removeprefix("."), process=False, skip_materials=True
        )
    faces = getattr(mesh, "faces", None)
    if faces is None or len(faces) == 0:
        return np.zeros((0, 3, 3))
    return np.asarray(mesh.vertices, np.float64)[np.asarray(faces)]


def _looks_y_up(triangles: np.ndarray, size: np.ndarray) -> bool:
    """Whether the surface faces y rather than z, and is lowest along y."""
    normals = np.abs(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])).sum(0)
    return bool(normals[1] > 2.0 * normals[2] and size[1] <= min(size[0], size[2]))


def _metres(size: np.ndarray) -> str:
    return " x ".join(f"{length:.3g}" for length in size)
