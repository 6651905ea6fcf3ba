"""Images, videos and scenes."""

from . import (
    attention,
    convolution_variants,
    convolutional,
    coordinates,
    detection,
    layers,
    motion,
    questions,
    restoration,
    segmentation,
    transformers,
)

MODULES = (
    attention,
    convolution_variants,
    convolutional,
    coordinates,
    detection,
    layers,
    motion,
    questions,
    restoration,
    segmentation,
    transformers,
)
