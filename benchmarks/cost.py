"""What a command of descry takes: seconds, and memory."""

import json
import subprocess
import sys

from activations import Said

# A process of its own measures: a child's peak counts what its parent held when it was born.
MEASURE = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = used.ru_utime + used.ru_stime
print(json.dumps({"seconds": seconds, "cpu seconds": cpu, "peak_mb": used.ru_maxrss / 1024}))
sys.exit(done.returncode)
"""


def run(command: list[str]) -> Said:
    """Seconds and peak memory of a command of descry, from its start to its end."""
    descry = [sys.executable, "-m", "descry", *command]
    done = subprocess.run([sys.executable, "-c", MEASURE, *descry], stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{command[0]}: exit status {done.returncode}")
    said: Said = json.loads(done.stdout)
    print(f"{said['seconds']:.1f} s, {said['peak_mb']:.0f} MB", file=sys.stderr, flush=True)
    return said
