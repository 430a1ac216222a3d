"""What can go wrong. All of it is an OSError with the errno that Linux has for it."""

from __future__ import annotations

import errno


class Error(OSError):
    """A program could not be run, a file not be read: strerror says what and why."""


class SandboxGone(Error):
    """The sandbox has ended, or cannot be talked to; only a new one helps."""


class NotFound(Error, FileNotFoundError):
    """No such program, file or directory in the sandbox."""


class Denied(Error, PermissionError):
    """The sandbox's user may not do that."""


def make_error(number: int, text: str) -> Error:
    kind = {errno.ENOENT: NotFound, errno.EACCES: Denied, errno.EPERM: Denied, errno.EPIPE: SandboxGone}
    return kind.get(number, Error)(number, text)
