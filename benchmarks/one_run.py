"""One run of the pipeline, as ``wayline run`` makes it, that ends with its report as JSON: what the benchmark measures.

``python -m benchmarks.one_run INPUT OUT REGISTRY [WORKERS]``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipelines import telemetry


def main() -> None:
    """Run, and print the report."""
    telemetry.disable()
    from pipelines.run import run
    from pipelines.run_options import RunOptions

    events, out, registry, *workers = sys.argv[1:]
    options = RunOptions((events,), Path(out), registry=Path(registry), workers=int(workers[0]) if workers else None)
    report = run(options)
    print(
        json.dumps(
            {
                "received": report.total.received,
                "seconds": report.seconds,
                "gained": report.gained,
                "profile": report.profile,
            }
        )
    )


if __name__ == "__main__":
    main()
