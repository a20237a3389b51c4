"""Faces (CelebA; Liu, Luo, Wang & Tang 2015, arXiv 1411.7766) at 64 x 64: hair colour and sex are content, the
other thirty-five annotations style.

A face's label is `2 h + Male`, `h` the first of Black, Blond, Brown and Gray hair that is annotated, 4 where
none is: ten classes. The aligned images of 178 x 218 pixels are cut to the middle 148 x 148 and made 64 x 64,
each new pixel an average over those it covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from ssl_theory.benchmarks.hub import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image

ALIGNED, CUT, SIZE = (178, 218), 148, 64  # (width, height) as published; sides of the square cut out and made
HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
STYLE = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Blurry",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)


def label(flags: Int[np.ndarray, "N 5"]) -> Int[np.ndarray, " N"]:
    """Of the flags of `HAIR` and of Male, in this order."""
    hair, male = flags[:, :4], flags[:, 4]
    first = np.where(hair.any(axis=1), hair.argmax(axis=1), len(HAIR))
    return 2 * first + male


def shaped(image: Image) -> Image:
    """The middle square of an aligned face, made small by PIL's triangle filter, which averages as it shrinks."""
    from PIL.Image import Resampling

    if image.size != ALIGNED or image.mode != "RGB":
        found = f"{image.width} x {image.height} in {image.mode}"
        raise ValueError(f"{ALIGNED[0]} x {ALIGNED[1]} pixels in RGB expected, {found} found")
    left, top = (image.width - CUT) // 2, (image.height - CUT) // 2
    square = image.crop((left, top, left + CUT, top + CUT))
    return square.resize((SIZE, SIZE), Resampling.BILINEAR)


RECIPE = Recipe("celeba 1", (*HAIR, "Male"), STYLE, label, shaped)
