"""What keeps a worker from outliving its node, and from taking the machine's memory."""

from __future__ import annotations

import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Has the kernel end this process when the node's thread ends, however that happens.

    The end of the socket says the same, but only to an interpreter that gets to read it: a regular expression that
    backtracks for ever lets nobody else run.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The node may have gone before the kernel knew whom to watch.
    if os.getppid() != parent:
        os._exit(0)


def bound(memory_bytes_max: int) -> None:
    """Limits the address space; what needs more gets a MemoryError. A dump of the memory would hold secrets."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes_max:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))


def memory_bytes() -> int:
    """The address space in use, to be held against the limit; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
