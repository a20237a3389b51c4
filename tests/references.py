"""Slow, obvious reference implementations that the fast ones are tested against, a section a room."""


# --- losses ------------------------------------------------------------


def prior_by_quadrature(z, style, content):
    """`log int p(y) prod_j N(z^j; y, style) dy`, one latent dimension; content None is p(y) = 1."""
    import torch

    mean = z.mean((-2, -1))
    width = 12 * (style + (content or 0)) ** 0.5
    grid = mean[..., None] + torch.linspace(-width, width, 4001, dtype=z.dtype)
    log_likelihood = torch.distributions.Normal(grid[..., None], style**0.5).log_prob(z[..., 0][..., None, :]).sum(-1)
    log_content = torch.distributions.Normal(0.0, content**0.5).log_prob(grid) if content else 0
    return (log_likelihood + log_content).logsumexp(-1) + torch.log(grid[..., 1] - grid[..., 0])


def nt_xent_by_loops(z, temperature):
    """NT-Xent of two views, anchor by anchor (Chen et al. 2020, algorithm 1)."""
    import torch

    points = torch.nn.functional.normalize(torch.cat([z[:, 0], z[:, 1]]), dim=-1)
    n, losses = len(z), []
    for i in range(2 * n):
        others = [k for k in range(2 * n) if k != i]
        scores = torch.stack([points[i] @ points[k] / temperature for k in others])
        losses.append(scores.logsumexp(0) - points[i] @ points[(i + n) % (2 * n)] / temperature)
    return torch.stack(losses).mean()


def vicreg_by_loops(z, invariance=25.0, variance=25.0, covariance=1.0):
    """VICReg of two views from numpy's covariance (Bardes et al. 2022, algorithm 1)."""
    import numpy as np

    n, _, d = z.shape
    first, second = z[:, 0].numpy(), z[:, 1].numpy()
    agreement = sum(((a - b) ** 2).sum() for a, b in zip(first, second, strict=True)) / (n * d)
    hinge, redundancy = 0.0, 0.0
    for view in (first, second):
        matrix = np.atleast_2d(np.cov(view, rowvar=False))
        hinge += sum(max(0.0, 1 - np.sqrt(matrix[i, i] + 1e-4)) for i in range(d)) / d
        redundancy += sum(matrix[i, k] ** 2 for i in range(d) for k in range(d) if i != k) / d
    return invariance * agreement + variance * hinge + covariance * redundancy


# --- analysis ---------------------------------------------------------------------------------------------------------


def cross_validated_ridge(x, t, penalties):
    """Weights and offset for the penalty of least generalised cross-validation, by way of the (n, n) hat matrix."""
    import torch

    fits = []
    for alpha in penalties:
        centring = torch.eye(len(x)).to(x) - 1 / len(x)
        inward = torch.linalg.solve(x.T @ centring @ x + alpha * torch.eye(x.shape[1]).to(x), x.T @ centring)
        hat = centring @ x @ inward + 1 / len(x)
        share = ((t - hat @ t).square().mean() / (1 - hat.trace() / len(x)) ** 2).item()
        fits.append((share if share == share else torch.inf, inward @ t, t.mean() - x.mean(0) @ inward @ t))
    return min(fits, key=lambda fit: fit[0])[1:]


def gaussian_components(world, views):
    """Every (probability, mean, covariance) of `(y, s^1..s^J, z^1..z^J, x^1..x^J)`, one a class and keep mask.

    Built from a matrix that maps all the standard normal numbers of a datum to all its quantities, JD by JD and more.
    """
    import itertools

    import numpy as np

    content, style, noise = world.content, world.style, world.noise.gaussian_std()
    dc, ds, d, D = world.content_dim, world.style_dim, world.latent_dim, world.observation_dim
    if world.classes is None:
        centres, weights, spread = np.zeros((1, dc)), np.ones(1), content.std
    else:
        centres, weights, spread = content.means.numpy(), content.weights.numpy(), content.spread
    std, keep = np.broadcast_to(style.std, ds), np.broadcast_to(style.p_keep, ds)
    dependence = getattr(style, "mean", None)
    B, b = (dependence.weight.numpy(), dependence.bias.numpy()) if dependence else (np.zeros((ds, dc)), np.zeros(ds))
    weight = getattr(world.mixing, "weight", None)
    A = np.eye(d) if weight is None else weight.numpy()
    bias = getattr(world.mixing, "bias", None)
    a = np.zeros(D) if bias is None else bias.numpy()
    numbers = dc + ds + views * (ds + D)
    found = []
    for mask in itertools.product([0.0, 1.0], repeat=ds):
        chance = np.prod([p if m else 1 - p for m, p in zip(mask, keep, strict=True)])
        y = np.zeros((dc, numbers))
        y[:, :dc] = spread * np.eye(dc)
        s, z, x = [], [], []
        for j in range(views):
            r = np.zeros((ds, numbers))
            r[:, dc : dc + ds] = np.diag(std * mask)
            own = dc + ds + j * (ds + D)
            r[:, own : own + ds] = np.diag(std * (1 - np.array(mask)))
            s.append(B @ y + r)
            z.append(np.vstack((y, s[-1])) if d > dc else y + r)
            x.append(A @ z[-1])
            x[-1][:, own + ds : own + ds + D] += noise * np.eye(D)
        everything = np.vstack((y, *s, *z, *x))
        for probability, centre in zip(weights, centres, strict=True):
            style_mean = B @ centre + b
            latent_mean = np.concatenate((centre, style_mean)) if d > dc else centre
            mean = [centre, *[style_mean] * views, *[latent_mean] * views, *[A @ latent_mean + a] * views]
            if chance * probability > 0:
                found.append((chance * probability, np.concatenate(mean), everything @ everything.T))
    return found


def quantity_slices(world, views):
    """Where content, style, latents and observations lie in the vectors of `gaussian_components`."""
    sizes = [world.content_dim, *[views * s for s in (world.style_dim, world.latent_dim, world.observation_dim)]]
    edges = [sum(sizes[:i]) for i in range(5)]
    names = ("content", "style", "latent", "x")
    return {name: slice(edges[i], edges[i + 1]) for i, name in enumerate(names)}


def joint_moments(world):
    """Mean and covariance of `(y, s^1, s^2, x^1, x^2)`."""
    import numpy as np
    import torch

    parts, where = gaussian_components(world, 2), quantity_slices(world, 2)
    rows = np.r_[where["content"], where["style"], where["x"]]
    mean = sum(p * m for p, m, _ in parts)[rows]
    covariance = sum(p * (c[np.ix_(rows, rows)] + np.outer(m[rows] - mean, m[rows] - mean)) for p, m, c in parts)
    return torch.from_numpy(mean), torch.from_numpy(covariance)


def evidence_by_scipy(world, x):
    """`log p(x^{1:J})` of each datum from the JD-by-JD covariance of each component."""
    import numpy as np
    from scipy import special, stats

    views = x.shape[1]
    at = quantity_slices(world, views)["x"]
    flat = x.flatten(1).numpy()
    logs = [
        np.log(p) + stats.multivariate_normal(m[at], c[at, at]).logpdf(flat)
        for p, m, c in gaussian_components(world, views)
    ]
    return special.logsumexp(np.array(logs).reshape(-1, len(flat)), 0)


def posterior_moments_by_conditioning(world, x, name):
    """Mean and covariance of content, style or latents of all J views given x, one datum `(J, D)`."""
    import numpy as np
    from scipy import special, stats

    views = len(x)
    where = quantity_slices(world, views)
    at, of = where["x"], where[name]
    logs, means, covariances = [], [], []
    for p, m, c in gaussian_components(world, views):
        gain = c[of, at] @ np.linalg.inv(c[at, at])
        logs.append(np.log(p) + stats.multivariate_normal(m[at], c[at, at]).logpdf(x.flatten().numpy()))
        means.append(m[of] + gain @ (x.flatten().numpy() - m[at]))
        covariances.append(c[of, of] - gain @ c[at, of])
    w = special.softmax(logs)
    mean = sum(wi * mi for wi, mi in zip(w, means, strict=True))
    parts = [wi * (ci + np.outer(mi - mean, mi - mean)) for wi, mi, ci in zip(w, means, covariances, strict=True)]
    return mean, sum(parts)


def draws(joint, K):
    """All outcomes of a pair from joint[x, y] and K - 1 more x from its marginal: probabilities, x (B, K), y (B,)."""
    from itertools import product

    import torch

    marginal = joint.sum(1)
    cells = list(product(product(range(joint.shape[0]), repeat=K), range(joint.shape[1])))
    p = torch.stack([joint[xs[0], y] * marginal[list(xs[1:])].prod() for xs, y in cells])
    return p, torch.tensor([xs for xs, _ in cells]), torch.tensor([y for _, y in cells])


def exact_expectation(estimator, joint, critic, *, K):
    """Expectation of an estimator of one row, scores (B, 1, K), over all `draws`; critic[x, y]."""
    p, xs, y = draws(joint, K)
    return float((p * estimator(critic[xs, y[:, None]][:, None, :])).sum())


def as_sample(joint, n):
    """Rows (x, y) that occur exactly n * joint[x, y] times."""
    import torch

    counts = (joint * n).round().long().flatten()
    cells = torch.arange(joint.numel()).repeat_interleave(counts)
    return torch.stack([cells // joint.shape[1], cells % joint.shape[1]], 1)


def info_nce_bound(scores):
    """log K minus the mean cross-entropy of telling column 0, batch by batch, row by row."""
    import torch

    values = []
    for batch in scores:
        rows = [torch.log(row[0].exp() / row.exp().mean()) for row in batch]
        values.append(sum(rows) / len(rows))
    return torch.stack(values)


def ksg(x, y, k=3):
    """Kraskov's first estimator by all pairs of distances (each coordinate standardised)."""
    import numpy as np
    from scipy.special import digamma

    x, y = ((z - z.mean(0)) / z.std(0) for z in (x, y))
    dx, dy = (np.abs(z[:, None] - z[None]).max(-1) for z in (x, y))
    total = 0.0
    for i in range(len(x)):
        radius = np.sort(np.maximum(dx[i], dy[i]))[k]
        nx, ny = (np.sum(np.delete(d[i], i) < radius) for d in (dx, dy))
        total += digamma(nx + 1) + digamma(ny + 1)
    return digamma(k) + digamma(len(x)) - total / len(x)


def contrastive_by_loops(z, temperature, keep_positive=True):
    """Contrastive loss of two views over all nJ - 1 (or, without the positive, nJ - 2) candidates."""
    import torch

    points = torch.nn.functional.normalize(z, dim=-1)
    losses = []
    for i in range(len(z)):
        for j in (0, 1):
            score = {
                (a, k): points[i, j] @ points[a, k] / temperature
                for a in range(len(z))
                for k in (0, 1)
                if (a, k) != (i, j)
            }
            positive = score[i, 1 - j]
            candidates = [s for key, s in score.items() if keep_positive or key != (i, 1 - j)]
            losses.append(torch.stack(candidates).logsumexp(0) - positive)
    return torch.stack(losses).mean()


def supervised_contrastive_by_loops(z, label, temperature):
    """SupCon, anchor by anchor (Khosla et al. 2020, equation 2)."""
    import torch

    points = torch.nn.functional.normalize(z.flatten(0, 1), dim=-1)
    classes = [int(c) for c in label for _ in range(z.shape[1])]
    total = 0.0
    for a in range(len(points)):
        others = [c for c in range(len(points)) if c != a]
        log_partition = torch.stack([points[a] @ points[c] / temperature for c in others]).logsumexp(0)
        positives = [c for c in others if classes[c] == classes[a]]
        total += sum(log_partition - points[a] @ points[p] / temperature for p in positives) / len(positives)
    return total / len(points)


def barlow_by_corrcoef(z, lambd=5e-3):
    """Barlow Twins of two views from numpy's correlations."""
    import numpy as np

    d = z.shape[-1]
    matrix = np.corrcoef(z[:, 0].numpy(), z[:, 1].numpy(), rowvar=False)[:d, d:]
    return sum((1 - matrix[i, i]) ** 2 for i in range(d)) + lambd * sum(
        matrix[i, k] ** 2 for i in range(d) for k in range(d) if i != k
    )


def triplet_by_loops(z, margin):
    """Triplet loss of two views, anchors in the first, averaged over anchors and negatives."""
    import torch

    points = torch.nn.functional.normalize(z, dim=-1)
    n, total = len(z), 0.0
    for a in range(n):
        near = (points[a, 0] - points[a, 1]).square().sum()
        for b in range(n):
            if b != a:
                total += (near - (points[a, 0] - points[b, 1]).square().sum() + margin).clamp_min(0)
    return total / (n * (n - 1))


# -- synthetic/sprites -------------------------------------------------------------------------------------------


def sprite_inside(name, u, v):
    """Which points (arrays u right, v up) lie in a sprite of circumscribed radius 1, from corners and circles alone."""
    import numpy as np
    from matplotlib.path import Path

    def polygon(radii, first_degrees, degrees):
        angles = np.radians(np.asarray(first_degrees) + np.asarray(degrees))
        corners = np.asarray(radii)[:, None] * np.stack((np.cos(angles), np.sin(angles)), 1)
        return Path(corners, closed=False).contains_points(np.stack((u, v), -1).reshape(-1, 2)).reshape(u.shape)

    u, v = np.broadcast_arrays(u, v)
    narrow = np.degrees(np.arctan(1 / 3))  # the angle of a corner of the bar, whose sides are as 3 to 1
    inner = np.cos(np.radians(72)) / np.cos(np.radians(36))  # where the lines of a pentagram cross
    round_the_bar = [narrow, 180 - narrow, 180 + narrow, -narrow]
    if name == "bar":
        return polygon([1] * 4, 0, round_the_bar)
    if name == "cross":
        return polygon([1] * 4, 0, round_the_bar) | polygon([1] * 4, 90, round_the_bar)
    if name in ("disc", "ring", "crescent"):
        hole = {"disc": 0 * u, "ring": np.hypot(u, v) < 0.5, "crescent": np.hypot(u - 0.45, v) < 0.8}[name]
        return (np.hypot(u, v) < 1) & ~hole.astype(bool)
    if name == "star":
        return polygon([1, inner] * 5, 90, np.arange(10) * 36)
    sides = {"triangle": 3, "square": 4}[name]
    return polygon([1] * sides, {3: 90, 4: 45}[sides], np.arange(sides) * 360 / sides)
