"""All services of one server: how they are built on each other, in one value that the layers above are given."""

from collections.abc import Mapping
from dataclasses import dataclass

from baton.core.commands import AccountRole
from baton.core.limits import Limits
from baton.core.ports import BridgeLink, Clock, Publisher, Store
from baton.services.asking import Asking
from baton.services.attachments import Attachments
from baton.services.bridges import Bridges
from baton.services.cleaning import Cleaning
from baton.services.conversations import Conversations
from baton.services.deadlines import Deadlines
from baton.services.dispatch import Dispatcher
from baton.services.expiry import Expiry
from baton.services.history import History
from baton.services.intake import Intake
from baton.services.judging import Judge
from baton.services.lanes import Lanes
from baton.services.logins import Logins
from baton.services.marks import Marks
from baton.services.outages import Outages
from baton.services.ownership import Ownership
from baton.services.permissions import Permissions
from baton.services.projects import Projects
from baton.services.prompts import Prompts
from baton.services.runs import Runs
from baton.services.silence import Silence
from baton.services.snapshots import Snapshots
from baton.services.stats import Stats
from baton.services.steady import SteadyClock
from baton.services.tokens import Tokens
from baton.services.trail import Trail
from baton.services.transfer import Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What people can ask of Baton; below the line, what runs it."""

    conversations: Conversations
    marks: Marks
    snapshots: Snapshots
    runs: Runs
    prompts: Prompts
    permissions: Permissions
    projects: Projects
    attachments: Attachments
    transfer: Transfer
    history: History
    bridges: Bridges
    stats: Stats
    tokens: Tokens
    logins: Logins
    trail: Trail
    store: Store
    link: BridgeLink
    clock: Clock
    limits: Limits
    # for app and jobs
    lanes: Lanes
    intake: Intake
    dispatcher: Dispatcher
    deadlines: Deadlines
    silence: Silence
    cleaning: Cleaning


def build_services(
    *,
    store: Store,
    publisher: Publisher,
    link: BridgeLink,
    clock: Clock,
    limits: Limits,
    given_tokens: Mapping[AccountRole, str] | None = None,
) -> Services:
    """Every service, on one store, one publisher and one set of bridges.

    `given_tokens`: the digests of those that settings and files give (`services.tokens`).
    """
    steady = SteadyClock(clock)
    lanes = Lanes(store, publisher, link, steady, limits)
    dispatcher = Dispatcher(lanes, link, steady, limits)
    judge = Judge(lanes, link, limits)
    asking = Asking(judge, limits)
    ownership = Ownership(store, lanes)
    trail = Trail(store, clock)
    tokens = Tokens(store=store, clock=clock, given=given_tokens or {}, trail=trail)
    attachments = Attachments(store=store, clock=clock, limits=limits)
    prompts = Prompts(store=store, lanes=lanes, ownership=ownership, judge=judge, asking=asking, limits=limits)
    expiry = Expiry(
        store=store, lanes=lanes, dispatcher=dispatcher, watchers=prompts.watchers, clock=steady, limits=limits
    )
    conversations = Conversations(
        store=store,
        lanes=lanes,
        ownership=ownership,
        trail=trail,
        dispatcher=dispatcher,
        judge=judge,
        asking=asking,
        limits=limits,
    )
    return Services(
        conversations=conversations,
        marks=Marks(store=store, conversations=conversations, publisher=publisher),
        snapshots=Snapshots(store=store, lanes=lanes, ownership=ownership, limits=limits),
        runs=Runs(
            store=store,
            lanes=lanes,
            ownership=ownership,
            trail=trail,
            link=link,
            dispatcher=dispatcher,
            judge=judge,
            attachments=attachments,
            limits=limits,
        ),
        prompts=prompts,
        permissions=Permissions(store=store, lanes=lanes, ownership=ownership, trail=trail, asking=asking, clock=clock),
        projects=Projects(store=store, trail=trail, publisher=publisher, clock=clock),
        attachments=attachments,
        transfer=Transfer(
            store=store, ownership=ownership, trail=trail, publisher=publisher, clock=clock, limits=limits
        ),
        history=History(store=store, publisher=publisher, link=link, clock=clock, limits=limits),
        bridges=Bridges(store=store, ownership=ownership, link=link, limits=limits),
        stats=Stats(store=store, clock=clock),
        tokens=tokens,
        logins=Logins(store=store, tokens=tokens, trail=trail, clock=clock),
        trail=trail,
        store=store,
        link=link,
        clock=clock,
        limits=limits,
        lanes=lanes,
        intake=Intake(
            store=store, lanes=lanes, link=link, dispatcher=dispatcher, asking=asking, clock=steady, limits=limits
        ),
        dispatcher=dispatcher,
        deadlines=Deadlines(
            lanes=lanes,
            link=link,
            dispatcher=dispatcher,
            expiry=expiry,
            outages=Outages(store=store, lanes=lanes, clock=steady),
            clock=steady,
            limits=limits,
        ),
        silence=Silence(lanes=lanes, link=link, clock=steady, limits=limits),
        cleaning=Cleaning(store=store, conversations=conversations, clock=clock, limits=limits),
    )
