"""Every error that `sdar` raises on purpose: one root, each also its standard-library kind."""

from __future__ import annotations


class SdarError(Exception):
    """Root of all errors with a message meant for the user.

    The message says what was found, what is allowed, and the next command. `exit_code` is what
    the command line returns for it.
    """

    exit_code = 1


class ConfigError(SdarError, ValueError):
    """The configuration or a command-line argument is wrong."""

    exit_code = 2


class InputError(SdarError, ValueError):
    """A file or folder that the user named is missing, unreadable or malformed."""

    exit_code = 2


class EnvironmentMissingError(SdarError, LookupError):
    """An environment, or an optional package that it needs, is not installed."""

    exit_code = 3


class EnvironmentFailedError(SdarError, RuntimeError):
    """A world crashed, hung, or was asked to go on without an episode."""

    exit_code = 1


class StoreBusyError(SdarError, BlockingIOError):
    """Another process is writing to the store."""

    exit_code = 4


class IntegrityError(SdarError, RuntimeError):
    """Stored bytes, or numbers that must agree, do not."""

    exit_code = 5


class SharedFolderError(SdarError, FileNotFoundError):
    """A machine of a cluster does not see what another one wrote into the store's folder."""

    exit_code = 1


class CheckFailedError(SdarError, AssertionError):
    """A check that every round must pass (algorithms, section 8) did not pass."""

    exit_code = 1


class MemoryExceededError(SdarError, MemoryError):
    """The smallest piece of work does not fit into the memory of the device."""

    exit_code = 1


class RankFailedError(SdarError, RuntimeError):
    """One of the processes that share an update failed, or was ended from outside."""

    exit_code = 1
