"""A backend that fails on demand; runs on Python 3.8."""

import os
import signal
import sys
import time

import numpy as np


class Backend:
    def __init__(self, settings, arrays):
        self.settings, self.arrays = settings, arrays

    def describe(self):
        return {
            "pid": os.getpid(),
            "python": list(sys.version_info[:2]),
            "aligned": [a.ctypes.data % 64 for a in self.arrays.values()],
        }

    def add(self, flags, message):
        self.arrays["out"][...] = self.arrays["in"] + flags

    def echo(self, flags, message):
        print("echoing", *sorted(message))
        return message

    def fail(self, flags, message):
        if message["kind"] == "numpy":
            np.empty(1 << 60, np.uint8)
        raise {
            "value": ValueError("targets: got nan"),
            "key": KeyError("lost"),
            "memory": MemoryError("no room for 9 contacts"),
            "cuda": RuntimeError("Failed to allocate 9 bytes on device 'cuda:0'"),
        }[message["kind"]]

    def die(self, flags, message):
        print("the last words")
        os.kill(os.getpid(), getattr(signal, message["signal"]))
        time.sleep(60)

    def flood(self, flags, message):
        """As many bytes as `flags` times 100 kB, without one end of line."""
        for _ in range(flags):
            os.write(1, b"\x1b[31m50 %\x00\xff\r" * 10_000)
        os._exit(4)

    def leave(self, flags, message):
        os._exit(3)

    def hang(self, flags, message):
        print("going in circles")
        time.sleep(600)


def create(settings, arrays):
    if settings.get("fail") == "raise":
        raise RuntimeError("no licence\nfor this")
    if settings.get("fail") == "memory":
        raise MemoryError
    if settings.get("fail") == "exit":
        print("libfoo.so: cannot open")
        os._exit(127)
    if settings.get("fail") == "hang":
        time.sleep(600)
    assert isinstance(settings["table"], np.ndarray)
    return Backend(settings, arrays)
