"""Every client with its real, released package, each in an environment of its own.

``make test-matrix`` makes the environments (``members``), has each client talk to a scripted server in
another process (``clients``, ``frameworks``), judges what was traced (``judge``) and writes the results,
from which the README's table is made (``table``).
"""
