"""Jitter of brightness, contrast, saturation and hue: as one writes it, and in few passes over memory for a CPU.

With factors b, c, s, an angle of t sectors (60 degrees each), the grey level g(x) and its mean mu over the image,

    x1 = min(b x, 1),    x2 = cut(c x1 + (1 - c) mu),    x3 = cut(s x2 + (1 - s) g(x2)),    x4 = turn(x3, t),

with cut(x) = min(max(x, 0), 1). The turn is that of the hexcone (Smith 1978, SIGGRAPH 12(3)): hue is shifted, a pixel's
largest and smallest value M and m stay, and saturation with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

GREY = (0.299, 0.587, 0.114)  # shares of red, green and blue in a pixel's grey level (ITU-R BT.601)
LEAST = 1e-12  # for a factor of 0, by which bounds are divided


def jittered(x: Float[Tensor, "n 3 H W"], style: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 H W"]:
    """Brightness, contrast and saturation by factors, hue turned by an angle in radians: all at once.

    Channel by channel, so that a compiler finds two loops over the pixels, the mean's and the rest."""
    brightness, contrast, saturation, angle = style[:, :, None, None].unbind(1)
    x1 = [(channel * brightness).clamp(max=1.0) for channel in x.unbind(1)]
    mean = _grey([channel.mean((1, 2), keepdim=True) for channel in x1])
    x2 = [(contrast * channel + (1 - contrast) * mean).clamp(0.0, 1.0) for channel in x1]
    grey = _grey(x2)
    x3 = [(saturation * channel + (1 - saturation) * grey).clamp(0.0, 1.0) for channel in x2]
    return _turned(x3, angle * (3 / math.pi))


def _grey(channels: Sequence[Float[Tensor, "n h w"]]) -> Float[Tensor, "n h w"]:
    red, green, blue = channels
    return GREY[0] * red + GREY[1] * green + GREY[2] * blue


def _turned(channels: Sequence[Float[Tensor, "n H W"]], sectors: Float[Tensor, "n 1 1"]) -> Float[Tensor, "n 3 H W"]:
    """Hue turned by up to three sectors either way.

    At u sectors from the hue opposite to a channel's own, from -3 to 3, the channel is `m + (M - m) cut(|u| - 1)`. Here
    `(M - m) |u| = 2 channel - d + M - 2 m`, d the value in the middle, and u has the sign of the channel before less
    the one after on the circle: nothing is divided, no pixel sorted into its sector. A turn past 3 comes back from
    there: |u| becomes `3 - ||u + t| - 3|`."""
    red, green, blue = channels
    least, most = torch.minimum(torch.minimum(red, green), blue), torch.maximum(torch.maximum(red, green), blue)
    spread, middle = most - least, red + green + blue - most - least
    turned = []
    for number, channel in enumerate(channels):
        size = 2 * channel - middle + spread - least
        u = torch.where(channels[number - 1] > channels[number - 2], size, -size) + sectors * spread
        value = least + 2 * spread - (u.abs() - 3 * spread).abs()
        turned.append(torch.minimum(torch.maximum(value, least), most))
    return torch.stack(turned, 1)


class Plan(NamedTuple):
    """The same with cuts first, which commute with growing affine maps if their bounds go along.

    So the first two steps only cut, and b and c come in with the third: one product with a matrix `(3, 4)` an image,
    whose last column is k = (1 - c) mu. A turn by two sectors carries red to green, green to blue and blue to red:
    another order of that matrix' rows. What is left is a turn by |f| <= 1, where the bounds m and M make up for the
    turning back at 0 and 3. This is what the style says before pixels are seen."""

    ceiling: Float[Tensor, "n 1 1"]  # 1 / b
    tint: Float[Tensor, "n 1 3"]  # takes the sums of the channels to k
    inverse: Float[Tensor, "n 1 1"]  # 1 / (b c)
    mix: Float[Tensor, "n 3 4"]  # k, the last column, is yet to be filled in
    back: Float[Tensor, "n 1"]  # -f


class Room(NamedTuple):
    """Memory for some pixels of a few images on their way, and the ways to look at it."""

    four: Float[Tensor, "m 4 P"]  # the cut channels, and 1
    mixed: Float[Tensor, "m 3 P"]
    channels: tuple[Float[Tensor, "m P"], ...]  # each of these
    spare: tuple[Float[Tensor, "m P"], ...]  # four


class Pieces:
    """`jittered` for images that come some at a time, in these styles, about so many pixels at a time. Memory is used
    again, and so are the views of it: to make either costs as much as the work."""

    def __init__(self, style: Float[Tensor, "n 4"], size: int, pixels: int) -> None:
        self.few, self.part = max(1, min(len(style), pixels // size)), max(1, min(size, pixels))
        self.plan, self.work = _plan(style, size), style.new_empty(self.few, 4, size)
        self.spare = style.new_empty(7 * self.few * self.part)
        self.work[:, 3] = 1.0
        self.rooms: dict[int, list[Room]] = {}

    def __call__(self, x: Float[Tensor, "m 3 H W"], which: slice) -> Float[Tensor, "m 3 H W"]:
        """Some images, whose styles are those at `which`."""
        out = x.new_empty(x.shape)
        plan = (own[which].split(self.few) for own in self.plan)
        for some, seen, *own in zip(x.flatten(2).split(self.few), out.flatten(2).split(self.few), *plan, strict=True):
            self._some(some, seen, Plan(*own))
        return out

    def _some(self, x: Float[Tensor, "m 3 P"], out: Float[Tensor, "m 3 P"], plan: Plan) -> None:
        """A few images: the cuts of brightness and contrast, then the rest some pixels at a time."""
        cut = torch.minimum(x, plan.ceiling, out=self.work[: len(x), :3])
        k = torch.bmm(plan.tint, cut.sum(2, keepdim=True))
        low = -k * plan.inverse
        torch.maximum(cut, low, out=cut)
        torch.minimum(cut, low + plan.inverse, out=cut)
        plan.mix[:, :, 3:] = k
        for room, seen in zip(self._rooms(len(x)), out.split(self.part, 2), strict=True):
            torch.bmm(plan.mix, room.four, out=room.mixed).clamp_(0.0, 1.0)
            _turn(room, plan.back, seen)

    def _rooms(self, m: int) -> list[Room]:
        if m not in self.rooms:
            self.rooms[m] = [self._room(four) for four in self.work[:m].split(self.part, 2)]
        return self.rooms[m]

    def _room(self, four: Float[Tensor, "m 4 P"]) -> Room:
        m, _, pixels = four.shape  # m is 0 for no image at all
        mixed, spare = self.spare[: 7 * m * pixels].split([3 * m * pixels, 4 * m * pixels])
        mixed = mixed.view(m, 3, pixels)
        return Room(four, mixed, mixed.unbind(1), spare.view(4, m, pixels).unbind())


def _plan(style: Float[Tensor, "n 4"], size: int) -> Plan:
    brightness, contrast, saturation, angle = style[:, :, None, None].unbind(1)
    grey = style.new_tensor(GREY)
    scale = (brightness * contrast).clamp_min(LEAST)
    sectors = angle * (3 / math.pi)
    twos = (sectors / 2).round()
    order = (torch.arange(3) - twos[:, 0]).long() % 3
    mix = scale * (saturation * torch.eye(3).to(style) + (1 - saturation) * grey)
    mix = torch.nn.functional.pad(mix, (0, 1)).gather(1, order[:, :, None].expand(-1, -1, 4))
    tint = (1 - contrast) * brightness / size * grey
    return Plan(1 / brightness.clamp_min(LEAST), tint, 1 / scale, mix, (2 * twos - sectors)[:, 0])


def _turn(room: Room, back: Float[Tensor, "m 1"], out: Float[Tensor, "m 3 P"]) -> None:
    """Hue turned back by so many sectors, at most 1 either way, into `out`:

    a channel becomes `2 channel - d + f (M - m) sign(before - after)` cut from m to M, and -f is what is given."""
    red, green, blue = room.channels
    least, most, rest, step = room.spare
    torch.minimum(red, green, out=least)
    torch.maximum(red, green, out=most)
    torch.clamp(blue, least, most, out=rest)  # the value in the middle
    torch.minimum(least, blue, out=least)
    torch.maximum(most, blue, out=most)
    torch.sub(most, least, out=step).mul_(back)
    torch.sub(step, rest, out=rest)
    for number, sign in enumerate(out.unbind(1)):
        torch.gt(room.channels[number - 1], room.channels[number - 2], out=sign)  # 0 or 1 for -1 or 1
    torch.addcmul(rest[:, None], out, step[:, None], value=-2.0, out=out).add_(room.mixed, alpha=2.0)
    torch.clamp(out, least[:, None], most[:, None], out=out)
