"""What can go wrong, in words that say what, where, got and wanted.

Every error of the project descends from :class:`PalimpsestError` and from the built-in a caller would expect. The
command line turns the class into its documented exit code and the service into its HTTP status, each with one table
that reads the attributes here; nobody parses messages.
"""

from __future__ import annotations

from typing import ClassVar


class PalimpsestError(Exception):
    """Root of the project's errors.

    Args:
        what: the sentence: what is wrong.
        where: the file, band, line or term concerned.
        got: the value found.
        wanted: what would have been accepted, or the next step.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, *, where: object = None, got: object = None, wanted: object = None) -> None:
        self.what = what
        self.where = where
        self.got = got
        self.wanted = wanted
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.what if self.where is None else f"{self.where}: {self.what}"]
        if self.got is not None:
            parts.append(f"got {self.got}")
        if self.wanted is not None:
            parts.append(f"wanted {self.wanted}")
        return "; ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive the trip from a worker process by themselves.
        return (_rebuild, (type(self), self.what, self.where, self.got, self.wanted))


def _rebuild(
    kind: type[PalimpsestError], what: str, where: object, got: object, wanted: object
) -> PalimpsestError:
    return kind(what, where=where, got=got, wanted=wanted)


class UsageError(PalimpsestError, ValueError):
    """Options that contradict each other, or a call that makes no sense (exit code 2)."""

    exit_code = 2


class CubeRefused(PalimpsestError, ValueError):
    """A cube whose values, shape or band table cannot be worked on (exit code 3)."""


class FormatError(PalimpsestError, ValueError):
    """A file that is not what it says it is (exit code 3)."""


class HeaderMismatch(FormatError):
    """A header that disagrees with its bytes; the message names header values that would fit."""


class MissingWavelengths(PalimpsestError, ValueError):
    """The work asked for needs band centres and the cube has none (exit code 3)."""


class KnowledgeError(PalimpsestError, ValueError):
    """A release that fails its shapes or its semantic checks; ``where`` is the term's IRI (exit code 3)."""


class UnknownTerm(KnowledgeError, LookupError):
    """A rule or a question names a material, feature, sensor or release that is not there."""


class ModelMissing(PalimpsestError, LookupError):
    """The weights that a stream or a result names are not installed (exit code 3)."""


class NotWritten(PalimpsestError, OSError):
    """A result that cannot be put where it was asked for: no folder, no permission, no room (exit code 3)."""


class StreamCorrupt(PalimpsestError, ValueError):
    """A truncated or altered stream; ``whole_level`` is the highest level still whole, or None (exit code 4)."""

    exit_code = 4

    def __init__(
        self, what: str, *, where: object = None, got: object = None, wanted: object = None,
        whole_level: int | None = None,
    ) -> None:
        self.whole_level = whole_level
        super().__init__(what, where=where, got=got, wanted=wanted)


class PromiseBroken(PalimpsestError, RuntimeError):
    """A bound, rate, set of labels or checksum that was promised and cannot be kept (exit code 4)."""

    exit_code = 4


class EvidenceBroken(PromiseBroken):
    """A log, proof or stored hash that does not agree with what it attests (exit code 4)."""
