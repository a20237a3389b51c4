"""A world: content prior, style conditional, mixing and noise, with everything that is exactly known about
it.

    k ~ Cat(pi), y | k ~ p(y|k), z^j | y ~ p(z|y), x^j | z^j ~ p(x|z)            j = 1..J views of a datum

What has a closed form is a method; what has none is refused by `NotExact`, which names the assumption that
fails and what to use instead. Exact methods work in the world's dtype: use float64
(`world.to(dtype=torch.float64)`) for them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from synthetic.content import Content
from synthetic.exact.law import Law
from synthetic.mixing import Channel, Mixing
from synthetic.noise import Noise, NoNoise
from synthetic.parts import Part, pack, unpack
from synthetic.refusal import NotExact, Unresolved
from synthetic.sampler import Sampler, saved_as
from synthetic.style import Style
from synthetic.views import Observed, Views

FORMAT = 1
OF_ONE_VIEW = "use world.view(j) for one view, or synthetic.monte_carlo.log_evidence, pmi or mutual_information"
OF_LATENTS = "use synthetic.monte_carlo.mutual_information of the same world with mixing=Identity() and noise=NoNoise()"


@dataclass(frozen=True, eq=False, repr=False)
class World(Sampler, Part):
    """A generative model of J views with known truth.

    >>> world = World(Gaussian(3), Isotropic(0.5), Identity(), GaussianNoise(0.1))
    >>> views = world.sample(100, views=2, generator=torch.Generator().manual_seed(0))
    >>> views.x.shape
    torch.Size([100, 2, 3])
    """

    content: Content
    style: Style
    mixing: Mixing
    noise: Noise = dataclasses.field(default_factory=NoNoise)
    dtype: torch.dtype = torch.float32
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", torch.device(self.device))
        for name in ("content", "style", "mixing", "noise"):
            object.__setattr__(self, name, getattr(self, name).to(self.device, self.dtype))
        made, taken = self.latent_dim, self.mixing.latent_dim(self.latent_dim)
        if made != taken:
            raise ValueError(f"expected a mixing of {made} coordinates (content and style), found one of {taken}")

    # -- sizes ----------------

    @property
    def content_dim(self) -> int:
        return self.content.dim

    @property
    def style_dim(self) -> int:
        return self.style.style_dim(self.content.dim)

    @property
    def latent_dim(self) -> int:
        return self.style.latent_dim(self.content.dim)

    @property
    def observation_dim(self) -> int:
        """Size of an observation."""
        if len(set(self.observation_dims)) > 1:
            raise ValueError(
                f"expected observations of one size, found modalities of {self.observation_dims}: use observation_dims"
            )
        return self.observation_dims[0]

    @property
    def observation_dims(self) -> tuple[int, ...]:
        """Size of an observation of each modality; one entry where all views are alike."""
        return tuple(part.observation_dim(self.latent_dim) for part in self.mixing.split)

    @property
    def classes(self) -> int | None:
        return self.content.classes

    # -- sampling ----------------

    @torch.no_grad()
    def sample(self, n: int, *, views: int = 2, generator: torch.Generator) -> Views:
        """n independent data of `views` views each, drawn and kept on the generator's device."""
        self._require_drawable(n, views, generator)
        if len(self.mixing.split) not in (1, views):
            raise ValueError(f"expected views={len(self.mixing.split)}, one a modality of this world, found {views}")
        content, label = self.content.sample(n, generator, self.dtype)
        z, style = self.style.sample(content, views, generator)
        return Views(self._observe(z, generator), z, content, style, label)

    def _observe(self, z: Float[Tensor, "n J d"], generator: torch.Generator) -> Observed:
        parts = self.mixing.split
        if len(parts) == 1:
            return self.noise.sample(self.mixing(z), generator)
        x = [self.noise.sample(part(own), generator) for part, own in zip(parts, z.unbind(1), strict=True)]
        return torch.stack(x, 1) if len(set(self.observation_dims)) == 1 else tuple(x)

    # -- moving, saving ----------------

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> World:
        """The same world on another device, in another floating-point type."""
        return dataclasses.replace(self, device=torch.device(device or self.device), dtype=dtype or self.dtype)

    def without_noise(self) -> World:
        """The same world with `x = f(z)`."""
        return dataclasses.replace(self, noise=NoNoise())

    def view(self, j: int) -> World:
        """The world of view j alone: its own mixing, where modalities differ; refused where style has no law of it."""
        parts = self.mixing.split
        return dataclasses.replace(self, style=self.style.view(j), mixing=parts[j % len(parts)])

    def save(self, path: str | Path) -> None:
        """Write `path.json` (structure and plain numbers) and `path.safetensors` (tensors, bit for bit)."""
        tensors: dict[str, Tensor] = {}
        parts = {name: pack(getattr(self, name), tensors, name) for name in ("content", "style", "mixing", "noise")}
        structure = {"format": FORMAT, "dtype": str(self.dtype).removeprefix("torch."), "parts": parts}
        described, numbers = saved_as(path)
        described.write_text(json.dumps(structure, indent=1) + "\n")
        save_file(tensors, numbers)

    @staticmethod
    def load(path: str | Path, device: torch.device | str = "cpu") -> World:
        """Read a world that `save` wrote; `path` without suffix, or with either of the two."""
        files = saved_as(path)
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise ValueError(f"expected a saved world at {path}, found no {' and no '.join(missing)}")
        structure = json.loads(files[0].read_text())
        if structure.get("format") != FORMAT:
            raise ValueError(f"expected a world of format {FORMAT}, found {structure.get('format')}: save it again")
        tensors = {name: tensor.clone() for name, tensor in load_file(files[1]).items()}
        parts = {name: unpack(part, tensors) for name, part in structure["parts"].items()}
        return World(**parts, dtype=getattr(torch, structure["dtype"]), device=torch.device(device))

    # -- exact truth ----------------

    @cached_property
    def _like(self) -> Tensor:
        return torch.empty(0, device=self.device, dtype=self.dtype)

    @cached_property
    def latent_law(self) -> Law:
        """The law of the latents themselves (as if `x = z`)."""
        return self.style.law(self.content, self._like)

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """The observation of each view (or of all) read as a linear-Gaussian view of the latent."""
        eye = torch.eye(self.latent_dim, device=self.device, dtype=self.dtype)
        channels = tuple(part.channel(self.noise.gaussian_std(), eye) for part in self.mixing.split)
        if len({None if c.projection is None else len(c.projection) for c in channels}) > 1:
            raise NotExact("modalities show different numbers of latent coordinates", OF_ONE_VIEW)
        return channels

    @cached_property
    def law(self) -> Law:
        """The law of the decoded observations."""
        projection, noise = (_stacked([getattr(c, name) for c in self.channels]) for name in ("projection", "noise"))
        return self.latent_law.through(projection, noise)

    @torch.no_grad()
    def log_evidence(self, x: Observed) -> Float[Tensor, " n"]:
        """`log p(x^{1:J})` in nats, x `(n, J, D)`.

        Without noise and in a larger observation space: the density on the image of f.
        """
        seen = self._decode(x)
        offsets = [
            self.law.log_offset(channel.log_offset(own), part.jacobian, t)
            for own, t, channel, part in self._by_channel(x, seen)
        ]
        return self.law.log_prob(seen) + torch.cat(offsets, 1).sum(1)

    @torch.no_grad()
    def log_prior(self, z: Float[Tensor, "n J d"]) -> Float[Tensor, " n"]:
        """`log p(z^{1:J})` in nats, content integrated out."""
        return self.latent_law.log_prob(z)

    @torch.no_grad()
    def posterior(self, x: Observed, of: str = "content") -> Any:
        """Posterior given all J views of x of `of`: "content", or "latent" or "style" of all views together.

        It has `mean`, `covariance` and `log_prob(value)`, one a datum. The latents and the style of J views come
        flattened, `(n, J d)`; give one view, `x[:, :1]`, for single-view posteriors.
        """
        if of not in ("content", "latent", "style"):
            raise ValueError(f"expected a posterior of content, latent or style, found {of!r}")
        return self.law.posterior(self._decode(x), of)

    @torch.no_grad()
    def label_log_prob(self, x: Observed) -> Float[Tensor, "n K"]:
        """`log p(k | x^{1:J})` of every class."""
        return self.law.label_log_prob(self._decode(x), self._require_classes())

    @torch.no_grad()
    def pmi(self, x: Float[Tensor, "n D"], x2: Float[Tensor, "n D2"]) -> Float[Tensor, " n"]:
        """Pointwise mutual information `log p(x, x') - log p(x) - log p(x')` of two views, in nats."""
        return self.law.pmi(self._decode_view(x, 0), self._decode_view(x2, 1))

    @torch.no_grad()
    def pmi_matrix(self, x: Float[Tensor, "n D"], x2: Float[Tensor, "l D2"]) -> Float[Tensor, "n l"]:
        """Pointwise mutual information of every pair: the optimal critic of InfoNCE."""
        return self.law.pmi_matrix(self._decode_view(x, 0), self._decode_view(x2, 1))

    def mutual_information(self) -> float:
        """`I(x; x')` of two views, in nats."""
        return self._resolved(lambda world: world.law.mutual_information())

    def latent_information(self) -> float:
        """`I(z; z')` of the latents of two views, in nats."""
        try:
            return self._resolved(lambda world: world.latent_law.mutual_information())
        except Unresolved:
            raise
        except NotExact as refusal:
            raise NotExact(refusal.assumption, OF_LATENTS) from None

    def content_information(self) -> float:
        """`I(x; y)` of one view (the first modality) and content, in nats."""
        return self._resolved(lambda world: world.law.content_information())

    def content_entropy(self) -> float:
        """`H(y)` in nats: of the distribution where content is discrete, differential otherwise."""
        return self.content.entropy(self._like)

    def label_entropy(self) -> float:
        """`H(k)` in nats."""
        self._require_classes()
        return self.content.label_entropy(self._like)

    def label_accuracy(self) -> float:
        """Accuracy of the best possible classifier of labels from one view (the first modality)."""
        self._require_classes()
        return self.law.label_accuracy()

    def content_r2(self) -> Float[Tensor, " dc"]:
        """Bayes-optimal `R^2` of each content coordinate from one view: the ceiling of every probe."""
        return self.law.r2("content")

    def style_r2(self) -> Float[Tensor, " ds"]:
        """Bayes-optimal `R^2` of each style coordinate from one view: the ceiling of every probe."""
        return self.law.r2("style")

    def style_floor(self, per_coordinate: bool = False) -> float | Float[Tensor, " ds"]:
        """`R^2(s | y)`: what content alone tells of style, the floor of retained style.

        `R^2_i = Var E[s_i | y] / Var s_i` for each style coordinate; the float is their uniform average, the average
        that `R^2` of several targets takes in the probes (`multioutput="uniform_average"` of scikit-learn).
        """
        floor = self.style.floor(self.content, self._like)
        return floor if per_coordinate else float(floor.mean())

    def _resolved(self, quantity: Callable[[World], float]) -> float:
        """A quantity of this world; where its precision does not resolve it, of the same world in float64."""
        try:
            return quantity(self)
        except Unresolved:
            if self.dtype == torch.float64:
                raise
            return quantity(self.to(dtype=torch.float64))

    # -- reading observations ----------------

    def _by_channel(self, x: Observed, seen: Tensor) -> list[tuple[Tensor, Tensor, Channel, Mixing]]:
        """Observations and their decoded values, the views that share a channel together."""
        if len(self.channels) == 1:
            return [(x, seen, self.channels[0], self.mixing)]
        views = x.unbind(1) if isinstance(x, Tensor) else x
        parts = zip(views, seen.unbind(1), self.channels, self.mixing.split, strict=True)
        return [(own[:, None], t[:, None], channel, part) for own, t, channel, part in parts]

    def _decode(self, x: Observed) -> Float[Tensor, "n J q"]:
        if len(self.channels) == 1 and isinstance(x, Tensor):
            return self._decode_view(x, 0)
        views = x.unbind(1) if isinstance(x, Tensor) else x
        if len(views) != len(self.channels):
            raise ValueError(f"expected observations of {len(self.channels)} views, found {len(views)}")
        return torch.stack([self._decode_view(own, j) for j, own in enumerate(views)], 1)

    def _decode_view(self, x: Float[Tensor, "*n D"], j: int) -> Float[Tensor, "*n q"]:
        j = j % len(self.channels)
        wanted = self.mixing.split[j].observation_dim(self.latent_dim)
        if x.shape[-1] != wanted:
            raise ValueError(f"expected observations of {wanted} dimensions, found {x.shape[-1]}")
        return self.channels[j].decode(x)

    def _require_classes(self) -> int:
        if self.classes is None:
            raise NotExact("content has no classes", "use a world with classes")
        return self.classes

    def formulas(self) -> tuple[str, str, str]:
        observation = f"{self.noise.formula()}, f: {self.mixing.formula()}"
        return self.content.formula(), self.style.formula(), observation


def _stacked(parts: list[Tensor | None]) -> Tensor | None:
    """One tensor for all views, or one a view stacked; None where no view has any."""
    given = [part for part in parts if part is not None]
    return None if not given else given[0] if len(parts) == 1 else torch.stack(given)
