"""Recording: one background writer per process, a journal on disk, and a WAV at the end.

The app's task only enqueues references to frames (``recorder``). The writer thread (``writer``)
decodes them, updates the timeline, and writes the journal and the audio (``track``). ``render`` turns a
folder into the recording, and ``delivery.finisher`` delivers it. Importing this package imports none of
these modules, because some of them import NumPy.
"""
