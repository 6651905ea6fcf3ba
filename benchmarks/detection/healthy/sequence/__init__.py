"""Sound, speech and time series."""

from . import forecasting, recurrent, series, sound, speech, transformers

MODULES = (
    forecasting,
    recurrent,
    series,
    sound,
    speech,
    transformers,
)
