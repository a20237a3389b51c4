"""What a representation kept: probes, collapse, clustering, information, geometry, identifiability.

Measures take one representation `(n, d)` or a stack `(E, n, d)` over ensemble members, numpy or torch, and
answer in the same kind: a float, or `(E,)`. A member that holds NaN answers NaN and leaves the others alone.
"""

from ssl_theory.analysis.clustering import hungarian_accuracy, kmeans_clustering, mixture_clustering
from ssl_theory.analysis.collapse import (
    class_collapse_ratio,
    collapse_ratio,
    effective_rank,
    retained_style,
    total_variance,
)
from ssl_theory.analysis.probes import accuracy, r2

__all__ = [
    "accuracy",
    "class_collapse_ratio",
    "collapse_ratio",
    "effective_rank",
    "hungarian_accuracy",
    "kmeans_clustering",
    "mixture_clustering",
    "r2",
    "retained_style",
    "total_variance",
]
