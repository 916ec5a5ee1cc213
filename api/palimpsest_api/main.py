"""The application factory: ``uvicorn --factory palimpsest_api.main:create_app``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from sqlalchemy import func, select

from palimpsest import __version__
from palimpsest.catalogue.tables import Job
from palimpsest_api import guard, problems
from palimpsest_api.auth import ServiceHere
from palimpsest_api.routes import artifacts, audit, cubes, jobs, releases, restorations, uploads
from palimpsest_api.service import open_service
from palimpsest_api.settings import Settings

PAGE = {
    "": ("index.html", "text/html; charset=utf-8"), "app.js": ("app.js", "text/javascript"),
    "view.js": ("view.js", "text/javascript"), "style.css": ("style.css", "text/css"),
}


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service, on the settings given or on those of the environment."""
    service = open_service(settings or Settings())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.database.close()

    app = FastAPI(
        title="Palimpsest", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        summary="Hyperspectral cubes compressed by what they mean, restored by what is known, explained voxel by voxel",
    )
    app.state.service = service
    problems.install(app)
    for noun in (uploads, cubes, artifacts, jobs, restorations, releases, audit):
        app.include_router(noun.router)
    _health(app)
    _page(app)
    app.add_middleware(guard.Guard, hosts=service.settings.hosts)
    return app


def _health(app: FastAPI) -> None:
    @app.get("/healthz", tags=["service"])
    def health(service: ServiceHere) -> dict[str, Any]:
        """Whether the database answers, and how many jobs wait or run."""
        with service.database.reading() as session:
            query = select(Job.status, func.count()).where(Job.status.in_(("accepted", "running")))
            counts = session.execute(query.group_by(Job.status)).all()
            return {"status": "ok", "version": __version__, "jobs": {row[0]: row[1] for row in counts}}


def _page(app: FastAPI) -> None:
    folder = files("palimpsest_api") / "page"
    for name, (file_name, media_type) in PAGE.items():
        content = (folder / file_name).read_bytes()

        def page(content: bytes = content, media_type: str = media_type) -> Response:
            return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

        app.add_api_route(f"/{name}", page, include_in_schema=False, methods=["GET"])
