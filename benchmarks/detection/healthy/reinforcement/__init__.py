"""Agents: values, policies and models of the world."""

from . import policies, values

MODULES = (
    policies,
    values,
)
