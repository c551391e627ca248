"""The viewer beside a run, without a browser: what crosses to it, where it listens, and how it ends."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bridges.protocol import Ground, SimState
from holosoma_jax import robots
from holosoma_jax.config.schema import ViewerConfig
from holosoma_jax.viewer import messages, opening, viewer, web
from holosoma_jax.viewer.controls import CommandLimits, Playback
from holosoma_jax.viewer.messages import Frame, ViewerJob
from holosoma_jax.viewer.viewer import Viewer, ViewerUnavailable
from holosoma_jax.viewer.viewer_scene import FrameReader, ViewerScene

ENVS = 3
LIMITS = CommandLimits((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def robot():
    return robots.load("g1")


@pytest.fixture
def opened(robot, tmp_path, monkeypatch) -> Iterator[Callable[..., Viewer]]:
    """Opens viewers that are closed again after the test; Studio's settings go to a folder of the test's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    made = []

    def make(**settings) -> Viewer:
        cfg = ViewerConfig(mode="web", **settings)
        made.append(
            opening.open_viewer(cfg, robot, Ground(), ENVS, "test", limits=LIMITS, print_line=lambda _: None)
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def standing(robot) -> SimState:
    """The robot's initial pose in every environment, at different places."""
    pos = np.array([[2.0 * i, 0.0, robot.init_pos[2]] for i in range(ENVS)], np.float32)
    quat, joints = (np.tile(np.float32(row), (ENVS, 1)) for row in (robot.init_quat, robot.default_joint_pos))
    zero, bodies = np.zeros((ENVS, 3), np.float32), np.zeros((ENVS, robot.num_bodies, 3), np.float32)
    return SimState(
        pos,
        quat,
        zero,
        zero,
        joints,
        joints,
        bodies,
        np.zeros((*bodies.shape[:2], 4)),
        bodies,
        bodies,
        bodies,
    )


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def frame(seed: int, joints: int = 4) -> Frame:
    rng = np.random.default_rng(seed)
    sizes = (3, 4, 3, 3, 3, 3, 4, joints, joints)
    return Frame(seed, 10 * seed - 1, *(rng.standard_normal(n).astype(np.float32) for n in sizes))


def job(robot, **settings) -> ViewerJob:
    given = {
        "mjcf": robot.mjcf,
        "own_mjcf": None,
        "joint_names": robot.joint_names,
        "ground": Ground(),
        "num_envs": 1,
        "title": "",
        "kind": "web",
    }
    return ViewerJob(**(given | settings))


def test_a_frame_survives_the_pipe():
    sent = frame(5)
    packed = messages.pack(sent)
    assert len(packed) == messages.frame_bytes(4)
    for before, after in zip(sent, messages.unpack(packed), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("heights", [None, np.arange(12, dtype=np.float32).reshape(3, 4)])
@pytest.mark.parametrize("limits", [None, LIMITS])
def test_a_job_survives_the_file(tmp_path, robot, heights, limits):
    written = job(
        robot,
        own_mjcf=tmp_path / "own.xml",
        ground=Ground(heights, 0.25, (-1.0, 2.0)),
        num_envs=7,
        title="a title",
        kind="window",
        host="::1",
        port=99,
        limits=limits,
        command=(0.1, 0.0, 0.0),
        playback=Playback(True, 12),
        stays=True,
    )
    messages.write_job(tmp_path / "job.npz", written)
    back = messages.read_job(tmp_path / "job.npz")
    assert (back.ground.heights is None) == (heights is None)
    if heights is not None:
        np.testing.assert_array_equal(back.ground.heights, heights)
    assert (back.ground.cell, back.ground.corner) == (0.25, (-1.0, 2.0))
    for field in dataclasses.fields(ViewerJob):
        if field.name != "ground":
            assert getattr(back, field.name) == getattr(written, field.name), field.name


def test_only_the_newest_finite_frame_counts():
    source, sink = os.pipe()
    frames = FrameReader(source, 4)
    assert frames.take(0.01) is None
    packed = [messages.pack(frame(seed)) for seed in range(3)]
    # one write, small enough to arrive as one; the third has only begun
    os.write(sink, b"".join(packed[:2]) + packed[2][:10])
    taken = frames.take(5.0)
    assert taken is not None and taken.env == 1
    os.write(sink, packed[2][10:])
    taken = frames.take(5.0)
    assert taken is not None and taken.env == 2
    os.write(sink, messages.pack(frame(3)._replace(root_pos=np.full(3, np.nan, np.float32))))
    assert frames.take(0.2) is None
    os.close(sink)
    wait_for(lambda: frames.ended)


def test_the_ground_follows_the_robot(robot):
    heights = np.tile(np.linspace(0.0, 8.0, 801, dtype=np.float32)[:, None], (1, 601))  # 0.1 m per m along x
    ground = Ground(heights, 0.1, (-40.0, -30.0))
    scene = ViewerScene(job(robot, ground=ground))
    shown = frame(0, robot.num_joints)
    for x, other in ((1.0, False), (20.0, True), (21.0, False), (39.0, True)):
        assert scene.set_frame(shown._replace(root_pos=np.array([x, 0.0, 1.0], np.float32))) is other
        field, geom = scene.model.hfield("video_ground"), scene.model.geom("video_ground")
        half, _, top, _ = field.size
        low, high = geom.pos[0] - half, geom.pos[0] + half
        assert low < x < high + 1e-6
        assert geom.pos[2] == pytest.approx((low + 40.0) / 10.0, abs=1e-3)  # the map's height there
        assert geom.pos[2] + top == pytest.approx((high + 40.0) / 10.0, abs=1e-3)


def test_it_listens_on_loopback_and_serves_its_page(opened):
    shown = opened()
    assert shown.url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(shown.url, timeout=20) as page:
        assert b"<canvas" in page.read()
    port = int(shown.url.rstrip("/").rpartition(":")[2])
    for *_, (address, *_) in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET):
        if not str(address).startswith("127."):
            with pytest.raises(OSError), socket.create_connection((str(address), port), timeout=2):
                pass


def test_it_listens_elsewhere_when_told(opened):
    assert "127.0.0.1" not in opened(host="0.0.0.0").url


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Every frame is due."""
    monkeypatch.setattr(viewer, "FRAMES_PER_S", math.inf)


@pytest.fixture
def puppet(tmp_path, monkeypatch) -> Callable[[dict], None]:
    """Viewers are a process that shows nothing; returned is what makes it say that its user did something."""
    said, script = tmp_path / "said", tmp_path / "python"
    os.mkfifo(said)
    script.write_text(
        f'#!/bin/sh\necho \'{{"ready": "http://here"}}\'\nexec 3>&1\ncat {said} &\nexec cat >/dev/null\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))

    def say(message: dict) -> None:
        said.write_text(json.dumps(message) + "\n")

    return say


def test_frames_are_taken_from_the_environment_that_is_looked_at(opened, puppet, robot, monkeypatch):
    shown, sent = opened(), []
    monkeypatch.setattr(viewer, "pack", lambda frame: sent.append(frame) or messages.pack(frame))
    state, command = standing(robot), np.arange(3.0 * ENVS).reshape(ENVS, 3)
    shown.show(state, command)
    shown.show(state, command)  # too soon after the first
    assert len(sent) == 1 and sent[0].root_pos[0] == 0.0
    puppet({"env": 2})
    wait_for(lambda: shown.env == 2)
    shown.show(state)  # at once
    assert sent[1].env == 2 and sent[1].root_pos[0] == 4.0 and np.isnan(sent[1].command).all()
    np.testing.assert_array_equal(sent[0].command, command[0])


@pytest.mark.usefixtures("impatient")
def test_a_viewer_that_hangs_or_dies_costs_the_run_nothing(opened, robot):
    shown, state = opened(), standing(robot)
    os.kill(shown.process.pid, signal.SIGSTOP)
    for _ in range(2000):  # more than a pipe holds; a call that waited for the viewer would wait for ever
        shown.show(state)
    os.kill(shown.process.pid, signal.SIGCONT)
    assert not shown.closed
    os.kill(shown.process.pid, signal.SIGKILL)
    wait_for(lambda: shown.closed)
    shown.show(state)
    shown.close()
    shown.close()


@pytest.mark.usefixtures("impatient")
def test_a_viewer_that_hangs_is_ended_with_its_run(opened, robot):
    shown, state = opened(), standing(robot)
    os.kill(shown.process.pid, signal.SIGSTOP)
    for _ in range(1000):  # until the pipe is full and its writer waits
        shown.show(state)
        time.sleep(0.001)
    closing = threading.Thread(target=shown.close, daemon=True)
    closing.start()
    closing.join(30.0)
    assert not closing.is_alive()
    assert shown.process.returncode == -signal.SIGKILL


def test_it_ends_with_its_run(opened):
    shown = opened()
    process = shown.process
    assert process.poll() is None
    shown.close()
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two sockets cannot be bound to one port")
def test_of_two_viewers_that_start_together_each_has_its_own_port(monkeypatch):
    bind = web.web_server_bind
    others: list[socket.socket] = []

    def while_another_starts(host: str, port: int = 0) -> socket.socket:
        mine = bind(host, port)
        if not others:
            others.append(bind(host, mine.getsockname()[1]))  # Linux: both are bound until one listens
            others[0].listen()
        return mine

    monkeypatch.setattr(web, "web_server_bind", while_another_starts)
    with web.listening_socket("127.0.0.1") as mine:
        assert mine.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        taken = others.pop()
        asked_for = taken.getsockname()[1]
        assert mine.getsockname()[1] != asked_for
    taken.close()
    with pytest.raises(RuntimeError, match=f"port {asked_for}"):  # a port that was asked for is not exchanged
        web.listening_socket("127.0.0.1", asked_for)
    others.pop().close()


@pytest.mark.parametrize(
    ("host", "said"), [("192.0.2.1", "cannot listen at 192.0.2.1"), ("127.0.0.1", "Address already in use")]
)
def test_where_it_cannot_listen_is_one_line(opened, host, said):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ViewerUnavailable) as error:
        opened(host=host, port=taken.getsockname()[1])
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("mode", "system", "display", "kinds"),
    [
        ("auto", "Linux", None, ["web"]),
        ("auto", "Linux", ":0", ["window", "web"]),
        ("auto", "Darwin", None, ["web"]),
        ("web", "Linux", ":0", ["web"]),
        ("window", "Linux", None, ["window"]),
    ],
)
def test_a_window_where_there_is_a_desktop(monkeypatch, mode, system, display, kinds):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr(opening.platform, "system", lambda: system)
    assert opening.kinds(ViewerConfig(mode=mode)) == kinds


def test_a_window_on_macos_is_mjpythons(robot, monkeypatch):
    def start(command: list[str], **_: object) -> None:
        raise OSError(f"started {command[0]}")

    def open_window() -> None:
        opening.open_viewer(ViewerConfig(mode="window"), robot, Ground(), ENVS, "test")

    monkeypatch.setattr(viewer.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(viewer.subprocess, "Popen", start)
    monkeypatch.setattr(viewer.shutil, "which", lambda *_, **__: None)
    with pytest.raises(ViewerUnavailable, match=r"mjpython.*--viewer.mode web"):
        open_window()
    monkeypatch.setattr(viewer.shutil, "which", lambda name, **_: str(Path("/opt") / name))
    with pytest.raises(ViewerUnavailable, match="started /opt/mjpython"):
        open_window()


def test_without_a_display_a_window_is_one_line(robot, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(ViewerUnavailable, match="window: ") as error:
        opening.open_viewer(
            ViewerConfig(mode="window"), robot, Ground(), 1, "test", print_line=lambda _: None
        )
    assert "\n" not in str(error.value) and "--viewer.mode web" in str(error.value)
