"""Distillation: the representation of one view is predicted from another, against a target that is held fixed.

Agreement is the flat prior; the entropy that prevents collapse is implicit in the predictor and the stop-gradient.
"""

from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses.views import cross_view_product, require_choice, require_fit, require_views, unit, wide

Views = Float[Tensor, "*batch n J d"]
Loss = Float[Tensor, "*batch"]


def byol(prediction: Views, target: Views, *, views: str = "sum") -> Loss:
    """BYOL: squared distance of the unit prediction of one view to the unit target of another.

    Formula: `|unit(p^j) - unit(t^k)|^2`, mean over data points and pairs j != k, times 2 for `views="sum"`.
    Source: Grill et al. 2020, arXiv 2006.07733.
    Prior: maximised, `|z - z'|^2 = -4 sigma^2 log p_Flat` up to a constant, with one side held constant.
    Instead of reconstruction: nothing explicit; the predictor and the moving target keep an entropy up.
    Deviations: the paper adds the two directions ("sum"); lightly averages negative cosines, smaller by a factor
        of 4 and without the constant.

    `target` comes from the slowly moving encoder; it is detached here.
    """
    require_views(prediction)
    require_choice("views", views, ("sum", "mean"))
    require_fit("target", target, prediction, (-3, -1))
    cosine = cross_view_product(unit(wide(target).detach()), unit(wide(prediction)))
    return (2 if views == "sum" else 1) * (2 - 2 * cosine).mean(-1)


def simsiam(prediction: Views, target: Views) -> Loss:
    """SimSiam: negative cosine of the prediction of one view and the encoding of another, held fixed.

    Formula: `-cos(p^j, stopgrad(z^k))`, mean over data points and pairs j != k of views.
    Source: Chen & He 2021, arXiv 2011.10566.
    Prior: maximised: half of BYOL's distance, less a constant; `1 - z.z'` is the scatter of two unit views.
    Instead of reconstruction: nothing explicit; stop-gradient and predictor, as in BYOL with no moving target.
    Deviations: none known; the mean over directions is the paper's.
    """
    require_views(prediction)
    require_fit("target", target, prediction, (-3, -1))
    return -cross_view_product(unit(wide(target).detach()), unit(wide(prediction))).mean(-1)
