"""The OpenGL backends that MuJoCo has on each system, what they need, and why MuJoCo cannot load one."""

from __future__ import annotations

import os
import platform
import traceback
from pathlib import PurePath

VARIABLE = "MUJOCO_GL"
"""The environment variable that chooses a backend; MuJoCo reads it once, when it is imported."""
CANDIDATES = {
    "Linux": ("egl", "osmesa", "glfw"),  # GPU or Mesa without a display; pure software; a display
    "Darwin": ("cgl", "glfw"),
    "Windows": ("wgl", "glfw"),
}
"""In the order of trying; GLFW comes last, it needs a display."""
REMEDY = {
    "egl": "apt-get install libegl1 (and an NVIDIA driver with graphics, or Mesa: libgl1-mesa-dri)",
    "osmesa": "apt-get install libosmesa6",
    "glfw": "run with a display (DISPLAY is set by the desktop, or by xvfb-run)",
}
OFF = ("disable", "disabled", "off", "false", "0")
"""Values of `VARIABLE` for no OpenGL at all."""
_CHOOSER = "gl_context.py"
"""The file of MuJoCo that reads `VARIABLE` and loads the backend."""


def candidates() -> tuple[str, ...]:
    """The backends of this system, in the order of trying."""
    return CANDIDATES.get(platform.system(), ("glfw",))


def chosen() -> str:
    """The backend that the environment chooses, as MuJoCo reads it; '' for none."""
    return os.environ.get(VARIABLE, "").lower().strip()


def explain(error: BaseException) -> str | None:
    """One line that says what is wrong with `VARIABLE`, where that made MuJoCo's import raise `error`; or None.

    MuJoCo raises for a value that it does not know. For a known one it raises what the loading of the
    backend raises, which may be an AttributeError of PyOpenGL.
    """
    backend = chosen()
    files = [PurePath(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)]
    if not backend or _CHOOSER not in files:
        return None
    if backend not in candidates():
        return (
            f"{VARIABLE}: got '{backend}'; MuJoCo takes {', '.join(candidates())} or off on {platform.system()}. "
            f"Fix: unset {VARIABLE}, or set one of these."
        )
    cause = f"{type(error).__name__}: {error}"
    remedy = f"{REMEDY[backend]}, or unset {VARIABLE}" if backend in REMEDY else f"unset {VARIABLE}"
    return f"{VARIABLE}: got '{backend}', which cannot be loaded here ({cause}). Fix: {remedy}."
