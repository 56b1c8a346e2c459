"""``otel-realtime doctor``: predicts what would happen to a call that is started here.

====================  ==========================================================================
``command``           the command: runs the checks, prints the report, returns an exit code
``checks``            the table of checks
``runner``            runs the checks concurrently, with one deadline
``variables``         environment variables: their effects, misspelt names, invalid values
``topology``          who delivers what, according to the code that decides it
``langsmith_api``     LangSmith: address, key, project, workspace
``otlp``              OTLP endpoints, by the protocol that is chosen for them
``probe``             sends one HTTP request and explains the result in plain words
``clock``             compares this machine's clock with that of a server
``state_directory``   permissions, space, file system, locks, undelivered data
``providers``         the tracer provider, and what `opentelemetry-instrument` would set up
``sdk_log``           collects the warnings of OpenTelemetry's SDK
``packages``          versions, conflicts, clients that can be tapped
``children``          runs code in a separate process
``sound``             PortAudio and its devices
``masking``           removes credentials from all output
``report``            prints the report
``live``              writes a trace to LangSmith, to settle what its documentation leaves open
====================  ==========================================================================

A check is a function that takes the ``Surroundings`` and returns ``Result`` objects; ``checks`` lists
all of them. A check changes nothing, starts no telemetry of the app and leaves no file. The exception is
``live``, which asks for permission first. Where the library makes a decision, the check calls that code
and does not repeat its logic.
"""
