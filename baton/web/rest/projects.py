"""Routes for projects."""

from aiohttp import web

from baton.core.models import Project
from baton.schemas import answers
from baton.schemas.codec import to_wire
from baton.schemas.rest import CreateProjectSchema, PatchProjectSchema
from baton.web.rest.answers import answer
from baton.web.rest.route import Call, Route

_ONE = "/api/projects/{projectId}"


async def page(call: Call) -> web.Response:
    """All of them."""
    projects = await call.services.projects.page(call.who)
    return answer({"projects": [to_wire(project) for project in projects]})


async def create(call: Call) -> web.Response:
    """A new one."""
    return _said(await call.services.projects.create(call.who, call.body), status=201)


async def get(call: Call) -> web.Response:
    """One of them."""
    return _said(await call.services.projects.get(call.who, call.project_id))


async def patch(call: Call) -> web.Response:
    """With other properties."""
    return _said(await call.services.projects.patch(call.who, call.project_id, call.body))


async def delete(call: Call) -> web.Response:
    """One less."""
    await call.services.projects.delete(call.who, call.project_id)
    return answer({})


def _said(project: Project, *, status: int = 200) -> web.Response:
    return answer({"project": to_wire(project)}, status=status)


ROUTES = (
    Route(
        method="GET",
        path="/api/projects",
        handler=page,
        summary="List projects",
        tag="Projects",
        answer=answers.ProjectsAnswer,
    ),
    Route(
        method="POST",
        path="/api/projects",
        handler=create,
        summary="Make a project",
        tag="Projects",
        answer=answers.ProjectAnswer,
        status=201,
        body=CreateProjectSchema,
    ),
    Route(method="GET", path=_ONE, handler=get, summary="A project", tag="Projects", answer=answers.ProjectAnswer),
    Route(
        method="PATCH",
        path=_ONE,
        handler=patch,
        summary="Change a project",
        tag="Projects",
        answer=answers.ProjectAnswer,
        body=PatchProjectSchema,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete,
        summary="Delete a project; its conversations stay",
        tag="Projects",
        answer=answers.DoneAnswer,
    ),
)
