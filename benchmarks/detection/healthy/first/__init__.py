"""Architectures of the first round."""

from . import adapters, generative, graph, reinforcement, sequence, tabular, torch_nn, transformers_zoo, vision

MODULES = (torch_nn, vision, generative, sequence, graph, adapters, reinforcement, tabular, transformers_zoo)
