"""Recording: one background writer per process, a journal on disk, a WAV in the end.

The app's task only queues references to frames (:mod:`.recorder`); the writer (:mod:`.writer`)
decodes, journals and keeps the timeline; :mod:`.render` turns a folder into the recording, and
:mod:`.finish` gives it to whoever wants it. Importing this package imports none of them.
"""
