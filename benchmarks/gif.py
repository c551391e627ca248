"""A video as a GIF small enough for a README: the same seconds in fewer colours, frames and pixels.

    python -m benchmarks.gif logs/.../eval/10000.mp4 docs/images/walk.gif --start 2 --seconds 6

The first of `SIZES` whose file is not larger than `--limit` is taken.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg

LIMIT = 2_000_000
"""bytes"""
SIZES = ((480, 15, 128), (480, 12, 96), (400, 12, 64), (360, 10, 48), (320, 10, 32), (240, 10, 32))
"""width in pixels, frames per second, colours"""


def convert(
    video: Path, target: Path, *, start: float = 0.0, seconds: float = 6.0, limit: int = LIMIT
) -> tuple[int, int, int]:
    """Write `target`; returns the size of `SIZES` that was taken.

    Ordered dithering repeats where the picture does not move, so that frames compress against each other.

    Raises:
      RuntimeError: ffmpeg cannot read the video.
      ValueError: even the smallest is too large.
    """
    for width, fps, colours in SIZES:
        shrunk = f"fps={fps},scale={width}:-2:flags=lanczos,split[a][b]"
        palette = f"[a]palettegen=max_colors={colours}:stats_mode=diff[p]"
        drawn = "[b][p]paletteuse=dither=bayer:bayer_scale=4:diff_mode=rectangle"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
        command += ["-ss", str(start), "-t", str(seconds), "-i", str(video)]
        command += ["-filter_complex", f"{shrunk};{palette};{drawn}", "-loop", "0", str(target)]
        target.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{video}: {done.stderr.strip().splitlines()[-1]}")
        if target.stat().st_size <= limit:
            return width, fps, colours
    target.unlink()
    raise ValueError(f"{target}: larger than {limit} bytes at {SIZES[-1][0]} pixels; take fewer seconds.")


def main() -> int:
    """Convert one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--start", type=float, default=0.0, help="s")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--limit", type=int, default=LIMIT, help="bytes")
    args = parser.parse_args()
    try:
        width, fps, colours = convert(
            args.video, args.target, start=args.start, seconds=args.seconds, limit=args.limit
        )
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size = args.target.stat().st_size / 1e6
    print(f"{args.target}: {size:.2f} MB, {width} pixels wide, {fps} frames/s, {colours} colours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
