"""A headless Chromium, spoken to by its DevTools protocol; software OpenGL draws in it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)

KEYS = {
    "ArrowLeft": ("", 37),
    "ArrowRight": ("", 39),
    "Space": (" ", 32),
    "Period": (".", 190),
    "Minus": ("-", 189),
    "Equal": ("=", 187),
}
"""Name of a key that is no letter -> the text it types, and its code"""


def program() -> str | None:
    """The browser, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """The one page of a browser."""

    def __init__(self, socket: ClientConnection):
        """Speak over `socket`."""
        self._socket, self._calls = socket, 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command of the protocol."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=120))
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def screenshot(self, path: Path | None = None) -> np.ndarray:
        """[H, W, 3] uint8; kept as PNG where `path` says."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(data)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def press(self, key: str, seconds: float = 0.3) -> None:
        """Hold a key for some time, as a slow page takes in what lasts: a letter, a digit, or one of `KEYS`."""
        text, code = KEYS.get(key, (key, ord(key[0].upper())))
        name = key if key in KEYS else f"{'Digit' if key.isdigit() else 'Key'}{key.upper()}"
        names = {"key": text or key, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="rawKeyDown", **names)
        if text:
            self.call("Input.dispatchKeyEvent", type="char", text=text, **names)
        time.sleep(seconds)
        self.call("Input.dispatchKeyEvent", type="keyUp", **names)


@contextmanager
def browse(url: str, profile: Path, size: tuple[int, int] = (800, 600)) -> Iterator[Page]:
    """`url` in a browser of its own, which ends with the context."""
    found = program()
    assert found is not None
    window = f"--window-size={size[0]},{size[1]}"
    process = subprocess.Popen(
        [found, *FLAGS, window, f"--user-data-dir={profile}", url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        port = None
        for line in process.stderr:
            if match := re.search(r"DevTools listening on ws://[^:]+:(\d+)/", line):
                port = int(match[1])
                break
        assert port is not None, "the browser did not start"
        rest = threading.Thread(target=process.stderr.read, daemon=True)  # it must not block on a full pipe
        rest.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=20) as listed:
            pages = [page for page in json.load(listed) if page["type"] == "page"]
        with connect(pages[0]["webSocketDebuggerUrl"], max_size=None, open_timeout=60) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()
