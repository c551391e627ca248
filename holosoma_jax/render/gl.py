"""Which OpenGL can draw here without a window.

MuJoCo reads ``MUJOCO_GL`` once, when it is imported, and a driver that does not work may kill the
process instead of raising. So each candidate is tried in a process of its own.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys

from holosoma_jax import opengl

PROBE_TIMEOUT_S = 60.0
_PROBE = """
import mujoco
xml = "<mujoco><worldbody><light pos='0 0 3'/><geom size='1'/></worldbody></mujoco>"
model = mujoco.MjModel.from_xml_string(xml)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().any(), "the image is black"
"""


class GlUnavailable(RuntimeError):
    """No OpenGL draws here; the message says what was tried and what to install."""


@functools.cache
def select(requested: str = "auto") -> str:
    """The OpenGL backend to set as ``MUJOCO_GL``; tried once per process, in processes of their own.

    With 'auto', a ``MUJOCO_GL`` in the environment is the only candidate; without one, the first of
    `opengl.CANDIDATES` that draws is taken and put there, for MuJoCo if it is imported later.

    Args:
      requested: 'auto', or one backend: 'egl', 'osmesa', 'glfw', 'cgl', 'wgl'.

    Raises:
      GlUnavailable: none draws.
    """
    chosen = opengl.chosen()
    if requested == "auto" and chosen in opengl.OFF:
        raise GlUnavailable(f"rendering is switched off by MUJOCO_GL={chosen}. Fix: unset it")
    if requested != "auto":
        candidates = (requested,)
    elif chosen:
        candidates = (chosen,)
    else:
        candidates = opengl.candidates()
    failures = []
    for backend in candidates:
        cause = probe(backend)
        if cause is None:
            os.environ.setdefault("MUJOCO_GL", backend)
            return backend
        failures.append(f"{backend}: {cause}")
    remedy = " or ".join(opengl.REMEDY[b] for b in candidates if b in opengl.REMEDY)
    raise GlUnavailable(f"no OpenGL draws here ({'; '.join(failures)}). Fix: {remedy or 'install OpenGL'}")


def probe(backend: str, timeout_s: float = PROBE_TIMEOUT_S) -> str | None:
    """None if `backend` draws an image in a process of its own, otherwise one line that says why not."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=environment(backend),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return f"no image after {timeout_s:.0f} s"
    if done.returncode == 0:
        return None
    return last_line(done.stderr) or f"ended with code {done.returncode}"


def environment(backend: str) -> dict[str, str]:
    """The environment of a process whose MuJoCo shall draw with `backend`."""
    env = {key: value for key, value in os.environ.items() if key != "PYOPENGL_PLATFORM"}
    return env | {"MUJOCO_GL": backend}


def last_line(text: str) -> str:
    """Last line of a traceback or log that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
