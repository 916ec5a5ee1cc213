"""The explanation in words says what its rows say, and nothing else: flip a row, and its sentence changes or goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_restoration import made_restoration

from palimpsest.commands import main
from palimpsest.cubes import Reason
from palimpsest.provenance.explain import explain
from palimpsest.provenance.explanation import Acted, BandExplanation, Explanation
from palimpsest.provenance.paragraph import GOOD, REASONS, paragraph
from palimpsest.provenance.record import Origin, write_provenance

LOW_RANK = Acted(1, "correlation.low_rank", "", "", "", "What the other pixels show.", 300, 0.8)
LIBRARY = Acted(2, "library", "", "https://example.org/calcite", "r", "calcite: its reference spectrum.", 100, 0.4)
DAMAGE = Acted(0, "damage", "", "", "", "The stored value is no measurement.", -40, 1.0)


def band(number, reason="dead", acted=(DAMAGE, LOW_RANK, LIBRARY), width=3.0, decoded=80):
    return BandExplanation(number, 1000.0 + 10 * number, decoded, decoded * 0.5, width if acted else None, reason,
                           "correlated" if acted else "measured", 0.8, 0.5, tuple(acted))


def told(*bands):
    return Explanation("id", "made", 4, 7, 0.5, "abcdef0123456789", "model", "stored", tuple(bands))


ROWS = (band(0, GOOD, ()), band(1), band(2, width=6.0), band(3, GOOD, ()), band(4, "noisy", ()))


def test_a_paragraph_says_what_was_wrong_who_gave_what_and_how_sure():
    said = paragraph(told(*ROWS))
    assert "2 values at 1010 to 1020 nm came from a detector element that answers nothing; all were changed." in said
    assert "One value at 1040 nm was called noisy; none was changed." in said
    assert "taken away in 2 bands: The stored value is no measurement." in said
    assert "correlation.low_rank gave +150 on the mean in 2 bands, with a trust of 0.8: What the other pixels" in said
    assert "Believed most was correlation.low_rank, with 75% of what was moved." in said
    assert "The recorded 90 % interval reaches 3 to 6 either way, widest at 1020 nm." in said
    assert "In 2 bands these sum exactly to restored minus decoded." in said
    assert "These numbers are stored under release abcdef012345." in said


@pytest.mark.parametrize(("sentence", "flip"), [
    ("detector element", {"reason": "impulse"}),
    ("taken away", {"acted": (LOW_RANK, LIBRARY)}),
    ("correlation.low_rank gave", {"acted": (DAMAGE, LIBRARY)}),
    ("Believed most was correlation", {"acted": (DAMAGE, replace(LOW_RANK, quanta=50), LIBRARY)}),
    ("Believed most", {"acted": (DAMAGE, LOW_RANK)}),
    ("trust of 0.8:", {"acted": (DAMAGE, replace(LOW_RANK, trust=0.2), LIBRARY)}),
    ("90 % interval", {"half_width": None}),
    ("sum exactly", {"decoded_quanta": None}),
    ("all were changed", {"acted": ()}),
    ("gave +150", {"acted": (DAMAGE, replace(LOW_RANK, quanta=-300), LIBRARY)}),
])
def test_a_flipped_row_changes_its_sentence(sentence, flip):
    flipped = [one if not one.acted else replace(one, **flip) for one in ROWS]
    assert sentence in paragraph(told(*ROWS))
    assert sentence not in paragraph(told(*flipped))


def test_many_materials_are_one_sentence_and_what_is_little_is_counted():
    more = [
        replace(LIBRARY, decision=10 + n, quanta=300 - 50 * n, sentence=f"rock {n}: its spectrum.") for n in range(5)
    ]
    little = replace(LOW_RANK, decision=40, source="interpolation.pchip", quanta=1)
    said = paragraph(told(band(1, acted=(DAMAGE, LOW_RANK, *more, little))))
    assert "library gave +500 on the mean in one band, with 5 materials: rock 0 (30%), rock 1 (25%)" in said
    assert "rock 2 (20%) and 2 more." in said
    assert "One more source gave less than 2% of what was moved each." in said
    assert "Believed most was library, with 77% of what was moved." in said


def test_a_pixel_that_nobody_touched_has_one_sentence():
    said = paragraph(told(band(0, GOOD, ()), band(1, GOOD, ())))
    assert said == "Nothing was changed in 2 bands of this pixel."


def test_every_reason_has_its_words():
    assert set(REASONS) == {reason.name.lower() for reason in Reason if reason != Reason.GOOD}


def test_the_command_line_and_the_interface_give_the_paragraph(tmp_path, capsys):
    made = made_restoration()
    write_provenance(made, tmp_path / "p", Origin(), full=True)
    _, rows, cols = made.decoded.shape
    row, col = divmod(int(made.changed[0]) % (rows * cols), cols)
    said = explain(tmp_path / "p", row, col).to_dict()["paragraph"]
    assert "90 % interval" in said
    assert main(["explain", str(tmp_path / "p"), "--pixel", f"{row},{col}", "--paragraph"]) == 0
    assert capsys.readouterr().out.strip() == said
    assert main(["explain", str(tmp_path / "p"), "--pixel", f"{row},{col}"]) == 0
    assert said[:40] in capsys.readouterr().out
