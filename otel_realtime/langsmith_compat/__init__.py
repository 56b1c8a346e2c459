"""Drop-in replacements for LangSmith's Realtime wrappers: an app changes one import and nothing else.

::

    from otel_realtime.langsmith_compat import wrap_realtime  # was: langsmith.integrations.openai_realtime

    async with (
        client.realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, thread_id=thread_id) as connection,
    ):
        async for event in connection:
            ...

Signatures and behaviour are those of ``langsmith.integrations.openai_realtime`` 0.15.1. Each wrapper
is one conversation; if ``instrument()`` sees the same connection, both share one conversation. No setup
is needed beyond LangSmith's environment variables.

| argument | here |
| --- | --- |
| ``thread_id``, ``tags``, ``metadata`` | as in ``conversation(...)``; thread ids in ``metadata`` win |
| ``project_name``, ``address`` | where this conversation's runs go |
| ``sample_rate`` | sample rate of the audio given to ``record_user_audio`` and ``record_agent_audio`` |
| ``is_agent_speaking`` | called at each ``speech_started``, whose run gets ``was_interrupted`` |
| ``on_message`` | called as LangSmith calls it |
| ``max_audio_seconds`` | the recording is on disk, so it is not cut; 0 records nothing |
| ``client`` | its address and key are not used; if it hides content, all content is hidden |
| ``replicas`` | not supported |

Arguments that are not used are logged once.

=================  ===========================================================================
``arguments``      translates the wrappers' arguments
``block``          one wrapped conversation, from its beginning to its end
``connections``    ``wrap_realtime``
``sessions``       ``wrap_realtime_session``
``lines``          when ``on_message`` is called
=================  ===========================================================================
"""

from __future__ import annotations

from otel_realtime.langsmith_compat.connections import wrap_realtime
from otel_realtime.langsmith_compat.sessions import wrap_realtime_session

__all__ = ["wrap_realtime", "wrap_realtime_session"]
