"""A contact sheet: frames of an episode, evenly spaced, in one picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

COLUMNS, ROWS = 4, 3
GAP = 4
"""pixels between frames"""
PAPER = 245
"""grey of what is between them, of 255"""


def stride(frames: int, wanted: int = COLUMNS * ROWS) -> int:
    """Every how many frames one is taken, so that at most `wanted` are, over the whole episode."""
    return max(1, math.ceil(frames / wanted))


def tile(images: Iterable[np.ndarray], columns: int = COLUMNS) -> np.ndarray:
    """Images [H, W, 3] uint8 side by side, row by row, as one [H', W', 3].

    Raises:
      ValueError: there is none.
    """
    shown = list(images)
    if not shown:
        raise ValueError("there is no finite frame to draw")
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    height, width = shown[0].shape[:2]
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), PAPER, np.uint8)
    for i, image in enumerate(shown):
        top, left = (i // columns) * (height + GAP), (i % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def write(path: Path, images: Iterable[np.ndarray]) -> None:
    """Write the sheet as PNG.

    Raises:
      ValueError: no image.
      OSError: it cannot be written.
    """
    from PIL import Image

    Image.fromarray(tile(images)).save(path)
