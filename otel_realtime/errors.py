"""The package's exceptions.

Tracing a conversation never raises into the app. These errors are raised by set-up, by the command
line, and by code that reads or delivers files::

    OtelRealtimeError
    ├── ConfigError        a setting, an argument or an environment variable is invalid
    ├── DeviceError        a microphone or a speaker cannot be used
    ├── RecordingError     a recording on disk cannot be read, rendered or written
    │   └── NewerFormatError   a later version of this package wrote it
    └── DeliveryError      kept for apps that catch it; nothing raises it
"""

from __future__ import annotations


class OtelRealtimeError(Exception):
    """Base class of every error this package raises."""


class ConfigError(OtelRealtimeError):
    """A setting, an argument or an environment variable is invalid."""


class DeviceError(OtelRealtimeError):
    """A microphone or a speaker cannot be used, or PortAudio is missing."""


class RecordingError(OtelRealtimeError):
    """A recording on disk cannot be read, rendered or written."""


class NewerFormatError(RecordingError):
    """A later version of this package wrote the files, in a format that this version does not know.

    The files are left untouched, so that the later version can still read them.
    """


class DeliveryError(OtelRealtimeError):
    """A request to LangSmith was refused or got no answer.

    Nothing in this version raises it: delivery runs in the background, and logs and counts its failures.
    It stays importable for apps that catch it.

    Attributes:
        status: HTTP status; ``None`` if there was no answer.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
