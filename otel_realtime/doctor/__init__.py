"""``otel-realtime doctor``: what would happen to a call that is started here.

====================  ==========================================================================
``command``           the command: runs the checks, prints, answers with an exit code
``checks``            the table of checks
``runner``            runs them side by side, each with a deadline
``variables``         environment variables: what they do, which are misspelt or do not parse
``topology``          who delivers what, as the code that decides says
``langsmith_api``     LangSmith: address, key, project, workspace
``otlp``              OTLP endpoints, by the protocol that is chosen for them
``probe``             one HTTP request, and in plain words what became of it
``clock``             this machine's clock against that of a server
``state_directory``   rights, space, file system, locks, what waits
``providers``         the tracer provider, and what `opentelemetry-instrument` would set up
``sdk_log``           what OpenTelemetry's SDK warns of
``packages``          versions, conflicts, clients that can be tapped
``children``          code that runs in a process of its own
``sound``             PortAudio and its devices
``masking``           takes credentials out of everything that is shown
``report``            what is printed
``live``              writes a trace to LangSmith and answers what its documentation leaves open
====================  ==========================================================================

A check is a function of the ``Surroundings`` that returns ``Result`` objects, listed in ``checks``. It
changes nothing, starts nothing of the app's telemetry and leaves no file; ``live`` is the exception,
and asks before. What the code decides is asked of the code that decides it, never decided here again.
"""
