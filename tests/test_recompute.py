"""A recorded restoration is done again: bit by bit, or held against the result that was kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_restoration import made_restoration
from served import made_cube

from palimpsest.errors import EvidenceBroken
from palimpsest.formats import write
from palimpsest.provenance.explain import explain
from palimpsest.provenance.recompute import restore_again
from palimpsest.provenance.record import Origin, write_provenance
from palimpsest.provenance.repeat import repeat
from palimpsest.restoration.repair import repair


@pytest.mark.slow
def test_a_real_restoration_is_made_again_bit_by_bit_with_the_mask_of_its_record(tmp_path):
    cube = made_cube(20, 18, 30)
    write(cube, tmp_path / "made.hdr")
    mask = np.ones(cube.data.shape, bool)
    mask[20:23, 4:6, 3] = False
    found = repair(cube, knowledge=None, mask=mask)
    write_provenance(found, tmp_path / "p", Origin.of_file(tmp_path / "made.hdr"), tile=8)
    told = explain(tmp_path / "p", 4, 3, recompute=restore_again).to_dict()
    assert told["agreement"] == "recomputed, bit-identical"
    assert told["reason"][20:23] == ["user"] * 3
    assert told["restored"] == found.restored.data[:, 4, 3].tolist()
    struck = explain(tmp_path / "p", 4, 7, recompute=restore_again).to_dict()
    total = np.array(struck["decoded"], dtype=float)
    for one in struck["contributions"]:
        total += np.array(one["value"], dtype=float)
    assert total.tolist() == [float(value) for value in struck["restored"]]
    assert struck["reason"][10:13] == ["nodata"] * 3


def test_a_repetition_is_held_against_the_record_and_then_against_the_kept_result(tmp_path):
    made = made_restoration(8)
    write(made.decoded, tmp_path / "made.hdr")
    write(made.restored, tmp_path / "kept.hdr")
    write_provenance(made, tmp_path / "p", Origin.of_file(tmp_path / "made.hdr"), tile=8)
    assert repeat(tmp_path / "p", recompute=lambda cube, row: made)["agreement"] == "bit-identical"

    def nearly(cube, row, by=1):
        part = made.contributions[0]
        other = replace(part, values=part.values + 1)
        values = made.restored.data.copy()
        values.ravel()[part.voxels[0]] += by
        return replace(made, contributions=(other, *made.contributions[1:]), restored=cube.with_data(values, "again"))

    with pytest.raises(EvidenceBroken, match="tiles differ"):
        repeat(tmp_path / "p", recompute=nearly)
    told = repeat(tmp_path / "p", restored_path=tmp_path / "kept.hdr", recompute=nearly)
    assert (told["agreement"], told["largest_difference"]) == ("within one stored step", 1.0)
    with pytest.raises(EvidenceBroken, match="another one"):
        repeat(tmp_path / "p", restored_path=tmp_path / "kept.hdr", recompute=lambda cube, row: nearly(cube, row, 2))
    with pytest.raises(EvidenceBroken, match="not the result"):
        repeat(tmp_path / "p", restored_path=tmp_path / "made.hdr", recompute=nearly)
