"""A command of the tests, in place of `bears`: what it does is told by the words of its job.

The words of a job `report` are the same for all; so a file `do` beside the project says what to do.
What waits ends with its folder, if a test has failed.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from bear_classifier.runtime import progress_events


def main() -> int:
    progress_events.begin_log()
    do = Path("do").read_text(encoding="utf-8").strip()
    print(f"doing {do}: {' '.join(sys.argv[1:])}", flush=True)
    progress_events.report("stage", name="probe", state="begun")
    progress_events.report_bar(1, "features", 3, 10, "photo", "", last=True)
    if do == "die":
        signal.raise_signal(signal.SIGKILL)
    if do == "crash":
        raise ImportError("a package is missing")  # Python ends with 1 then
    if do == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        Path("deaf").touch()
    try:
        while do in ("wait", "deaf") and Path("do").exists() and not Path("go").exists():
            time.sleep(0.01)
    except KeyboardInterrupt:
        progress_events.end_log(130)
        return 130
    if do == "fail":
        progress_events.report("error", code="TOO_FEW", sentence="too few photos")
    if do == "locked" and not Path("free").exists():
        progress_events.report("error", code="LOCKED", sentence="Another run (pid 7) is running")
    if do == "partly":
        progress_events.end_log(1)
        return 1
    code = 2 if do == "fail" or (do == "locked" and not Path("free").exists()) else 0
    progress_events.report("stage", name="probe", state="done", seconds=0.1)
    progress_events.end_log(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
