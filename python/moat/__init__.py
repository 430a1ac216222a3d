"""Runs programs that are not trusted, each in a sandbox with a kernel of its own.

    import moat

    with moat.Sandbox() as sb:
        r = sb.run(["python3", "-c", "print(6 * 7)"], timeout=5, memory="256M")
        print(r.status, r.stdout)

See docs/EMBEDDING.md. The package wants a `moat` program, in PATH or named by $MOAT.
"""

from .aio import AsyncSandbox
from .errors import Denied, Error, NotFound, SandboxGone
from .sandbox import Entry, Limits, Process, Result, Sandbox

__version__ = "0.1.0"
__all__ = [
    "AsyncSandbox",
    "Denied",
    "Entry",
    "Error",
    "Limits",
    "NotFound",
    "Process",
    "Result",
    "Sandbox",
    "SandboxGone",
]
