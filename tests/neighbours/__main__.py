"""Make the environments and run the neighbours; exits with 1 if anything is wrong."""

from __future__ import annotations

import sys

from tests.matrix.environments import NotAvailable, make
from tests.neighbours.run import found
from tests.neighbours.table import NEIGHBOURS


def main(names: list[str]) -> int:
    """Run the neighbours of these names, or all."""
    failed = 0
    for neighbour in NEIGHBOURS:
        if not names or neighbour.name in names:
            try:
                python = make(neighbour.place)
            except NotAvailable as error:
                print(f"not run {neighbour.name}: {error}", flush=True)
                continue
            wrong = found(neighbour, python)
            failed += bool(wrong)
            print(f"{'FAILED' if wrong else 'ok    '} {neighbour.name}", flush=True)
            for text in wrong:
                print(f"       {text}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
