"""The hosts: small networks that learn their small task, into which ``faults`` puts what can go wrong.

Most hosts have the children ``stem``, ``body`` (an ``nn.Sequential`` of blocks) and ``head``; residual blocks carry a
``residual`` attribute, activations are modules or the name of a function in an attribute ``function``.
"""

from __future__ import annotations

from benchmarks.detection.cases import Case

from . import generative, graphs, language, reinforcement, science, sequence, tabular, vision
from .host import Host, blocks, case
from .reported import REPORTS

__all__ = ["HOSTS", "Host", "blocks", "case", "host_cases"]

FIELDS = (generative, graphs, language, reinforcement, science, sequence, tabular, vision)
HOSTS: dict[str, Host] = {host.name: host for field in FIELDS for host in field.hosts()}
HOSTS |= {report.name: report.host for report in REPORTS}


def host_cases() -> list[Case]:
    """The hosts with nothing wrong."""
    return [case(host) for host in HOSTS.values()]
