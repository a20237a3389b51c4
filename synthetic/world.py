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
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from synthetic.content import Content
from synthetic.exact.gaussian import LinearGaussian
from synthetic.exact.mixture import GaussianMixture
from synthetic.mixing import Channel, Mixing
from synthetic.noise import Noise, NoNoise
from synthetic.parts import Part, pack, unpack
from synthetic.refusal import NotExact
from synthetic.style import Style
from synthetic.views import Views

FORMAT = 1


@dataclass(frozen=True, eq=False, repr=False)
class World(Part):
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
        return self.mixing.observation_dim(self.latent_dim)

    @property
    def classes(self) -> int | None:
        return self.content.classes

    # -- sampling ----------------

    @torch.no_grad()
    def sample(self, n: int, *, views: int = 2, generator: torch.Generator) -> Views:
        """n independent data of `views` views each, drawn and kept on the generator's device."""
        if n < 1 or views < 1:
            raise ValueError(f"expected at least one datum and one view, found n={n}, views={views}")
        if generator.device.type != self.device.type:
            raise ValueError(
                f"expected a generator on {self.device}, found one on {generator.device}: move the world by "
                f"world.to({str(generator.device)!r}), or use torch.Generator({str(self.device)!r})"
            )
        content, label = self.content.sample(n, generator, self.dtype)
        z, style = self.style.sample(content, views, generator)
        return Views(self.noise.sample(self.mixing(z), generator), z, content, style, label)

    # -- moving, saving ----------------

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> World:
        """The same world on another device, in another floating-point type."""
        return dataclasses.replace(self, device=torch.device(device or self.device), dtype=dtype or self.dtype)

    def without_noise(self) -> World:
        """The same world with `x = f(z)`."""
        return dataclasses.replace(self, noise=NoNoise())

    def save(self, path: str | Path) -> None:
        """Write `path.json` (structure and plain numbers) and `path.safetensors` (tensors, bit for bit)."""
        tensors: dict[str, Tensor] = {}
        parts = {name: pack(getattr(self, name), tensors, name) for name in ("content", "style", "mixing", "noise")}
        structure = {"format": FORMAT, "dtype": str(self.dtype).removeprefix("torch."), "parts": parts}
        stem = _stem(path)
        stem.with_name(stem.name + ".json").write_text(json.dumps(structure, indent=1) + "\n")
        save_file(tensors, stem.with_name(stem.name + ".safetensors"))

    @staticmethod
    def load(path: str | Path, device: torch.device | str = "cpu") -> World:
        """Read a world that `save` wrote; `path` without suffix, or with either of the two."""
        stem = _stem(path)
        files = [stem.with_name(stem.name + suffix) for suffix in (".json", ".safetensors")]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise ValueError(f"expected a saved world at {stem}, found no {' and no '.join(missing)}")
        structure = json.loads(files[0].read_text())
        if structure.get("format") != FORMAT:
            raise ValueError(f"expected a world of format {FORMAT}, found {structure.get('format')}: save it again")
        tensors = {name: tensor.clone() for name, tensor in load_file(files[1]).items()}
        parts = {name: unpack(part, tensors) for name, part in structure["parts"].items()}
        return World(**parts, dtype=getattr(torch, structure["dtype"]), device=torch.device(device))

    # -- exact truth ----------------

    @cached_property
    def latent_law(self) -> LinearGaussian:
        """The law of the latents themselves (as if `x = z`)."""
        return self.style.law(self.content, self.device, self.dtype)

    @cached_property
    def channel(self) -> Channel:
        """The observation read as a linear-Gaussian view of the latent."""
        eye = torch.eye(self.latent_dim, device=self.device, dtype=self.dtype)
        return self.mixing.channel(self.noise.gaussian_std(), eye)

    @cached_property
    def law(self) -> LinearGaussian:
        """The law of the decoded observations."""
        return self.latent_law.through(self.channel.projection, self.channel.noise)

    @torch.no_grad()
    def log_evidence(self, x: Float[Tensor, "n J D"]) -> Float[Tensor, " n"]:
        """`log p(x^{1:J})` in nats; on the image of f where the observation space is larger and there is no
        noise.
        """
        return self.law.log_prob(self.channel.decode(x)) + self.channel.log_offset(x).sum(-1)

    @torch.no_grad()
    def log_prior(self, z: Float[Tensor, "n J d"]) -> Float[Tensor, " n"]:
        """`log p(z^{1:J})` in nats, content integrated out."""
        return self.latent_law.log_prob(z)

    @torch.no_grad()
    def posterior(self, x: Float[Tensor, "n J D"], of: str = "content") -> GaussianMixture:
        """Posterior given all J views of x of `of`: "content", or "latent" or "style" of all J views
        together.

        The views' latents come flattened, `(n, C, J d)`; give one view, `x[:, :1]`, for single-view
        posteriors.
        """
        if of not in ("content", "latent", "style"):
            raise ValueError(f"expected a posterior of content, latent or style, found {of!r}")
        return self.law.posterior(self.channel.decode(x), of)

    @torch.no_grad()
    def label_log_prob(self, x: Float[Tensor, "n J D"]) -> Float[Tensor, "n K"]:
        """`log p(k | x^{1:J})` of every class."""
        if self.classes is None:
            raise NotExact("content has no classes", "use a world with a class mixture")
        return self.law.label_log_prob(self.channel.decode(x), self.classes)

    @torch.no_grad()
    def pmi(self, x: Float[Tensor, "n D"], x2: Float[Tensor, "n D"]) -> Float[Tensor, " n"]:
        """Pointwise mutual information `log p(x, x') - log p(x) - log p(x')` of two views, in nats."""
        return self.law.pmi(self.channel.decode(x), self.channel.decode(x2))

    @torch.no_grad()
    def pmi_matrix(self, x: Float[Tensor, "n D"], x2: Float[Tensor, "l D"]) -> Float[Tensor, "n l"]:
        """Pointwise mutual information of every pair: the optimal critic of InfoNCE."""
        return self.law.pmi_matrix(self.channel.decode(x), self.channel.decode(x2))

    def mutual_information(self) -> float:
        """`I(x; x')` of two views, in nats."""
        return self.law.mutual_information()

    def latent_information(self) -> float:
        """`I(z; z')` of the latents of two views, in nats."""
        return self.latent_law.mutual_information()

    def content_information(self) -> float:
        """`I(x; y)` of one view and content, in nats."""
        return self.law.content_information()

    def content_r2(self) -> Float[Tensor, " dc"]:
        """Bayes-optimal `R^2` of each content coordinate from one view: the ceiling of every probe."""
        return self.law.r2("content")

    def style_r2(self) -> Float[Tensor, " ds"]:
        """Bayes-optimal `R^2` of each style coordinate from one view: the ceiling of every probe."""
        return self.law.r2("style")

    def style_floor(self, per_coordinate: bool = False) -> float | Float[Tensor, " ds"]:
        """`R^2(s | y)`: what content alone tells of style, the floor of retained style.

        `R^2_i = Var E[s_i | y] / Var s_i` for each style coordinate; the float is their uniform average,
        the average that `R^2` of several targets takes in the probes (`multioutput="uniform_average"` of
        scikit-learn).
        """
        floor = self.style.floor(self.content, self.device, self.dtype)
        return floor if per_coordinate else float(floor.mean())

    # -- printing ----------------

    def __repr__(self) -> str:
        lines = (
            self.content.formula(),
            self.style.formula(),
            f"{self.noise.formula()}, f: {self.mixing.formula()}",
        )
        return "World\n" + "\n".join("  " + line for line in lines)


def _stem(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".json", ".safetensors") else path
