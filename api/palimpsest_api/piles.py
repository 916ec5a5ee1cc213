"""What jobs do with several cubes: put a pile in order, and restore the cubes of one place together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from palimpsest_api import artifacts
from palimpsest_api.desk import Desk, cite, load_release
from palimpsest_api.processes import OrganiseRequest, RestoreGroupRequest

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from palimpsest.catalogue.tables import Artifact
    from palimpsest.cubes import Cube


def organise(desk: Desk) -> Any:  # noqa: ANN401 - a callable that ends the job
    """A pile to its groups; members by the ids that were given."""
    from palimpsest.restoration import organiser

    request = OrganiseRequest.model_validate(desk.lease.request)
    desk.say(5, "opening the pile")
    cubes = [desk.open(name) for name in request.inputs]
    desk.say(60, "looking who belongs together")
    groups = organiser.told(organiser.organise(cubes), request.inputs)
    return lambda session: {"cubes": len(cubes), "groups": groups}


def restore_group(desk: Desk) -> Any:  # noqa: ANN401 - a callable that ends the job
    """Cubes or streams to restored cubes, in the order given, each with its group and its provenance."""
    from palimpsest.provenance.together import pile_settings
    from palimpsest.restoration import group, organiser

    request = RestoreGroupRequest.model_validate(desk.lease.request)
    desk.say(5, "opening the pile")
    sources = [desk.artifact(name) for name in request.inputs]
    given = request.masks or [None] * len(sources)
    # A stream is never searched: it carries the mask that was made before coding.
    searched = [mask is None and source.kind != artifacts.STREAM for mask, source in zip(given, sources, strict=True)]
    cubes = [_opened(desk, source, is_searched=one) for source, one in zip(sources, searched, strict=True)]
    masks = [desk.mask(name, cube) for name, cube in zip(given, cubes, strict=True)]
    lossy = [desk.is_lossy(source) for source in sources]
    knowledge = load_release(request.knowledge)
    desk.say(20, "restoring each with its group")
    results = group.restore_group(
        cubes, knowledge=knowledge, masks=masks, parts_left_out=tuple(request.leave_out), edges=request.edges,
        are_decoded=lossy, infer_opaque=request.infer_opaque, is_denoised=request.denoise,
    )
    desk.say(85, "keeping the restored cubes")
    files = [
        desk.keep_cube(done.restored, f"{source.name}-restored") for source, done in zip(sources, results, strict=True)
    ]
    pile = pile_settings([source.id for source in sources], cubes, [mask is not None for mask in masks], searched)
    groups = organiser.told(organiser.organise(cubes), request.inputs)

    def finish(session: Session) -> dict[str, Any]:
        cite(session, knowledge, results[0].model)
        told = []
        for number, (source, done) in enumerate(zip(sources, results, strict=True)):
            settings = {
                **request.settings(), "is_decoded": lossy[number], "mask": masks[number] is not None,
                "searched": searched[number], "group": pile, "number": number,
            }
            kept = desk.keep_restored(session, source, done, files[number], settings, full=request.full)
            told.append({"name": source.name, "group": done.report["group"], **kept})
        return {"groups": groups, "cubes": told}

    return finish


def _opened(desk: Desk, source: Artifact, *, is_searched: bool) -> Cube:
    from palimpsest.restoration.defects.defect_search import search

    cube = artifacts.open_cube(desk.service, source)
    return search(cube).marked().cube if is_searched else cube
