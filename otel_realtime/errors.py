"""What can go wrong when the package is called, as opposed to when it watches.

Watching a conversation never raises; these come from set-up, commands and files::

    OtelRealtimeError
    ├── ConfigError        a setting or an environment variable cannot be used
    ├── RecordingError     a recording on disk cannot be read or rendered
    │   └── NewerFormatError   a later version of this package wrote it
    └── DeliveryError      LangSmith refused or could not be reached
"""

from __future__ import annotations


class OtelRealtimeError(Exception):
    """Base of every error this package raises."""


class ConfigError(OtelRealtimeError):
    """A setting, an argument or an environment variable that cannot be used."""


class RecordingError(OtelRealtimeError):
    """A recording on disk that cannot be read or rendered."""


class NewerFormatError(RecordingError):
    """A later version wrote this in a format that this version does not know; it is left alone."""


class DeliveryError(OtelRealtimeError):
    """A request to LangSmith that was refused or did not get through.

    Attributes:
        status: the HTTP status, or None when there was no answer.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
