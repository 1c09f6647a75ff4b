"""Opens an execution and a node, says so, and waits to be killed. Arguments: `store` or `endpoint`, and its URL."""

import sys
import threading

import spane_otel

which, url = sys.argv[1:]
if which == "store":
    spane_otel.configure("stuck", store=url)
else:
    spane_otel.configure("stuck", endpoint=url)

with spane_otel.execution("wait_for_ever") as run, spane_otel.node("wait"):
    print(run.execution_id, flush=True)
    threading.Event().wait()
