"""The viewer itself; run as a process of its own by `holosoma_jax.viewer.viewer`.

``python -m holosoma_jax.viewer.process JOB.npz`` reads frames from standard input and writes lines
of JSON to standard output; it ends when its input ends, or when the user closes it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from holosoma_jax.render.gl import last_line
from holosoma_jax.viewer.controls import Controls
from holosoma_jax.viewer.messages import read_job


def main(argv: Sequence[str]) -> int:
    """Show the job ``argv[0]`` until its frames end or the user closes the viewer; the exit code."""
    send = _take_output()
    try:
        job = read_job(Path(argv[0]))
        from holosoma_jax.viewer.viewer_scene import FrameReader, ViewerScene

        scene = ViewerScene(job)
        frames = FrameReader(0, len(job.joint_names))
        controls = Controls(
            send, num_envs=job.num_envs, limits=job.limits, command=job.command, playback=job.playback
        )
        if job.kind == "web":
            from holosoma_jax.viewer.web import run
        else:
            from holosoma_jax.viewer.window import run
        run(job, scene, frames, controls, send)
    except Exception as error:  # of MuJoCo, OpenGL or the network: one line of the run
        send(error=last_line(str(error)) or type(error).__name__)
        return 1
    return 0


def _take_output() -> Callable[..., None]:
    """Keep standard output for messages, each a line of JSON; what others print goes to standard error."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)

    def send(**message: object) -> None:
        with suppress(OSError):  # the run has ended; so will this process, when its frames end
            print(json.dumps(message), file=lines, flush=True)

    return send


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # graphics threads that are still there must not turn a good end into a crash
