"""Learners (a loss, its networks, its hyperparameters) and the loop that trains ensembles over seeds."""

from ssl_theory.learners.clustering import DINO, DeepCluster, SwAV
from ssl_theory.learners.contrastive import (
    CLIP,
    AlignUniform,
    InstanceDiscrimination,
    InstanceMemory,
    MoCo,
    SimCLR,
    SpectralContrastive,
)
from ssl_theory.learners.distillation import BYOL, SimSiam
from ssl_theory.learners.ensemble import fit
from ssl_theory.learners.fitted import Fitted
from ssl_theory.learners.generative import CRVAE, IWAE, PRIORS, VAE, Autoencoding, BetaVAE, SimVAE
from ssl_theory.learners.learner import LAYERS, RESNET18, JointEmbedding, Learner
from ssl_theory.learners.redundancy import WMSE, BarlowTwins, VICReg
from ssl_theory.learners.reference import Random, Supervised
from ssl_theory.learners.samplers import Augmented, Pool
from ssl_theory.learners.streams import Sampler

__all__ = [
    "BYOL",
    "CLIP",
    "CRVAE",
    "DINO",
    "IWAE",
    "LAYERS",
    "PRIORS",
    "RESNET18",
    "VAE",
    "WMSE",
    "AlignUniform",
    "Augmented",
    "Autoencoding",
    "BarlowTwins",
    "BetaVAE",
    "DeepCluster",
    "Fitted",
    "InstanceDiscrimination",
    "InstanceMemory",
    "JointEmbedding",
    "Learner",
    "MoCo",
    "Pool",
    "Random",
    "Sampler",
    "SimCLR",
    "SimSiam",
    "SimVAE",
    "SpectralContrastive",
    "Supervised",
    "SwAV",
    "VICReg",
    "fit",
]
