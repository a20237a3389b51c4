"""Losses, models, learners, analysis and benchmarks of self-supervised learning, tied to one latent-variable model."""

__version__ = "0.1.0"
