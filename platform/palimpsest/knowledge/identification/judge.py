"""The judge of the codec's closed loop: the same rules, read the same way, asked again and again.

Bands, widths and units are settled on the first cube that is judged, so a decoded cube is read exactly as its original
was; a pixel's label depends on nothing but its own spectrum, so re-judging the changed pixels alone gives what judging
the whole cube would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import CubeRefused
from palimpsest.knowledge.identification.gates import decide
from palimpsest.knowledge.identification.identify import identify, label_names
from palimpsest.knowledge.identification.reading import BLOCK_PIXELS, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase


class ReleaseJudge:
    """Labels under one release; fulfils ``palimpsest.codec.contract.LabelJudge``.

    Args:
        knowledge: the compiled release.
    """

    def __init__(self, knowledge: KnowledgeBase) -> None:
        self._knowledge = knowledge
        self._names = label_names(knowledge)
        self._reading: Reading | None = None
        self._key: bytes = b""

    @property
    def release(self) -> str:
        """Hash of the release."""
        return self._knowledge.release

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label; label 0 is 'unnamed'."""
        return self._names

    def reading(self, cube: Cube) -> Reading:
        """How cubes with this one's bands are read; settled by the first of them.

        Raises:
            MissingWavelengths: the cube has no band centres.
        """
        key = _bands_key(cube)
        if self._reading is None or key != self._key:
            self._reading, self._key = Reading.of(cube, self._knowledge), key
        return self._reading

    def labels(self, cube: Cube) -> NDArray[np.uint16]:
        """Label of each pixel, ``(row, col)``; 0 where nothing is named.

        Raises:
            MissingWavelengths: the cube has no band centres.
        """
        return identify(cube, self._knowledge, reading=self.reading(cube)).labels

    def labels_of(
        self, spectra: NDArray[np.generic], cube: Cube, usable: NDArray[np.bool_] | None = None
    ) -> NDArray[np.uint16]:
        """Labels of single spectra, ``(spectrum,)``: what :meth:`labels` would say of those pixels.

        Args:
            spectra: stored values, ``(spectrum, band)``, all bands in stored order.
            cube: the cube whose bands and units they have; its values are not looked at again.
            usable: ``(spectrum, band)``, False where a value may not be used; nodata and non-finite never are.

        Raises:
            CubeRefused: spectra of another number of bands.
        """
        if spectra.ndim != 2 or spectra.shape[1] != cube.bands.count:
            raise CubeRefused("spectra do not fit the bands", got=spectra.shape, wanted=f"(n, {cube.bands.count})")
        how = self.reading(cube)
        numbers = np.array([0, *(prepared.label for prepared in how.rules.materials)], np.uint16)
        found = np.zeros(len(spectra), np.uint16)
        for start in range(0, len(spectra), BLOCK_PIXELS):
            part = slice(start, start + BLOCK_PIXELS)
            values = how.reflectance(spectra[part], None if usable is None else usable[part])
            found[part] = numbers[decide(how.rules, values, how.rules.measure(values)).winner + 1]
        return found

    def features_of(
        self, spectra: NDArray[np.generic], cube: Cube, usable: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Depth of every diagnostic feature of single spectra, and whether it counts, each ``(spectrum, feature)``.

        Arguments as for :meth:`labels_of`. A feature counts where a material that it is diagnostic of passes all its
        rules; its depth is NaN where there is no such feature.
        """
        how = self.reading(cube)
        depths = np.empty((len(spectra), how.rules.rows))
        counts = np.zeros(depths.shape, bool)
        for start in range(0, len(spectra), BLOCK_PIXELS):
            part = slice(start, start + BLOCK_PIXELS)
            values = how.reflectance(spectra[part], None if usable is None else usable[part])
            measured = how.rules.measure(values)
            depths[part] = measured.depth.T
            for prepared, one in zip(how.rules.materials, decide(how.rules, values, measured).candidates, strict=True):
                for slot in prepared.features:
                    counts[part, slot.row] |= one.accepted
        return depths, counts

    def feature_bands(self, cube: Cube) -> tuple[NDArray[np.intp], ...]:
        """Stored bands of each feature between its shoulders, by wavelength; all of them where there is none."""
        rules = self.reading(cube).rules
        found = []
        for window, shapes in zip(rules.windows, rules.shapes, strict=True):
            inner = np.setdiff1d(window.bands, np.concatenate([window.left, window.right]))
            found += [rules.bands[inner if inner.size else window.bands]] * len(shapes)
        return tuple(found)

    def decision_bands(self, cube: Cube, labels: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Stored bands that each label hangs on, ``(label, band)``.

        A material's label hangs on its features and on those whose presence would exclude it; no label at all hangs
        on the features of every material that could still be named, so row 0 is their union over the materials seen
        in ``labels``, or over all when none is.
        """
        rules = self.reading(cube).rules
        bands = np.zeros((len(self._names), cube.bands.count), bool)
        for prepared in rules.materials:
            for slot in (*prepared.features, *prepared.exclusions):
                bands[prepared.label, rules.bands[rules.windows[slot.window].bands]] = True
        present = np.unique(labels)
        present = present[present > 0]
        bands[0] = bands[present].any(axis=0) if present.size else bands.any(axis=0)
        return bands


def _bands_key(cube: Cube) -> bytes:
    table = cube.bands
    meaning = (cube.scale, cube.offset, cube.nodata, cube.units, cube.sensor)
    parts = [table.good.tobytes(), repr(meaning).encode()]
    parts += [b"-" if column is None else column.tobytes() for column in (table.centre_nm, table.fwhm_nm)]
    return b"|".join(parts)
