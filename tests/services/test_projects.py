"""Projects: made, changed, deleted, and what is not there."""

import pytest

from baton.core.commands import UNSET, CreateProject, PatchProject
from baton.core.errors import NotFound
from baton.core.events import ProjectDeleted, ProjectUpdated
from baton.core.ids import ProjectId, new_object_id
from baton.services.projects import Projects
from baton.services.trail import Trail
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA, BEN, Browser


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def projects(store: SqliteStore, browser: Browser, clock: FakeClock) -> Projects:
    return Projects(store=store, trail=Trail(store, clock), publisher=browser, clock=clock)


async def test_a_project_is_what_was_asked_for_and_is_found_by_everybody(projects: Projects, clock: FakeClock) -> None:
    made = await projects.create(ANNA, CreateProject(name="Garden", working_directory="/srv/garden"))
    assert (made.name, made.working_directory, made.user_id) == ("Garden", "/srv/garden", "anna")
    assert made.created_at == made.updated_at == clock.now()
    assert await projects.get(BEN, made.id) == made


async def test_projects_are_listed_newest_first(projects: Projects, clock: FakeClock) -> None:
    first = await projects.create(ANNA, CreateProject(name="first"))
    clock.advance(1)
    second = await projects.create(BEN, CreateProject(name="second"))
    assert list(await projects.page(ANNA)) == [second, first]


async def test_a_patch_changes_what_it_names_and_nothing_else(projects: Projects, clock: FakeClock) -> None:
    made = await projects.create(ANNA, CreateProject(name="Garden", working_directory="/srv/garden"))
    clock.advance(5)
    renamed = await projects.patch(ANNA, made.id, PatchProject(name="Park"))
    assert (renamed.name, renamed.working_directory) == ("Park", "/srv/garden")
    assert renamed.updated_at == clock.now() > made.updated_at
    assert await projects.get(ANNA, made.id) == renamed


async def test_a_patch_takes_the_folder_away_with_null(projects: Projects) -> None:
    made = await projects.create(ANNA, CreateProject(name="Garden", working_directory="/srv/garden"))
    patched = await projects.patch(ANNA, made.id, PatchProject(name=UNSET, working_directory=None))
    assert (patched.name, patched.working_directory) == ("Garden", None)


async def test_an_empty_patch_changes_nothing(projects: Projects, clock: FakeClock) -> None:
    made = await projects.create(ANNA, CreateProject(name="Garden"))
    clock.advance(5)
    assert await projects.patch(ANNA, made.id, PatchProject()) == made


async def test_a_deleted_project_is_gone(projects: Projects) -> None:
    made = await projects.create(ANNA, CreateProject(name="Garden"))
    await projects.delete(ANNA, made.id)
    assert list(await projects.page(ANNA)) == []
    with pytest.raises(NotFound):
        await projects.delete(ANNA, made.id)


async def test_what_is_not_there_is_not_found(projects: Projects) -> None:
    unknown = ProjectId(new_object_id())
    with pytest.raises(NotFound):
        await projects.get(ANNA, unknown)
    with pytest.raises(NotFound):
        await projects.patch(ANNA, unknown, PatchProject(name="x"))


async def test_everybody_is_told_what_became_of_a_project_and_nothing_twice(
    projects: Projects, browser: Browser
) -> None:
    made = await projects.create(ANNA, CreateProject(name="Garden"))
    await projects.patch(ANNA, made.id, PatchProject())
    renamed = await projects.patch(ANNA, made.id, PatchProject(name="Park"))
    await projects.delete(ANNA, made.id)
    assert browser.events == [ProjectUpdated(made), ProjectUpdated(renamed), ProjectDeleted(made.id)]
