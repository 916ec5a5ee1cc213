"""Materials that no training ever sees, and what they are worth when somebody adds them as Turtle.

Training works with a release from which every material of :data:`HELD_OUT` was taken: none of them lies on the ground
of a made scene, and none is in a library that an example was restored with (kin of the same name, mixtures among them,
are taken too). The benchmark's part 'held_out' then makes scenes that contain one of them, loses whole runs of bands in
every pixel ('wide'), and restores with the release that training knew ('without'), and with that release and the
material as somebody would write it in Turtle that morning ('added'). Beside it, scenes that contain a material of
training are restored with the release that training knew ('trained') and with that material and its kin taken out.
Gains are over the better of line and cubic; on all of the scene, and on the pixels that the material fills most.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase, Material
    from palimpsest.restoration.integrator.network import Integrator
    from palimpsest.restoration.result import Restoration
    from palimpsest.scenes.scene import MadeScene

# Parts of the last word of an IRI. Chosen for spectra that the rest of the library explains badly (its non-negative
# mixtures miss them by 3 to 7 % of their mean), and among what made scenes lay on the ground.
HELD_OUT = ("buddingtonite", "gypsum", "jarosite", "epidote", "vinyl", "aluminium-painted")


@dataclass(frozen=True, slots=True)
class Subject:
    """A material and the place it is looked for in.

    Args:
        word: last word of its IRI.
        kin: parts of words that go with it when it is taken out.
        kind: of the made scene.
        is_held_out: whether training was kept from it.
    """

    word: str
    kin: tuple[str, ...]
    kind: str
    is_held_out: bool = False


# Those whose reference covers the sensor's range: of the others (jarosite, gypsum, epidote, talc, known from 1300 or
# 1500 nm on) restoration makes no use, added or not.
SUBJECTS = (
    Subject("buddingtonite", ("buddingtonite",), "geology", is_held_out=True),
    Subject("vinyl-white", ("vinyl",), "urban", is_held_out=True),
    Subject("aluminium-painted-green", ("aluminium-painted",), "urban", is_held_out=True),
    Subject("hematite", ("hematite",), "geology"),
    Subject("goethite", ("goethite",), "geology"),
    Subject("chlorite_lowFe", ("chlorite",), "geology"),
    Subject("fiberglass-roof-white", ("fiberglass",), "urban"),
    Subject("brick-paving-tan", ("brick-paving", "shingle-tan"), "urban"),
)
SIDE = 40
FIRST_SEED = 772_001  # beside those of training, which are drawn below 2 ** 30, and of the other benchmarks
LEAST_COVER = 0.1  # of the pixels in which a subject must have the largest share
MOST_TRIES = 80
TOLD_PIXELS = 5
CASES = ("wide",)
_IRI = "https://example.org/added/"
_PREFIXES = """@prefix plm: <https://w3id.org/palimpsest/vocabulary#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix dcterms: <http://purl.org/dc/terms/> .
"""


def word_of(material: Material) -> str:
    """The last word of a material's IRI."""
    return material.iri.replace("#", "/").rsplit("/", 1)[-1]


def without(knowledge: KnowledgeBase, words: Sequence[str]) -> KnowledgeBase:
    """A release without the materials whose last word contains one of ``words``."""
    return replace(
        knowledge,
        materials=tuple(one for one in knowledge.materials if not any(word in word_of(one) for word in words)),
    )


def turtle_of(material: Material, grid_nm: NDArray[np.float64]) -> str:
    """A material as somebody would add it: name, group, spectrum, features, under an IRI of its own."""
    assert material.spectrum is not None
    values = np.asarray(material.spectrum, np.float64)
    known = np.isfinite(values)
    mine = f"{_IRI}{word_of(material)}"
    features = [f"<{mine}-feature-{number}>" for number in range(1, len(material.features) + 1)]
    lines = [
        _PREFIXES,
        f'<{mine}> a plm:Material ; skos:prefLabel "added {material.label}"@en ;',
        *(f"    skos:broader <{iri}> ;" for iri in material.broader[:1]),
        *(f"    plm:diagnosticFeature {name} ;" for name in features),
        f"    plm:referenceSpectrum <{mine}-spectrum> ; dcterms:source <{_IRI}field-day> .",
        f"<{mine}-spectrum> a plm:ReferenceSpectrum ; dcterms:source <{_IRI}field-day> ;",
        f'    plm:atWavelengths "{" ".join(f"{one:g}" for one in grid_nm[known])}"^^plm:numberList ;',
        f'    plm:reflectances "{" ".join(f"{one:.5f}" for one in values[known])}"^^plm:numberList .',
        f'<{_IRI}field-day> a plm:Source ; rdfs:label "field day"@en ; plm:reliability 0.8 .',
    ]
    for number, (name, feature) in enumerate(zip(features, material.features, strict=True), 1):
        left, right = feature.left_nm, feature.right_nm
        lines.append(
            f"{name} a plm:DiagnosticFeature ; plm:ordinal {number} ; plm:weight {feature.weight:g} ; "
            f"plm:leftContinuumFrom {left[0]:g} ; plm:leftContinuumTo {left[1]:g} ; "
            f"plm:rightContinuumFrom {right[0]:g} ; plm:rightContinuumTo {right[1]:g} ; "
            f"dcterms:source <{_IRI}field-day> ."
        )
    return "\n".join(lines) + "\n"


def added(knowledge: KnowledgeBase, material: Material) -> tuple[KnowledgeBase, str]:
    """The packaged release with a material added as Turtle, read from a folder, without what is held out; its IRI."""
    import palimpsest_ontologies
    from palimpsest.knowledge.releases.release import load

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for entry in palimpsest_ontologies.folder().iterdir():
            if entry.is_file():
                (folder / entry.name).write_bytes(entry.read_bytes())
        (folder / "added.ttl").write_text(turtle_of(material, knowledge.grid_nm), encoding="utf-8")
        whole = load(folder)
    mine = f"{_IRI}{word_of(material)}"
    kept = tuple(
        one for one in whole.materials
        if one.iri == mine or not any(word in word_of(one) for word in HELD_OUT)
    )
    return replace(whole, materials=kept), mine


def scene_with(subject: Subject, knowledge: KnowledgeBase) -> tuple[MadeScene, NDArray[np.bool_]]:
    """The first made scene in which a subject has the largest share in enough pixels, and those pixels ``(row, col)``.

    Of the scenes tried, the one with most where none has enough.

    Raises:
        UsageError: no scene shows it.
    """
    from palimpsest.scenes import make_scene

    best: tuple[int, MadeScene | None, NDArray[np.bool_] | None] = (0, None, None)
    for seed in range(FIRST_SEED, FIRST_SEED + MOST_TRIES):
        scene = make_scene(SIDE, SIDE, seed=seed, kind=subject.kind, knowledge=knowledge)
        names = [iri.replace("#", "/").rsplit("/", 1)[-1] for iri in scene.material_iris]
        if subject.word not in names:
            continue
        here = scene.labels == names.index(subject.word) + 1
        if int(here.sum()) > best[0]:
            best = int(here.sum()), scene, here
        if here.mean() >= LEAST_COVER:
            break
    _, found, pixels = best
    if found is None or pixels is None:
        raise UsageError("no made scene shows this material", got=subject.word, wanted=f"one of {MOST_TRIES} seeds")
    return found, pixels


@dataclass(frozen=True, slots=True)
class Gain:
    """What a restoration gained over the better of line and cubic, dB: on the whole scene, and where the subject is."""

    whole: float
    own: float


def measured(note: Callable[[str], None], saw: Path | None = None) -> dict[str, float]:
    """The figures of the part 'held_out'.

    Args:
        note: told every figure.
        saw: weights of an integrator that was not kept from the held-out materials, to restore the same scenes with.
    """
    from palimpsest.knowledge.releases.release import load
    from palimpsest.restoration.integrator.network import load as load_judge

    packaged, judge = load("packaged"), load_judge(None)
    rows: dict[tuple[str, str, str], Gain] = {}
    named: list[tuple[float, float]] = []
    for subject in SUBJECTS:
        known = without(packaged, HELD_OUT)
        variants: dict[str, tuple[KnowledgeBase, Integrator]] = {"without": (known, judge)}
        if subject.is_held_out:
            material = next(one for one in packaged.materials if word_of(one) == subject.word)
            release, iri = added(packaged, material)
            variants["added"] = release, judge
            if saw is not None:
                variants["by the judge that saw it"] = packaged, load_judge(saw)
        else:
            variants["trained"] = known, judge
            variants["without"] = without(known, subject.kin), judge
            iri = ""
        for case, name, gain, done, pixels in _restored(subject, packaged, variants):
            rows[subject.word, case, name] = gain
            note(f"{subject.word:<26} {case:<24} {name:<26} {gain.whole:+7.2f} dB, where it lies {gain.own:+7.2f} dB")
            if name == "added" and not any(why.material for why in done.decisions):
                note(f"{subject.word:<26} {case:<24} no material speaks here, so that none is named")
            elif name == "added":
                named.append(_named(done, iri, pixels))
                note(f"{subject.word:<26} {case:<24} named: in {named[-1][0]:.2f} of its pixels by the rows, "
                     f"in {named[-1][1]:.2f} of {TOLD_PIXELS} paragraphs")
    return _table(rows, named)


def _restored(
    subject: Subject, packaged: KnowledgeBase, variants: dict[str, tuple[KnowledgeBase, Integrator]],
) -> Iterator[tuple[str, str, Gain, Restoration, NDArray[np.bool_]]]:
    """Every wide case under every release: case, release, gain, restoration, the subject's pixels."""
    from palimpsest.restoration.repair import repair
    from palimpsest_pipelines.restoration_benchmark.cases import scene_cases, whole_bands
    from palimpsest_pipelines.restoration_benchmark.rivals import interpolated

    scene, pixels = scene_with(subject, packaged)
    cube = whole_bands(scene.observed)
    clean = scene.clean.data[np.flatnonzero(scene.observed.bands.good)]
    for case in scene_cases(subject.word, cube, CASES):
        lost = case.damaged
        plain = [_decibels(interpolated(case.struck, case.usable, kind), clean, lost, pixels, case.unit)
                 for kind in ("linear", "pchip")]
        best = np.max(plain, axis=0)
        for name, (knowledge, judge) in variants.items():
            done = repair(case.struck, knowledge=knowledge, mask=case.usable, weights=judge, is_searched=False)
            found = _decibels(done.restored.data, clean, lost, pixels, case.unit) - best
            yield case.name, name, Gain(float(found[0]), float(found[1])), done, pixels


def _decibels(
    values: NDArray[np.generic], clean: NDArray[np.generic], lost: NDArray[np.bool_], pixels: NDArray[np.bool_],
    unit: float,
) -> NDArray[np.float64]:
    """PSNR of the lost voxels, of all pixels and of the subject's."""
    error = ((np.asarray(values, np.float64) - np.asarray(clean, np.float64)) / unit) ** 2
    here = lost & pixels
    return np.array([-10 * np.log10(max(float(error[where].mean()), 1e-12)) for where in (lost, here)])


def _named(done: Restoration, iri: str, pixels: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of the subject's pixels to which a contribution of its name was made, and of paragraphs that name it."""
    from palimpsest.provenance.explain import explain
    from palimpsest.provenance.record import Origin, write_provenance

    area = pixels.size
    touched = np.zeros(area, bool)
    for part in done.contributions:
        if done.decisions[part.decision].material == iri:
            touched[part.voxels[part.values != 0] % area] = True
    at = np.argwhere(pixels)
    chosen = at[np.linspace(0, len(at) - 1, min(TOLD_PIXELS, len(at))).astype(int)]
    label = next((why.sentence.partition(":")[0] for why in done.decisions if why.material == iri), None)
    told = 0
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "provenance"
        write_provenance(done, record, Origin(), full=True)
        for row, col in chosen:
            words = explain(record, int(row), int(col)).to_dict()["paragraph"]
            told += label is not None and label in str(words)
    return float(touched.reshape(pixels.shape)[pixels].mean()), told / len(chosen)


def _table(rows: dict[tuple[str, str, str], Gain], named: Sequence[tuple[float, float]]) -> dict[str, float]:
    table: dict[str, float] = {}
    means: dict[tuple[str, str], list[Gain]] = {}
    held = {subject.word for subject in SUBJECTS if subject.is_held_out}
    for (word, case, name), gain in rows.items():
        table[f"held_out {word} {case} {name}"] = gain.whole
        table[f"held_out {word} {case} {name}, where it lies"] = gain.own
        means.setdefault(("held out" if word in held else "of training", name), []).append(gain)
    figures: dict[tuple[str, str], tuple[float, float]] = {}
    for (group, name), gains in means.items():
        figures[group, name] = tuple(np.mean([[one.whole, one.own] for one in gains], axis=0).tolist())
        table[f"held_out materials {group}, {name}: mean gain ({len(gains)} cases)"] = figures[group, name][0]
        table[f"held_out materials {group}, {name}: mean gain where they lie"] = figures[group, name][1]
    for other, label in ((("of training", "trained"), "of trained materials' gain"),
                         (("held out", "by the judge that saw it"), "of the gain of the judge that saw it")):
        if other in figures and ("held out", "added") in figures:
            mine = figures["held out", "added"]
            table[f"held_out: added, {label}"] = mine[0] / figures[other][0]
            table[f"held_out: added, {label}, where they lie"] = mine[1] / figures[other][1]
    if named:
        table["held_out: share of pixels that name it"] = float(np.mean([one for one, _ in named]))
        table["held_out: share of paragraphs that name it"] = float(np.mean([one for _, one in named]))
    return table
