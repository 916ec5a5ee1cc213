"""Trained spatial levels: exact whatever the weights, equal to their floating-point twin, found by name and hash."""

import json

import numpy as np
import pytest

from palimpsest.codec.container.models import load_model, model_by_hash
from palimpsest.codec.entropy import first_state
from palimpsest.codec.entropy.planes import ChunkDecoder, ChunkEncoder, MixerState
from palimpsest.codec.quantisation import cells
from palimpsest.codec.space import weights
from palimpsest.codec.space.lifting import TAPS, split_level
from palimpsest.codec.space.network import Level, Lift, Step, mirrored
from palimpsest.codec.space.spatial import LevelTransform
from palimpsest.errors import FormatError, ModelMissing

SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (2, 3), (5, 3), (17, 31), (40, 33)]
NO_NETWORK = (np.zeros((0, 2, 1), np.int16), np.zeros(0, np.int16))


def any_level(seed, depth=2, columns=2, hidden=3, half=2):
    rng = np.random.default_rng(seed)

    def lift():
        steps = []
        for tap in TAPS:
            taps = rng.integers(-900, 900, (depth, columns + 1))
            taps[0, 0] += tap // 2
            first = rng.integers(-4000, 4000, (hidden, 2, 2 * half + 1))
            steps.append(
                Step(taps.astype(np.int16), first.astype(np.int16), rng.integers(-3000, 3000, hidden).astype(np.int16))
            )
        return Lift(tuple(steps))

    return Level(lift(), lift(), lift())


@pytest.mark.parametrize("shape", SIZES)
def test_any_weights_at_all_come_back_integer_for_integer(shape):
    transform = LevelTransform.of_levels({1: any_level(1), 2: any_level(2), 4: any_level(3)})
    plane = np.random.default_rng(0).integers(-(1 << 20), 1 << 20, shape).astype(np.int32)
    np.testing.assert_array_equal(transform.synthesise(transform.analyse(plane, 4)), plane)


def test_untrained_taps_are_exactly_cdf97():
    lift = Lift(tuple(Step(np.array([[tap]], np.int16), *NO_NETWORK) for tap in TAPS))
    plane = np.random.default_rng(1).integers(-9999, 9999, (31, 22)).astype(np.int32)
    for ours, plain in zip(Level(lift, lift, lift).split_stack(plane[None]), split_level(plane), strict=True):
        np.testing.assert_array_equal(ours[0], plain)


def test_mirroring_keeps_each_half_in_itself():
    for length in (1, 2, 3, 8, 9):
        for position in range(-25, 30):
            found = mirrored(position, length)
            assert 0 <= found < length
            assert length == 1 or (found - position) % 2 == 0


def test_the_integer_levels_follow_their_floating_point_twin():
    torch = pytest.importorskip("torch")
    from safetensors.numpy import save

    from palimpsest_pipelines.codec_training.level_networks import LevelNetwork, to_integers

    torch.manual_seed(0)
    level = LevelNetwork(columns=2, hidden=3, half=2)
    with torch.no_grad():
        for name, parameter in level.named_parameters():
            if name.endswith("second"):
                parameter += 0.1 * torch.randn_like(parameter)
    model = weights.parse(save(to_integers([level])), "twin")
    plane = np.random.default_rng(2).integers(-(1 << 18), 1 << 18, (37, 26)).astype(np.int32)
    with torch.no_grad():
        coarse, details = level.double().split(torch.tensor(plane[None, None], dtype=torch.float64))
        back = level.join(coarse, details)
    assert float((back - torch.tensor(plane)).abs().max()) < 1e-4
    for ours, theirs in zip(model.levels[1].split_stack(plane[None]), (coarse, *details), strict=True):
        assert np.abs(ours - theirs.numpy()[0, 0]).max() < 2e-3 * np.abs(plane).max()


def test_models_ship_and_are_found_by_name_and_hash():
    ships = {f"{name}{rest}" for name in ("v3", "v5") for rest in ("", "-without-indian-pines", "-without-gatorsense")}
    assert {"v1", "v2", "v4"} | ships <= set(weights.installed())
    for name in weights.installed():
        model = weights.load(name)
        assert len(model.levels) >= 3
        assert weights.by_hash(model.sha256) is model
        again = model_by_hash(model.sha256, (1, 3))
        assert again.trained_levels == (1, 3)
        assert load_model(name, None).trained_levels == tuple(sorted(model.levels))
    assert load_model("without-gatorsense", None).sha256 == weights.load("v5-without-gatorsense").sha256
    assert load_model("plain", None).trained_levels == ()
    assert model_by_hash("", ()).sha256 == ""
    with pytest.raises(ModelMissing):
        load_model("v0", None)
    with pytest.raises(ModelMissing):
        model_by_hash("0" * 64, ())


def test_held_out_scenes_are_not_among_the_data_of_their_models():
    folder = weights.files("palimpsest.codec") / "weights"
    for name in weights.installed():
        card = json.loads((folder / f"{name}.json").read_text())
        assert card["sha256"] == weights.load(name).sha256
        learnt = {item["name"] for item in card["data"]}
        held_out = name.partition("-without-")[2].replace("-", "_")
        assert learnt >= {"indian_pines", "gatorsense"} - {held_out}
        assert held_out not in learnt


@pytest.mark.parametrize(
    "data", [b"", b"\x08\0\0\0\0\0\0\0{}", b"\xff" * 16, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{x"]
)
def test_files_that_are_not_weights_are_refused(data):
    with pytest.raises(FormatError):
        weights.parse(data, "broken")


def test_every_cut_of_a_weights_file_is_refused():
    data = (weights.files("palimpsest.codec") / "weights" / "v2.safetensors").read_bytes()
    for end in (5, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(FormatError):
            weights.parse(data[:end], "cut")


def test_a_first_state_survives_its_packing_and_decodes():
    state = MixerState.neutral()
    rng = np.random.default_rng(3)
    stack = np.rint(rng.laplace(0, 3, (3, 24, 24))).astype(np.int32)
    ChunkEncoder(state, stack.size).code(stack, level=1)
    start = first_state.unpacked(first_state.packed(state))
    encoder = ChunkEncoder(start.copy(), stack.size)
    encoder.code(stack, level=1)
    data = encoder.finish()
    np.testing.assert_array_equal(ChunkDecoder(start.copy(), data).read(stack.shape, level=1), stack)
    fresh = ChunkEncoder(MixerState.neutral(), stack.size)
    fresh.code(stack, level=1)
    assert len(data) < len(fresh.finish())
    with pytest.raises(FormatError):
        first_state.unpacked({"mixer.expected": np.zeros(3, np.int32)})


@pytest.mark.slow
def test_a_short_training_writes_weights_and_a_scorecard(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from palimpsest_pipelines import train_codec
    from palimpsest_pipelines.codec_training import basis_training, foresight_training, scorecard, training_data
    from palimpsest_pipelines.codec_training.foresight_training import ForesightTraining

    monkeypatch.setattr(training_data, "MADE", (("mixed", "vnir"),))
    monkeypatch.setattr(training_data, "IMAGES", ())
    monkeypatch.setattr(basis_training, "KINDS", ("mixed",))
    monkeypatch.setattr(basis_training, "SENSORS", ("vnir",))
    monkeypatch.setattr(basis_training, "MADE_SIDE", 24)
    monkeypatch.setattr(basis_training, "COMPONENTS", (4, 8))
    monkeypatch.setattr(foresight_training, "SCENE_STEPS_DB", (44.0,))
    monkeypatch.setattr(scorecard, "LEARNING_DB", (44.0,))
    monkeypatch.setattr(scorecard, "PLACING_DB", (44.0,))
    monkeypatch.setattr(scorecard, "SCENE_LADDER_DB", (38.0, 41.0, 44.0, 47.0))
    settings = train_codec.CodecTraining(
        name="tiny", levels=2, hidden=1, columns=(1,), warm_up=2, separate=2, joint=3, batch=2, crop=32, device="cpu",
        foresight=ForesightTraining(units=4, later=4, steps=3, batch=64),
    )
    cards = [train_codec.train(settings, None, tmp_path / str(run), lambda message: None) for run in range(2)]
    assert cards[0]["sha256"] == cards[1]["sha256"]
    model = weights.parse((tmp_path / "0" / "tiny.safetensors").read_bytes(), "tiny")
    assert sorted(model.levels) == [1, 2]
    assert model.foresight["foresight.first"].shape == (38, 4)
    assert cells.unpacked(model.cells).any()
    assert json.loads((tmp_path / "0" / "tiny.json").read_text())["data"][0]["kind"] == "made"
