"""Draw docs/images/motion-clips.png: `python -m docs.scripts.motion_sheets`.

One row a shipped clip, twelve frames of its contact sheet, cut to the robot.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from holosoma_jax.motion import shipped
from holosoma_jax.render.contact_sheet import COLUMNS, GAP, ROWS
from holosoma_jax.render.video import SHEET_FRAME

TARGET = Path(__file__).parents[1] / "images" / "motion-clips.png"
CLIPS = ("g1_squat", "g1_side_steps", "g1_turn_in_place", "g1_arm_waves", "g1_walk_circle", "g1_dance",
         "t1_dance", "k1_dance")  # fmt: skip
CUT = (140, 40, 340, 320)
"""left, top, right, bottom of the robot in a frame, pixels"""
SIZE = (100, 140)
LABEL = 16


def main() -> None:
    """Draw every sheet and join the rows."""
    count = ROWS * COLUMNS
    sheet = Image.new("RGB", (count * SIZE[0], len(CLIPS) * (SIZE[1] + LABEL)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for row, name in enumerate(CLIPS):
        top = row * (SIZE[1] + LABEL)
        draw.text((4, top), name, "black", font)
        for i, frame in enumerate(frames(name)):
            sheet.paste(frame.crop(CUT).resize(SIZE, Image.Resampling.LANCZOS), (i * SIZE[0], top + LABEL))
    sheet.quantize(64).save(TARGET, optimize=True)


def frames(name: str) -> list[Image.Image]:
    """The frames of the clip's contact sheet."""
    assert name in shipped()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.png"
        command = [sys.executable, "-m", "holosoma_jax.motion", "inspect", name, "--sheet", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with Image.open(path) as image:
            whole = image.convert("RGB")
    (width, height), out = SHEET_FRAME, []
    for i in range(ROWS * COLUMNS):
        left, top = (i % COLUMNS) * (width + GAP), (i // COLUMNS) * (height + GAP)
        if left + width <= whole.width and top + height <= whole.height:
            out.append(whole.crop((left, top, left + width, top + height)))
    return out


if __name__ == "__main__":
    main()
