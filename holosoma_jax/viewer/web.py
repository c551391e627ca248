"""The viewer as a page, served by MuJoCo Studio: the browser draws, so the server needs no graphics."""

from __future__ import annotations

import copy
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import mujoco
import numpy as np
from mujoco.studio import app as studio_app
from mujoco.studio import endpoints, launch_thread, messages, viewer_protocol, web_viewer
from mujoco.studio.web import web_server

from holosoma_jax.viewer import access
from holosoma_jax.viewer.controls import Controls
from holosoma_jax.viewer.messages import ViewerJob
from holosoma_jax.viewer.studio_panel import FrameSnapshot, StudioPanel
from holosoma_jax.viewer.viewer_scene import EXTRA_GEOMS, FrameReader, ViewerScene

GONE_S = 10.0
"""s without a page after which a viewer that does not stay ends; a reload takes less"""
LOOPBACK = ("127.0.0.1", "::1")
QPOS = int(mujoco.mjtState.mjSTATE_QPOS)
web_server_serve = web_server.serve
web_server_bind = web_server.bind_public_socket


class PageCounter(logging.Handler):
    """Counts the pages that are open, from what Studio's server logs, which tells it in no other way.

    Should that line change, pages count as open, and the viewer ends by its menu or with its run.
    """

    def __init__(self) -> None:
        """Count from none."""
        super().__init__()
        self._open: int | None = None
        self._since = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Take in one line of the log."""
        if "Browser" in str(record.msg) and isinstance(record.args, tuple) and len(record.args) == 1:
            self._open, self._since = int(str(record.args[0])), time.monotonic()

    def left(self) -> bool:
        """Whether a page was open, and none has been for `GONE_S`."""
        return self._open == 0 and time.monotonic() - self._since > GONE_S


def run(
    job: ViewerJob, scene: ViewerScene, frames: FrameReader, controls: Controls, send: Callable[..., None]
) -> None:
    """Serve the page until the frames end or the user quits.

    Raises:
      RuntimeError: nothing can listen at that address and port.
    """
    _require_address(job.host, job.port)
    inside, outside = launch_thread.make_thread_endpoints()
    pages = PageCounter()
    logging.getLogger("WebServer").addHandler(pages)
    layout = studio_app.Config(show_options=False, show_inspector=False, show_status_bar=False)
    plugins = [studio_app.App(layout), StudioPanel(job.title, controls, scene.root_body)]
    config = viewer_protocol.ViewerConfig(title=job.title, gfx="web", http_port=job.port)

    # Studio has no setting for where it listens and whom it answers. What it sets `_host` to (all
    # interfaces) is ignored, and the functions with which it opens its server and ports are replaced by guarded ones.
    web_server.bind_public_socket = listening_socket
    web_server.bind_loopback_socket = access.own_socket

    class Page(web_viewer.WebViewer):
        _host = property(lambda self: job.host, lambda self, value: None)  # type: ignore[assignment]

        def _start_server(self) -> None:
            rule = access.rule(job.host, self._http_port)
            web_server.serve = access.guard(web_server_serve, rule)
            super()._start_server()

        def get_drop_file(self) -> str:
            return ""

    viewer = Page(config, inside, model=scene.model, plugins=plugins)
    address, port = viewer._http_sock.getsockname()[:2]
    if job.host in (*LOOPBACK, "localhost") and address not in LOOPBACK:
        viewer.close()
        raise RuntimeError(f"MuJoCo Studio listens at {address}, not at {job.host}: not served, for safety")
    _wait_until_served(address, port)
    inner = isinstance(getattr(viewer, "_tcp_sock", None), access.OwnSocket)
    if not (inner and access.is_guarded(_reachable(address), port)):
        viewer.close()
        raise RuntimeError(
            "this version of MuJoCo Studio answers every web page or program: not served, for safety"
        )
    send(ready=f"http://{_written(job.host)}:{port}/")
    feeding = (scene, frames, viewer.camera, outside, None if job.stays else pages)
    threading.Thread(target=_feed, args=feeding, daemon=True).start()
    viewer_protocol.run_viewer_loop(viewer)


def _feed(
    scene: ViewerScene,
    frames: FrameReader,
    camera: mujoco.MjvCamera,
    outside: endpoints.SimEndpoint,
    pages: PageCounter | None,
) -> None:
    """Hand frames to Studio until they end, or until all of `pages` are closed; then end the page."""
    extra = mujoco.MjvScene(scene.model, EXTRA_GEOMS)
    with suppress(RuntimeError):  # the endpoint is closed: the user has quit
        while not frames.ended and not (pages is not None and pages.left()):
            outside.get_viewer_events()  # what Studio would tell a simulator of its own
            outside.get_viewer_snapshots()
            frame = frames.take(0.1)
            if frame is None:
                continue
            if scene.set_frame(frame):
                outside.send_to_viewer(messages.ModelEvent(model=scene.model))
            state = np.empty(mujoco.mj_stateSize(scene.model, QPOS))
            mujoco.mj_getState(scene.model, scene.data, state, QPOS)
            outside.send_to_viewer(messages.StateSnapshot(state=state, state_sig=QPOS))
            scene.draw_extras(frame, extra, camera)
            geoms = [copy.copy(geom) for geom in extra.geoms[: extra.ngeom]]
            outside.send_to_viewer(FrameSnapshot(frame, geoms))
        outside.send_to_viewer(messages.ExitEvent())


def _require_address(host: str, port: int) -> None:
    """Raise RuntimeError where nothing can listen; Studio would say that the port is taken, whatever it is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        where = f"{host}, port {port}" if port else host
        raise RuntimeError(
            f"cannot listen at {where} ({error.strerror or error}). Choose another --viewer.host or --viewer.port"
        ) from None


def listening_socket(host: str, port: int = 0, *, tries: int = 100) -> socket.socket:
    """A socket that listens at `host` and `port`; 0: at the first free port from Studio's first one on.

    Studio binds, and listens later. Until then another process may bind the same port (`SO_REUSEADDR`), and
    of two viewers that start together the one that listens second would name the first one's page as its own.

    Raises:
      RuntimeError: the port is taken, or all that are tried are.
    """
    for _ in range(tries):
        bound = web_server_bind(host, port)
        try:
            bound.listen()
        except OSError:
            bound.close()
            if port:
                break
        else:
            return bound
    raise RuntimeError(
        f"cannot listen at {host}, port {port or 'any'}: taken meanwhile. Choose another --viewer.port"
    )


def _wait_until_served(address: str, port: int, timeout_s: float = 20.0) -> None:
    """The address is taken at once, but served by a thread of Studio's; raises RuntimeError if it never is."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection((_reachable(address), port), timeout=1.0):
            return
        time.sleep(0.02)
    raise RuntimeError(f"MuJoCo Studio does not answer at {address}, port {port}")


def _reachable(address: str) -> str:
    """An address of this machine at which a socket bound to `address` answers."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)


def _written(host: str) -> str:
    """`host` as it is written in an address."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
