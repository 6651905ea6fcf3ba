"""Ways to initialise that several models share."""

from __future__ import annotations

from typing import Literal

from torch import nn


def he(net: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_out", biases: bool = True) -> nn.Module:
    """He initialisation of the convolutions, as torchvision's own models have it; zero biases unless told otherwise."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            if biases and layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return net


def gpt_init(model: nn.Module) -> None:
    """Gaussian weights of std 0.02 and no biases, as most decoders start."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
