"""The hardware that is there, who uses which of it, and why other hardware is not used."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from pytest_gradhealth.errors import MeasurementError

__tracebackhide__ = True

__all__ = ["DeviceUnavailable", "own_device", "own_index", "resolve_devices"]


class DeviceUnavailable(MeasurementError):
    """A device was asked for that this machine does not have."""

    __module__ = "pytest_gradhealth"


def resolve_devices(choice: str, source: str = "device") -> list[torch.device]:
    """Turn ``auto``, ``all``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``xpu`` into devices.

    One without an index is whichever of its kind the model is on already, else :func:`own_device`. A device that is
    asked for and absent is an error, no skip: a gate that measures nothing must not be green.

    Raises:
        DeviceUnavailable: the device is not on this machine; the message says who asked for it, and what there is.
        MeasurementError: it is no device at all.
    """
    present = available_devices()
    if choice == "all":
        return present
    device = torch.device(present[-1].type) if choice == "auto" else _parse(choice)
    if device in present or (device.index is None and any(device.type == other.type for other in present)):
        return [device]
    names = ", ".join(map(str, present))
    raise DeviceUnavailable(
        f"{source}: device {choice!r} is not available here ({_reason(device)}); available: {names}"
    )


def available_devices() -> list[torch.device]:
    """The CPU first, then every accelerator; a build of torch knows one kind."""
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = 0 if kind is None else torch.accelerator.device_count()
    return [torch.device("cpu"), *(torch.device(kind.type, index) for index in range(count) if kind)]


def own_device(device: torch.device) -> torch.device:
    """Of a kind of accelerator, the device that this process takes."""
    if device.type == "cpu" or device.index is not None:
        return device
    index = own_index(os.environ, torch.accelerator.device_count())
    return device if index is None else torch.device(device.type, index)


def own_index(environment: Mapping[str, str], count: int) -> int | None:
    """Which of several devices this process takes: ranks of a machine and workers of pytest-xdist take them by turns.

    Args:
        environment: what tells a process who it is.
        count: how many devices there are.

    Returns:
        None for a process that is alone: torch knows which of them is its current one.
    """
    worker = environment.get("LOCAL_RANK") or environment.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    return int(worker) % count if worker.isdigit() and count else None


def _parse(choice: str) -> torch.device:
    try:
        return torch.device(choice)
    except RuntimeError:
        raise MeasurementError(f"{choice!r} is not a device; use auto, all, cpu, cuda, cuda:N, mps or xpu") from None


def _reason(device: torch.device) -> str:
    there = sum(device.type == other.type for other in available_devices())
    if there:
        return f"there are {there} of kind {device.type}"
    if device.type == "cuda" and torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} finds no {device.type} device"
