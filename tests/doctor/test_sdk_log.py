"""What OpenTelemetry warns of in one thread, while it is listened to."""

from __future__ import annotations

import logging
import threading

from otel_realtime.doctor.sdk_log import listening

SDK = logging.getLogger("opentelemetry.sdk.anything")


def test_warnings_of_this_thread_are_kept_once() -> None:
    """Not those of others, of other threads, below a warning, or later ones; without credentials."""
    with listening() as heard:
        SDK.warning("invalid %s", "value")
        SDK.warning("invalid %s", "value")
        SDK.info("nothing")
        SDK.error("key sk-abcdefghijklmnop1234")
        logging.getLogger("urllib3").warning("others")
        other = threading.Thread(target=SDK.warning, args=("of another thread",))
        other.start()
        other.join()
    SDK.warning("later")
    assert ["invalid value", "key [secret]"] == heard
