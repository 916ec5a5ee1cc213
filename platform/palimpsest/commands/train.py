"""``palimpsest train codec|restoration|identification|spared|leaves``: what is learnt, from data to scorecard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result
from palimpsest.errors import UsageError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("what", choices=("codec", "restoration", "identification", "spared", "leaves"),
                        help="what is learnt")
    parser.add_argument("--out", type=Path, default=Path("trained"), help="folder for weights and scorecard")
    parser.add_argument("--seed", type=int, default=1, help="the same seed learns the same weights")
    parser.add_argument("--scenes", type=Path, help="folder of the ENVI scenes that may teach; made scenes always do")
    parser.add_argument("--without", action="append", default=[], metavar="SCENE", help="hold a scene out")
    parser.add_argument("--name", help="of the model; codec: default v5, or v5-without-SCENE")
    parser.add_argument("--steps", type=int, help="codec: gradient steps of the joint stage; the others in proportion")
    parser.add_argument("--levels-of", default="", metavar="MODEL",
                        help="codec: take the trained levels of this installed model; only the entropy coder learns")
    parser.add_argument("--scenes-count", type=int, metavar="N", help="spared: made scenes to learn from; default 84")
    parser.add_argument("--libraries", type=Path, help="leaves: folder that holds the USGS library of AVIRIS channels")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to train")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Train and print the scorecard's summary."""
    verbs = {
        "codec": _codec, "restoration": _restoration, "identification": _identification, "spared": _spared,
        "leaves": _leaves,
    }
    # Before hours are spent: what is learnt from is there, and so is the place to write to.
    if options.scenes is not None and not options.scenes.is_dir():
        raise UsageError("no scenes to learn from", where=options.scenes, wanted="a folder of ENVI cubes")
    options.out.mkdir(parents=True, exist_ok=True)
    return verbs[options.what](options)


def _identification(options: argparse.Namespace) -> int:
    from palimpsest.atomic import write_bytes
    from palimpsest.knowledge.releases.release import load
    from palimpsest_pipelines.calibration.identification import learn

    where = options.out / "calibration.json"
    learnt = learn(load("packaged"), note)
    write_bytes(where, learnt.written().encode())
    print_result({"calibration": str(where), "strange": learnt.strange, "learnt_from": learnt.learnt_from},
                 as_json=options.json)
    return 0


def _codec(options: argparse.Namespace) -> int:
    import torch

    from palimpsest_pipelines.train_codec import CodecTraining, train

    torch.set_num_threads(options.threads)
    plain = CodecTraining()
    held_out = tuple(options.without)
    name = options.name or "-without-".join([plain.name, *(scene.replace("_", "-") for scene in held_out)])
    joint = options.steps or plain.joint
    scale = joint / plain.joint
    settings = CodecTraining(
        name=name, seed=options.seed, without=held_out, device=options.device, joint=joint,
        warm_up=max(1, round(plain.warm_up * scale)), separate=max(1, round(plain.separate * scale)),
        levels_of=options.levels_of,
    )
    card = train(settings, options.scenes, options.out, note)
    print_result(
        {
            "weights": str(options.out / f"{name}.safetensors"), "sha256": card["sha256"],
            "bd_rate_against_cdf97": card["bd_rate_against_cdf97"]["mean of scenes"],
            "bd_rate_of_foresight": card["bd_rate_of_foresight"]["mean of scenes"],
            "bd_rate_of_first_state": card["bd_rate_of_first_state"]["mean of scenes"],
        },
        as_json=options.json,
    )
    return 0


def _restoration(options: argparse.Namespace) -> int:
    import torch

    from palimpsest_pipelines.train_restoration import main

    torch.set_num_threads(options.threads)
    return main(options)


def _spared(options: argparse.Namespace) -> int:
    import torch

    from palimpsest_pipelines.restoration_training.spared_training import main

    torch.set_num_threads(options.threads)
    return main(options)


def _leaves(options: argparse.Namespace) -> int:
    from palimpsest_pipelines.calibration.leaves import main
    from palimpsest_pipelines.ontologies.library import FOLDER

    if options.libraries is None:
        raise UsageError("no library to learn from", got="no --libraries", wanted="a folder of spectral libraries")
    if not (options.libraries / FOLDER).is_dir():
        raise UsageError("no library to learn from", where=options.libraries, wanted=f"a folder {FOLDER} in it")
    return main(options)
