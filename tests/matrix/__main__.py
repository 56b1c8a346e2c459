"""``python -m tests.matrix``: run environments; ``--readme`` writes the README's table."""

from __future__ import annotations

import argparse
import sys

from tests.matrix import table
from tests.matrix.members import ENVIRONMENTS
from tests.matrix.run import run_all


def main() -> int:
    names = [each.name for each in ENVIRONMENTS]
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument(
        "environments", nargs="*", metavar="NAME", help="only these: " + ", ".join(names)
    )
    parser.add_argument("--jobs", type=int, default=2, help="environments at once")
    parser.add_argument("--limit", type=float, default=40, help="minutes; what is left is not run")
    parser.add_argument("--save", action="store_true", help="store the results")
    parser.add_argument("--readme", action="store_true", help="only write the README's table")
    arguments = parser.parse_args()
    if arguments.readme:
        readme = table.README.read_text()
        table.README.write_text(table.with_table(readme, table.table(table.load())))
        return 0
    unknown = set(arguments.environments) - set(names)
    if unknown:
        parser.error(f"no such environment: {', '.join(sorted(unknown))}")
    wanted = [
        each
        for each in ENVIRONMENTS
        if not arguments.environments or each.name in arguments.environments
    ]
    results = run_all(wanted, jobs=arguments.jobs, limit_s=arguments.limit * 60)
    if arguments.save:
        table.save(results)
    passed = failed = 0
    for result in results:
        outcomes = ["faults" not in told for told in result["clients"].values()]
        if "tests" in result:
            outcomes.append("failed" not in result["tests"])
        passed, failed = passed + sum(outcomes), failed + len(outcomes) - sum(outcomes)
        for name, told in result["clients"].items():
            for fault in told.get("faults", ()):
                print(f"FAILED {result['name']}: {name}: {fault}", file=sys.stderr)
        if "failed" in result.get("tests", {}):
            print(f"FAILED {result['name']}: {result['tests']['failed']}", file=sys.stderr)
    skipped = sum("not_run" in result for result in results)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
