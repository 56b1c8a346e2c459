"""LangSmith's Realtime wrappers, for apps that move from them: one changed import, and nothing else.

::

    from otel_realtime.langsmith_compat import wrap_realtime  # was: langsmith.integrations.openai_realtime

    async with (
        client.realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, thread_id=thread_id) as connection,
    ):
        async for event in connection:
            ...

Signatures and behaviour are those of ``langsmith.integrations.openai_realtime`` 0.15.1. Each wrapper
is one conversation, the same one if ``instrument()`` sees the connection, too. No set-up is needed
but LangSmith's variables.

| argument | here |
| --- | --- |
| ``thread_id``, ``tags``, ``metadata`` | as in ``conversation(...)``; ids of threads in ``metadata`` win |
| ``project_name``, ``address`` | where this conversation's runs go |
| ``sample_rate`` | rate of what ``record_user_audio`` and ``record_agent_audio`` are given |
| ``is_agent_speaking`` | asked at each ``speech_started``, whose run gets ``was_interrupted`` |
| ``on_message`` | called as by LangSmith |
| ``max_audio_seconds`` | a recording is not kept in memory, so it is not cut; 0 records nothing |
| ``client`` | its address and key are not taken; content that it hides is hidden |
| ``replicas`` | none |

What is not taken over is said once in the log.

=================  ===========================================================================
``arguments``      what the wrappers' arguments mean here
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
