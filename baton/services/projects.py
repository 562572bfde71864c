"""Projects: named folders of conversations."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from baton.core.commands import UNSET, CreateProject, Identity, PatchProject
from baton.core.errors import Forbidden, NotFound
from baton.core.events import ProjectDeleted, ProjectUpdated
from baton.core.ids import ProjectId, new_object_id
from baton.core.models import Project
from baton.core.permissions import Action
from baton.core.ports import Clock, Publisher, Store
from baton.services.ownership import owns
from baton.services.trail import Trail

logger = logging.getLogger(__name__)


class Projects:
    """See the module. Everybody sees every project, and hears when one changes; who made it, and admins, change it."""

    def __init__(self, *, store: Store, trail: Trail, publisher: Publisher, clock: Clock) -> None:
        self._trail = trail
        self._store = store
        self._publisher = publisher
        self._clock = clock

    async def create(self, who: Identity, command: CreateProject) -> Project:
        """Make one. Two may have the same name."""
        now = self._clock.now()
        project = Project(
            id=ProjectId(new_object_id()),
            name=command.name,
            working_directory=command.working_directory,
            user_id=who.user_id,
            created_at=now,
            updated_at=now,
        )
        await self._put(project)
        logger.info("project created", extra={"action": "project.created", "projectId": project.id})
        return project

    async def get(self, who: Identity, project_id: ProjectId) -> Project:
        """Raises NotFound."""
        project = await self._store.project(project_id)
        if project is None:
            raise NotFound("There is no such project")
        return project

    async def page(self, who: Identity) -> Sequence[Project]:
        """Newest first, at most 1,000."""
        return await self._store.projects()

    async def patch(self, who: Identity, project_id: ProjectId, command: PatchProject) -> Project:
        """Change name or folder. Of two changes at once the later one stands, whole. Raises NotFound, Forbidden."""
        project = await self._own(who, project_id)
        changed = project
        if command.name is not UNSET:
            changed = replace(changed, name=command.name)
        if command.working_directory is not UNSET:
            changed = replace(changed, working_directory=command.working_directory)
        if changed != project:
            changed = replace(changed, updated_at=self._clock.now())
            await self._put(changed)
        return changed

    async def delete(self, who: Identity, project_id: ProjectId) -> None:
        """Its conversations stay, without a project. Raises NotFound, Forbidden."""
        project = await self._own(who, project_id)
        if not await self._store.delete_project(project_id):
            raise NotFound("There is no such project")
        self._publisher.publish([ProjectDeleted(project_id)])
        logger.info("project deleted", extra={"action": "project.deleted", "projectId": project_id})
        await self._trail.note(who, Action.PROJECT_DELETED, subject=f"{project_id} {project.name}")

    async def _own(self, who: Identity, project_id: ProjectId) -> Project:
        """Forbidden and not NotFound: that it exists is no secret, everybody lists it."""
        project = await self.get(who, project_id)
        if not owns(who, project.user_id):
            raise Forbidden("Who made the project, or an admin, changes it")
        return project

    async def _put(self, project: Project) -> None:
        await self._store.put_project(project)
        self._publisher.publish([ProjectUpdated(project)])
