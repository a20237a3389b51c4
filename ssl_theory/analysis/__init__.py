"""What a representation kept, measured against the truth.

Measures take one representation `(n, d)` or a stack `(E, n, d)` over ensemble members, numpy or torch, and answer in
the same kind: a float, or `(E,)`. A member that holds NaN answers NaN and leaves the others alone. Bad shapes are a
`ValueError` of one line. Sums are in float64, networks in float32; information is in nats.

- `probes`: `r2`, `accuracy`; `intervals`: these with intervals over scored rows; `profile`: all in one call
- `decoding`: `class_information`, `gaussian_target_information`, `mixture_target_information`,
  `conditional_information`: what h and z tell of content and style
- `collapse`: `retained_style`, collapse ratios, `effective_rank`; `neural_collapse`: `spectrum` within and between
  classes, `nc1`, `cdnv`, `etf_distance`, `norm_variation`, `self_duality`; `dimensions`: `lidar`, `alpha_req`, ...
- `clustering`: `mixture_clustering`, `kmeans_clustering` and their scores, `mixture_assignment`, `components_by_bic`
- `geometry`: alignment, uniformity, tolerance, norms; `cka`, `procrustes`, `pairwise`; `pmi_fit`, `fitted_temperature`
- `identifiability`: `affine_r2`, `block_r2`, `mcc`, `dci`
- `projection`: `along`, `profile_along` the layers of a head; `singular_values`, `style_variance_by_direction`,
  `style_in_small_directions`, `passed_on`
- `reconstruction`: `reconstruct`, by a decoder of the frozen representation
- `information` (a module of its own): bounds from critic scores, `ksg`, closed forms; `critics`: networks that give
  such scores, `between` two representations
"""

from ssl_theory.analysis.clustering import (
    Clustering,
    components_by_bic,
    hungarian_accuracy,
    kmeans_clustering,
    mixture_assignment,
    mixture_clustering,
    purity,
)
from ssl_theory.analysis.collapse import (
    class_collapse_ratio,
    collapse_ratio,
    effective_rank,
    retained_style,
    total_variance,
)
from ssl_theory.analysis.decoding import (
    class_information,
    conditional_information,
    gaussian_target_information,
    mixture_target_information,
)
from ssl_theory.analysis.dimensions import alpha_req, eigenspectrum, lidar, participation_ratio
from ssl_theory.analysis.geometry import (
    Norms,
    PmiFit,
    alignment,
    cka,
    fitted_temperature,
    norms,
    pairwise,
    pmi_fit,
    procrustes,
    tolerance,
    uniformity,
)
from ssl_theory.analysis.identifiability import Dci, affine_r2, block_r2, dci, mcc
from ssl_theory.analysis.intervals import Interval, accuracy_interval, r2_interval
from ssl_theory.analysis.neural_collapse import (
    Spectrum,
    cdnv,
    class_means,
    etf_distance,
    nc1,
    norm_variation,
    self_duality,
    spectrum,
)
from ssl_theory.analysis.probes import accuracy, r2
from ssl_theory.analysis.profile import profile
from ssl_theory.analysis.projection import (
    along,
    passed_on,
    profile_along,
    singular_values,
    style_in_small_directions,
    style_variance_by_direction,
)
from ssl_theory.analysis.reconstruction import Reconstruction, reconstruct

__all__ = [
    "Clustering",
    "Dci",
    "Interval",
    "Norms",
    "PmiFit",
    "Reconstruction",
    "Spectrum",
    "accuracy",
    "accuracy_interval",
    "affine_r2",
    "alignment",
    "along",
    "alpha_req",
    "block_r2",
    "cdnv",
    "cka",
    "class_collapse_ratio",
    "class_information",
    "class_means",
    "collapse_ratio",
    "components_by_bic",
    "conditional_information",
    "dci",
    "effective_rank",
    "eigenspectrum",
    "etf_distance",
    "fitted_temperature",
    "gaussian_target_information",
    "hungarian_accuracy",
    "kmeans_clustering",
    "lidar",
    "mcc",
    "mixture_assignment",
    "mixture_clustering",
    "mixture_target_information",
    "nc1",
    "norm_variation",
    "norms",
    "pairwise",
    "participation_ratio",
    "passed_on",
    "pmi_fit",
    "procrustes",
    "profile",
    "profile_along",
    "purity",
    "r2",
    "r2_interval",
    "reconstruct",
    "retained_style",
    "self_duality",
    "singular_values",
    "spectrum",
    "style_in_small_directions",
    "style_variance_by_direction",
    "tolerance",
    "total_variance",
    "uniformity",
]
