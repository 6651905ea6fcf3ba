"""Text, and sequences of tokens."""

from . import (
    attention,
    attention_variants,
    classification,
    decoders,
    layers,
    mixers,
    recurrent,
    structure,
    transformers,
)

MODULES = (
    attention,
    attention_variants,
    classification,
    decoders,
    layers,
    mixers,
    recurrent,
    structure,
    transformers,
)
