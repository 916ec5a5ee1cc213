"""A pixel's explanation as one paragraph: what was wrong, who proposed what, who was believed and why, how sure.

Every sentence is counted from rows of the provenance and stands only while its rows do: reasons, classes, decisions
with their own recorded sentences, quanta, trusts and intervals. Nothing is said that no row says; what rows leave open
(a decoded value that is not at hand) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest.cubes.bands import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from palimpsest.provenance.explanation import Acted, BandExplanation, Explanation

# What the record means by a reason; a reason that is not here is named as it is stored.
REASONS: dict[str, str] = {
    Reason.NODATA.name.lower(): "held no value",
    Reason.NOT_FINITE.name.lower(): "held no finite number",
    Reason.BAD_BAND.name.lower(): "lay in bands that the producer calls bad",
    Reason.DEAD.name.lower(): "came from a detector element that answers nothing",
    Reason.SATURATED.name.lower(): "were saturated",
    Reason.STRIPE.name.lower(): "lay in a stripe",
    Reason.IMPULSE.name.lower(): "were struck by an impulse",
    Reason.OPAQUE.name.lower(): "lay where the air lets no usable light through",
    Reason.NOISY.name.lower(): "were called noisy",
    Reason.OVERLAP.name.lower(): "lay where two detectors overlap",
    Reason.USER.name.lower(): "were masked by hand",
    Reason.INTERPOLATED.name.lower(): "had been filled by the mission itself",
    Reason.CLOUD.name.lower(): "showed a cloud",
}
GOOD = Reason.GOOD.name.lower()
LIBRARIES = "library", "library.modelled"  # many decisions each, one a material: told of in one sentence
NAMED = 3  # materials of the library, where several took part
LEAST_SHARE = 0.02  # of what was moved, under which a source is counted and not told of
TAKEN_AWAY, EXACTNESS = ("damage",), ("rounding", "clipping")


@dataclass(frozen=True, slots=True)
class _Part:
    """What one decision did to the pixel."""

    acted: Acted
    bands: tuple[BandExplanation, ...]
    quanta: tuple[int, ...]
    trusts: tuple[float, ...]

    @property
    def weight(self) -> int:
        """Quanta moved, either way."""
        return sum(abs(one) for one in self.quanta)


def paragraph(told: Explanation) -> str:
    """The explanation in words; sentences whose rows are not there are not there either."""
    changed = [band for band in told.bands if band.acted]
    parts = _parts(changed)
    sentences = [
        *_what_was_wrong(told.bands),
        *_who(parts, told.quantum),
        *_who_was_believed(parts),
        *_how_sure(changed),
        *_sum(changed, told.quantum),
    ]
    if changed:
        by = f" under release {told.release[:12]}" if told.release else ""
        sentences.append(f"These numbers are {told.agreement}{by}.")
    return " ".join(sentences)


def _what_was_wrong(bands: Sequence[BandExplanation]) -> Iterable[str]:
    changed = [band for band in bands if band.acted]
    if not changed:
        yield f"Nothing was changed in {_count(len(bands), 'band')} of this pixel."
    for reason in dict.fromkeys(band.reason for band in bands if band.reason != GOOD):
        flagged = [band for band in bands if band.reason == reason]
        moved = sum(1 for band in flagged if band.acted)
        what = REASONS.get(reason, f"were marked '{reason}'")
        what = what.replace("were ", "was ", 1) if len(flagged) == 1 else what
        all_of = "it was changed" if len(flagged) == 1 else "all were changed"
        fate = all_of if moved == len(flagged) else "none was changed" if not moved else f"{moved} were changed"
        yield f"{_values(len(flagged))} at {_places(flagged)} {what}; {fate}."
    trusted = [band for band in changed if band.reason == GOOD]
    if trusted:
        kinds = ", ".join(dict.fromkeys(band.provenance.replace("_", " ") for band in trusted))
        who = f"{_values(len(trusted))} at {_places(trusted)}"
        yield f"{who} had no fault on record and changed all the same ({kinds})."


def _who(parts: Sequence[_Part], quantum: float) -> Iterable[str]:
    libraries = {name: [part for part in parts if part.acted.source == name] for name in LIBRARIES}
    gathered = {name for name, own in libraries.items() if len(own) > 1}
    total = sum(part.weight for part in parts if part.acted.source not in (*TAKEN_AWAY, *EXACTNESS))
    small = 0
    for part in parts:
        place = f"in {_count(len(part.bands), 'band')}"
        if part.acted.source in TAKEN_AWAY:
            yield f"What was stored there was taken away {place}: {part.acted.sentence}"
        elif part.acted.source in (*EXACTNESS, *gathered):
            continue
        elif part.weight < LEAST_SHARE * total:
            small += 1
        else:
            mean = sum(part.quanta) * quantum / len(part.quanta)
            yield (
                f"{part.acted.source} gave {mean:+.4g} on the mean {place}, with a trust of "
                f"{_span(part.trusts)}: {part.acted.sentence}"
            )
    for name in LIBRARIES:
        if name in gathered:
            yield _library(name, libraries[name], quantum)
    if small:
        yield f"{_count(small, 'more source').capitalize()} gave less than {LEAST_SHARE:.0%} of what was moved each."


def _library(name: str, parts: Sequence[_Part], quantum: float) -> str:
    """All materials of a library in one sentence, those that gave most by name."""
    bands = {band.band for part in parts for band in part.bands}
    mean = sum(sum(part.quanta) for part in parts) * quantum / len(bands)
    weight = sum(part.weight for part in parts)
    most = sorted(parts, key=lambda part: -part.weight)[:NAMED]
    # A material's sentence begins with its name.
    named = ", ".join(f"{part.acted.sentence.partition(':')[0]} ({part.weight / max(weight, 1):.0%})" for part in most)
    more = f" and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
    return (
        f"{name} gave {mean:+.4g} on the mean in {_count(len(bands), 'band')}, with {len(parts)} materials: "
        f"{named}{more}."
    )


def _who_was_believed(parts: Sequence[_Part]) -> Iterable[str]:
    weights: dict[str, int] = {}
    for part in parts:
        if part.acted.source not in (*TAKEN_AWAY, *EXACTNESS):
            named = f"{part.acted.source} <{part.acted.rule}>" if part.acted.rule else part.acted.source
            weights[named] = weights.get(named, 0) + part.weight
    total = sum(weights.values())
    if len(weights) < 2 or not total:
        return
    first = max(weights, key=lambda named: weights[named])
    yield f"Believed most was {first}, with {weights[first] / total:.0%} of what was moved."


def _how_sure(changed: Sequence[BandExplanation]) -> Iterable[str]:
    known = [band for band in changed if band.half_width is not None]
    if not known:
        return
    widths = [band.half_width for band in known if band.half_width is not None]
    widest = max(known, key=lambda band: band.half_width or 0.0)
    yield f"The recorded 90 % interval reaches {_span(widths)} either way" + (
        f", widest at {_place(widest)}." if len(known) > 1 else "."
    )


def _sum(changed: Sequence[BandExplanation], quantum: float) -> Iterable[str]:
    known = [band for band in changed if band.decoded is not None and band.restored is not None]
    if not known or len(known) < len(changed):
        return
    exact = all((band.restored or 0) - (band.decoded or 0) == band.moved * quantum for band in known)
    if exact:
        yield f"In {_count(len(known), 'band')} these sum exactly to restored minus decoded."


def _parts(changed: Sequence[BandExplanation]) -> list[_Part]:
    """By decision, in the order of the decisions."""
    found: dict[int, list[tuple[BandExplanation, Acted]]] = {}
    for band in changed:
        for acted in band.acted:
            found.setdefault(acted.decision, []).append((band, acted))
    return [
        _Part(rows[0][1], tuple(band for band, _ in rows), tuple(one.quanta for _, one in rows),
              tuple(one.trust for _, one in rows))
        for _, rows in sorted(found.items())
    ]


def _places(bands: Sequence[BandExplanation]) -> str:
    """Runs of neighbouring bands, by wavelength where it is known."""
    runs: list[list[BandExplanation]] = []
    for band in bands:
        if runs and band.band == runs[-1][-1].band + 1:
            runs[-1].append(band)
        else:
            runs.append([band])
    said = [_place(run[0]) if len(run) == 1 else f"{_number(run[0])} to {_place(run[-1])}" for run in runs[:4]]
    more = f" and {len(runs) - 4} more places" if len(runs) > 4 else ""
    return ", ".join(said) + more


def _number(band: BandExplanation) -> str:
    return f"band {band.band}" if band.centre_nm is None else f"{band.centre_nm:.0f}"


def _place(band: BandExplanation) -> str:
    return f"band {band.band}" if band.centre_nm is None else f"{band.centre_nm:.0f} nm"


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"


def _values(count: int) -> str:
    return "One value" if count == 1 else f"{count} values"


def _count(count: int, noun: str) -> str:
    return f"one {noun}" if count == 1 else f"{count} {noun}s"
