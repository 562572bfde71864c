"""All services of one server: how they are built on each other, in one value that the layers above are given."""

from dataclasses import dataclass

from baton.core.limits import Limits
from baton.core.ports import BridgeLink, Clock, Publisher, Store
from baton.services.attachments import Attachments
from baton.services.bridges import Bridges
from baton.services.cleaning import Cleaning
from baton.services.conversations import Conversations
from baton.services.deadlines import Deadlines
from baton.services.dispatch import Dispatcher
from baton.services.history import History
from baton.services.intake import Intake
from baton.services.lanes import Lanes
from baton.services.projects import Projects
from baton.services.prompts import Prompts
from baton.services.runs import Runs
from baton.services.snapshots import Snapshots
from baton.services.stats import Stats
from baton.services.transfer import Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What people can ask of Baton; below the line, what runs it."""

    conversations: Conversations
    snapshots: Snapshots
    runs: Runs
    prompts: Prompts
    projects: Projects
    attachments: Attachments
    transfer: Transfer
    history: History
    bridges: Bridges
    stats: Stats
    store: Store
    link: BridgeLink
    clock: Clock
    limits: Limits
    # for app and jobs
    lanes: Lanes
    intake: Intake
    dispatcher: Dispatcher
    deadlines: Deadlines
    cleaning: Cleaning


def build_services(*, store: Store, publisher: Publisher, link: BridgeLink, clock: Clock, limits: Limits) -> Services:
    """Every service, on one store, one publisher and one set of bridges."""
    lanes = Lanes(store, publisher, link, clock, limits)
    dispatcher = Dispatcher(lanes, link, clock, limits)
    conversations = Conversations(store=store, lanes=lanes, link=link, dispatcher=dispatcher)
    return Services(
        conversations=conversations,
        snapshots=Snapshots(store=store, lanes=lanes, limits=limits),
        runs=Runs(store=store, lanes=lanes, link=link, dispatcher=dispatcher, limits=limits),
        prompts=Prompts(store=store, lanes=lanes),
        projects=Projects(store=store, clock=clock),
        attachments=Attachments(store=store, clock=clock, limits=limits),
        transfer=Transfer(store=store, publisher=publisher, clock=clock, limits=limits),
        history=History(store=store, publisher=publisher, link=link, clock=clock, limits=limits),
        bridges=Bridges(store=store, link=link, limits=limits),
        stats=Stats(store=store),
        store=store,
        link=link,
        clock=clock,
        limits=limits,
        lanes=lanes,
        intake=Intake(store=store, lanes=lanes, link=link, dispatcher=dispatcher, clock=clock, limits=limits),
        dispatcher=dispatcher,
        deadlines=Deadlines(lanes=lanes, link=link, dispatcher=dispatcher, clock=clock, limits=limits),
        cleaning=Cleaning(store=store, conversations=conversations, clock=clock, limits=limits),
    )
