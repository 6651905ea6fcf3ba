"""Models that draw samples: adversaries, autoencoders, flows, diffusion."""

from . import adversarial, autoencoders, diffusion, flows

MODULES = (
    adversarial,
    autoencoders,
    diffusion,
    flows,
)
