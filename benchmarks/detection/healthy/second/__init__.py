"""Architectures of the second round, written by somebody who had not seen the rules."""

from . import generative, learning, sequence, tabular, vision

MODULES = (vision, generative, sequence, tabular, learning)
