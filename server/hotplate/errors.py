"""Errors that travel to a client: one class per code, the code is the first word on the wire.

A handler raises one of these; the dispatcher turns it into an error reply. Every other exception is
a bug of ours: the client gets `ERR internal error`, the log gets the traceback.
`CODES` maps each code to its class; two classes with one code are refused when they are defined.
"""

from typing import ClassVar

CODES: dict[str, type["CommandError"]] = {}


class CommandError(Exception):
    """`ERR`: a command was refused. `message` is the text after the code."""

    code: ClassVar[str] = "ERR"

    def __init_subclass__(cls) -> None:
        if "code" not in cls.__dict__:
            raise TypeError(f"{cls.__name__} must name its own code")
        if cls.code in CODES:
            raise TypeError(f"code {cls.code} is taken by {CODES[cls.code].__name__}")
        CODES[cls.code] = cls

    def __init__(self, message: str | bytes) -> None:
        super().__init__(message)
        self.message = message.encode() if isinstance(message, str) else message

    @property
    def frame(self) -> bytes:
        """The RESP error frame. CR and LF in the text become spaces: they would end the frame."""
        text = self.message.replace(b"\r", b" ").replace(b"\n", b" ")
        return b"-%b %b\r\n" % (self.code.encode(), text)


CODES["ERR"] = CommandError


class WrongTypeError(CommandError):
    """The key holds a value of another type."""

    code = "WRONGTYPE"

    def __init__(
        self, message: str = "Operation against a key holding the wrong kind of value"
    ) -> None:
        super().__init__(message)


class NoAuthError(CommandError):
    """The client has to authenticate first."""

    code = "NOAUTH"


class WrongPassError(CommandError):
    """The name or the password is wrong."""

    code = "WRONGPASS"


class NoPermissionError(CommandError):
    """The user may not do this."""

    code = "NOPERM"


class NoProtoError(CommandError):
    """HELLO asked for a protocol version that does not exist."""

    code = "NOPROTO"


class ExecAbortError(CommandError):
    """A queued command was refused, so that the transaction did not run."""

    code = "EXECABORT"


class OutOfMemoryError(CommandError):
    """`maxmemory` is reached and the policy frees nothing."""

    code = "OOM"


class LoadingError(CommandError):
    """The data set is still being read."""

    code = "LOADING"


class MisconfError(CommandError):
    """Nothing can be written to disk, so that nothing may be changed."""

    code = "MISCONF"


class InvalidObjectError(CommandError):
    """A HyperLogLog whose bytes contradict themselves."""

    code = "INVALIDOBJ"

    def __init__(self, message: str = "Corrupted HLL object detected") -> None:
        super().__init__(message)


class BusyKeyError(CommandError):
    """RESTORE to a key that is there."""

    code = "BUSYKEY"

    def __init__(self, message: str = "Target key name already exists.") -> None:
        super().__init__(message)


class BusyError(CommandError):
    """A script has been running for too long."""

    code = "BUSY"


class NotBusyError(CommandError):
    """There is no script to kill."""

    code = "NOTBUSY"


class UnkillableError(CommandError):
    """The script has changed data already."""

    code = "UNKILLABLE"


class NoScriptError(CommandError):
    """No script with that SHA-1 is known."""

    code = "NOSCRIPT"


class UnblockedError(CommandError):
    """A blocked client was woken by CLIENT UNBLOCK ... ERROR."""

    code = "UNBLOCKED"


class NoConsumerGroupError(CommandError):
    """There is no such consumer group, or no such stream."""

    code = "NOGROUP"


class BusyGroupError(CommandError):
    """The consumer group exists already."""

    code = "BUSYGROUP"


class NoInstanceError(CommandError):
    """KVC: the instance is not registered."""

    code = "NOINSTANCE"


class NoGroupError(CommandError):
    """KVC: the instance group does not exist."""

    code = "NOKVGROUP"


class NoStorageError(CommandError):
    """KVC: the storage does not exist, or none of the group's can take the write."""

    code = "NOSTORAGE"


class NoSessionError(CommandError):
    """KVC: the write session is unknown or past its deadline."""

    code = "NOSESSION"


class SessionClosedError(CommandError):
    """KVC: the write session was finished with another outcome."""

    code = "SESSIONCLOSED"


class DuplicateError(CommandError):
    """KVC: the name exists, or an instance is registered with other content."""

    code = "DUPLICATE"


class VersionError(CommandError):
    """KVC: an optimistic update lost."""

    code = "VERSION"


class InUseError(CommandError):
    """KVC: something refers to what should be removed, or arrives in what should be published."""

    code = "INUSE"


class BadMaskError(CommandError):
    """KVC: SKIP or MASK does not fit the number of keys."""

    code = "BADMASK"


class BadChainError(CommandError):
    """KVC: the key is stored under another parent."""

    code = "BADCHAIN"


class ChecksumError(CommandError):
    """KVC: bytes and sum disagree, or a sum is missing."""

    code = "CHECKSUM"


class StorageIOError(CommandError):
    """KVC: the storage failed to read or write."""

    code = "STORAGEIO"


class QuotaError(CommandError):
    """KVC: the request does not fit the quota now (`retry_ms` says when, -1 never)."""

    code = "QUOTA"


class NoSpaceError(CommandError):
    """KVC: the storage or the index has no room."""

    code = "NOSPACE"
