"""Libraries of functions: loading, listing, and how they travel (FUNCTION DUMP, RESTORE).

    payload   { 0xF5 | the library's text, as a string of Redis' dump format } ... | version 2 |
              CRC-64 of all before 8

A library is there whole or not at all, and so is what a restore brings. Names of functions are
unique among all libraries. Where a library is replaced, the old functions stay until the new ones
are known to be good.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hotplate.engine.scripting import Callee, Scripts
from hotplate.engine.scripting_shebang import BAD_NAME, FLAG_NAMES, is_name, read_library
from hotplate.errors import CommandError
from hotplate.keyspace.crc64 import crc64
from hotplate.keyspace.rdb_bytes import Cursor, RdbError, pack_string

if TYPE_CHECKING:
    from collections.abc import Iterable

_FUNCTION: Final = 0xF5
_VERSION: Final = 10
_VERSION_MAX: Final = 80
_FOOTER_BYTES: Final = 10


@dataclass(slots=True)
class Function:
    """One function of a library."""

    callee: Callee
    description: bytes | None


@dataclass(slots=True)
class Library:
    """A library and its text."""

    name: bytes
    text: bytes
    functions: dict[bytes, Function] = field(default_factory=dict)


class Libraries:
    """All libraries of one server."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        scripts.declare = self._declare
        self.libraries: dict[bytes, Library] = {}
        self.functions: dict[bytes, Function] = {}
        self._loading: Library | None = None

    def find(self, name: bytes) -> Callee:
        """The function of that name."""
        function = self.functions.get(name)
        if function is None:
            raise CommandError("Function not found")
        return function.callee

    def load(self, text: bytes, *, replace: bool) -> bytes:
        """FUNCTION LOAD: the library's name."""
        libraries = dict(self.libraries)
        library = self._add(libraries, text, replace=replace)
        self._install(libraries)
        return library.name

    def delete(self, name: bytes) -> None:
        """FUNCTION DELETE"""
        if name not in self.libraries:
            raise CommandError("Library not found")
        self._install({key: value for key, value in self.libraries.items() if key != name})

    def flush(self) -> None:
        """FUNCTION FLUSH"""
        self._install({})

    def sources(self) -> list[bytes]:
        """The code of all libraries, as FUNCTION LOAD takes it."""
        return [library.text for library in self.libraries.values()]

    def dump(self) -> bytes:
        """FUNCTION DUMP"""
        pieces: list[bytes] = []
        for library in self.libraries.values():
            pieces += [bytes((_FUNCTION,)), pack_string(library.text)]
        pieces.append(_VERSION.to_bytes(2, "little"))
        payload = b"".join(pieces)
        return payload + crc64(payload).to_bytes(8, "little")

    def restore(self, payload: bytes, policy: bytes) -> None:
        """FUNCTION RESTORE: all of it or nothing. `policy` is FLUSH, APPEND or REPLACE."""
        texts = _read(payload)
        libraries = {} if policy == b"FLUSH" else dict(self.libraries)
        try:
            for text in texts:
                self._add(libraries, text, replace=policy == b"REPLACE")
        except CommandError:
            self._forget(libraries.values(), kept=self.libraries)
            raise
        self._install(libraries)

    # -- loading -----------------------------------------------------------------------------------

    def _add(self, libraries: dict[bytes, Library], text: bytes, *, replace: bool) -> Library:
        """Run a library's text and put it among `libraries`, if all is well with it."""
        shebang = read_library(text)
        if shebang.name in libraries and not replace:
            raise CommandError(b"Library '%b' already exists" % shebang.name)
        library = self._loading = Library(shebang.name, text)
        try:
            problem = self._scripts.load_functions(shebang.code)
        finally:
            self._loading = None
        error: CommandError | None = None
        if problem is not None:
            what = b"Error compiling function: " if problem[1] else b"Error registering functions: "
            error = CommandError(what + problem[0])
        elif not library.functions:
            error = CommandError("No functions registered")
        else:
            error = _collision(libraries, library)
        if error is not None:
            self._forget((library,), kept={})
            raise error
        libraries[library.name] = library
        return library

    def _declare(
        self, name: bytes, description: bytes | None, flags: bytes, number: int
    ) -> bytes | None:
        """redis.register_function: what is wrong with it."""
        library = self._loading
        if library is None:
            return b"redis.register_function can only be called on FUNCTION LOAD command"
        words = frozenset(flags.split(b"\n")) - {b""}
        if not is_name(name):
            return BAD_NAME
        if words - FLAG_NAMES:
            return b"unknown flag given"
        if name in library.functions:
            return b"Function already exists in the library"
        callee = Callee(name, number, words, is_function=True)
        library.functions[name] = Function(callee, description)
        return None

    def _install(self, libraries: dict[bytes, Library]) -> None:
        """These are the libraries from now on; the others' functions go."""
        gone = [old for name, old in self.libraries.items() if libraries.get(name) is not old]
        self._forget(gone, kept={})
        self.libraries = libraries
        self.functions = {
            name: function
            for library in libraries.values()
            for name, function in library.functions.items()
        }

    def _forget(self, libraries: "Iterable[Library]", *, kept: dict[bytes, Library]) -> None:
        for library in libraries:
            if kept.get(library.name) is not library:
                for function in library.functions.values():
                    self._scripts.runtime.forget_function(function.callee.number)


def _collision(libraries: dict[bytes, Library], new: Library) -> CommandError | None:
    for library in libraries.values():
        if library.name == new.name:
            continue
        for name in new.functions:
            if name in library.functions:
                return CommandError(b"Function %b already exists" % name)
    return None


def _read(payload: bytes) -> list[bytes]:
    """The libraries' texts in a payload."""
    body, footer = payload[:-_FOOTER_BYTES], payload[-_FOOTER_BYTES:]
    if (
        len(footer) < _FOOTER_BYTES
        or int.from_bytes(footer[:2], "little") > _VERSION_MAX
        or crc64(body + footer[:2]) != int.from_bytes(footer[2:], "little")
    ):
        raise CommandError("DUMP payload version or checksum are wrong")
    cursor = Cursor(body)
    texts: list[bytes] = []
    try:
        while cursor.at < len(body):
            if cursor.byte() != _FUNCTION:
                raise CommandError("given type is not a function")
            texts.append(cursor.string())
    except RdbError as error:
        raise CommandError("Failed loading library: bad data format") from error
    return texts
