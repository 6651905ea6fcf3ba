"""The hardware that is there, and why other hardware is not used."""

from __future__ import annotations

import torch

from pytest_gradhealth.errors import MeasurementError

__tracebackhide__ = True

__all__ = ["DeviceUnavailable", "resolve_devices"]

ACCELERATORS = ("cuda", "mps", "xpu")


class DeviceUnavailable(MeasurementError):
    """A device was asked for that this machine does not have."""

    __module__ = "pytest_gradhealth"


def resolve_devices(choice: str, source: str = "device") -> list[torch.device]:
    """Turn ``auto``, ``all``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``xpu`` into devices.

    A device that is asked for and absent is an error, no skip: a gate that measures nothing must not be green.

    Raises:
        DeviceUnavailable: the device is not on this machine; the message says who asked for it, and what there is.
        MeasurementError: it is no device at all.
    """
    present = available_devices()
    if choice == "all":
        return present
    if choice == "auto":
        return present[-1:] if len(present) == 1 else present[1:2]
    device = _parse(choice)
    if device in present or (device.index is None and any(device.type == other.type for other in present)):
        return [device]
    names = ", ".join(map(str, present))
    raise DeviceUnavailable(
        f"{source}: device {choice!r} is not available here ({_reason(device)}); available: {names}"
    )


def available_devices() -> list[torch.device]:
    """The CPU first, then every accelerator."""
    devices = [torch.device("cpu")]
    for kind in ACCELERATORS:
        if _is_available(kind):
            devices += [torch.device(kind, index) for index in range(_count(kind))]
    return devices


def _parse(choice: str) -> torch.device:
    try:
        return torch.device(choice)
    except RuntimeError:
        raise MeasurementError(f"{choice!r} is not a device; use auto, all, cpu, cuda, cuda:N, mps or xpu") from None


def _is_available(kind: str) -> bool:
    if kind == "mps":
        return torch.backends.mps.is_available()
    module = getattr(torch, kind, None)
    return bool(module and module.is_available())


def _count(kind: str) -> int:
    return 1 if kind == "mps" else int(getattr(torch, kind).device_count())


def _reason(device: torch.device) -> str:
    if _is_available(device.type):
        return f"there are {_count(device.type)} of kind {device.type}"
    if device.type == "cuda" and torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} finds no {device.type} device"
