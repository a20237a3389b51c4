"""What a representation kept, measured against the truth.

Measures take one representation `(n, d)` or a stack `(E, n, d)` over ensemble members, numpy or torch, and answer in
the same kind: a float, or `(E,)`. A member that holds NaN answers NaN and leaves the others alone. Bad shapes are a
`ValueError` of one line. Sums are in float64, networks in float32; information is in nats.

- `probes`: `r2`, `accuracy`; `decoding`: `class_information`, `gaussian_target_information`; `profile`: all in one call
- `collapse`, `neural_collapse`, `dimensions`: style, classes, directions that are left
- `clustering`, `geometry`, `identifiability`, `projection`, `reconstruction`
- `information`: bounds from critic scores, KSG; `critics`: networks that give such scores
"""

from ssl_theory.analysis.clustering import (
    Clustering,
    components_by_bic,
    hungarian_accuracy,
    kmeans_clustering,
    mixture_clustering,
)
from ssl_theory.analysis.collapse import (
    class_collapse_ratio,
    collapse_ratio,
    effective_rank,
    retained_style,
    total_variance,
)
from ssl_theory.analysis.decoding import class_information, gaussian_target_information
from ssl_theory.analysis.dimensions import alpha_req, eigenspectrum, lidar, participation_ratio
from ssl_theory.analysis.geometry import alignment, cka, norms, pmi_fit, procrustes, tolerance, uniformity
from ssl_theory.analysis.identifiability import affine_r2, block_r2, dci, mcc
from ssl_theory.analysis.intervals import Interval, accuracy_interval, r2_interval
from ssl_theory.analysis.neural_collapse import cdnv, class_means, etf_distance, nc1, norm_variation, self_duality
from ssl_theory.analysis.probes import accuracy, r2
from ssl_theory.analysis.profile import profile
from ssl_theory.analysis.reconstruction import Reconstruction, reconstruct

__all__ = [
    "Clustering",
    "Interval",
    "Reconstruction",
    "accuracy",
    "accuracy_interval",
    "affine_r2",
    "alignment",
    "alpha_req",
    "block_r2",
    "cdnv",
    "cka",
    "class_collapse_ratio",
    "class_information",
    "class_means",
    "collapse_ratio",
    "components_by_bic",
    "dci",
    "effective_rank",
    "eigenspectrum",
    "etf_distance",
    "gaussian_target_information",
    "hungarian_accuracy",
    "kmeans_clustering",
    "lidar",
    "mcc",
    "mixture_clustering",
    "nc1",
    "norm_variation",
    "norms",
    "participation_ratio",
    "pmi_fit",
    "procrustes",
    "profile",
    "r2",
    "r2_interval",
    "reconstruct",
    "retained_style",
    "self_duality",
    "tolerance",
    "total_variance",
    "uniformity",
]
