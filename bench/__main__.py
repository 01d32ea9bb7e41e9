"""Every figure of docs/benchmarks.md, one after the other (about two hours): `python -m bench`, or `make bench`.

Each benchmark is a module of its own and prints one JSON object; run one alone with `python -m bench.NAME`.
"""

import subprocess
import sys

BENCHMARKS = (
    ["http_clients"],
    ["throughput"],
    ["compare_speed"],
    ["pairs_memory", "--pairs", "1000000"],
    ["store_speed"],
    ["embedded"],
    ["racer_speed"],
    ["router_speed"],
    ["routing_simulated"],
    ["ledger_speed"],
    ["gateway_speed"],
    ["gateway_hour"],
)


def main() -> int:
    failed = []
    for name, *arguments in BENCHMARKS:
        print(f"== python -m bench.{' '.join([name, *arguments])}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}", *arguments], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
