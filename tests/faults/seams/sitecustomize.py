"""Loaded by Python in each process: notes changes of files, kills at one of them, or sets back the clock.

RICENET_FAULT is JSON. program: a part of the command line of the processes it is meant for. log: a file
that gets a line for each change. kill_at: the number of the change, counted from 0, before which the whole
group of processes is killed; kill_name: the end of the changed file's name instead. clock_s: what time.time
is off by.
"""

import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR
PLACE = {
    "os.rename": 1,
    "os.link": 1,
    "os.symlink": 1,
    "os.mkdir": 0,
    "os.remove": 0,
    "os.rmdir": 0,
    "open": 0,
}
"""Which argument of an audited change names the file that changes."""


def place_of(event, arguments):
    """The file that a change is of; None for what changes nothing in the folder of the project."""
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
        return None
    place = arguments[PLACE[event]]
    if not isinstance(place, str | bytes | os.PathLike):
        return None
    place = os.path.abspath(os.fsdecode(place))  # noqa: PTH100 (links stay as they are named)
    return os.path.relpath(place, HOME) if place.startswith(HOME) else None


def watch(fault):
    """Count changes, and kill at the one that is meant."""
    numbers = itertools.count()
    log = os.open(fault["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if "log" in fault else None

    def hook(event, arguments):
        if event not in PLACE or (place := place_of(event, arguments)) is None:
            return
        number = next(numbers)
        if log is not None:
            os.write(log, f"{event} {place}\n".encode())
        if number == fault.get("kill_at") or ("kill_name" in fault and place.endswith(fault["kill_name"])):
            os.killpg(os.getpgrp(), signal.SIGKILL)

    sys.addaudithook(hook)


def set_back(seconds):
    """Let time.time tell another time; the system's own stamps on files stay right."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)


HOME = os.environ.get("RICENET_FAULT_HOME") or str(Path.cwd())
FAULT = json.loads(os.environ.get("RICENET_FAULT") or "{}")
if FAULT and FAULT["program"] in " ".join(sys.orig_argv):
    if "clock_s" in FAULT:
        set_back(FAULT["clock_s"])
    else:
        watch(FAULT)
