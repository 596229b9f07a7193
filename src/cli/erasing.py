"""`swarmstate erase` and `swarmstate sweep`: what must not be kept, and what nobody needs."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from src.api.ids import new_id
from src.api.lifespan import runtime_from_environment
from src.api.logs import configure_logs
from src.api.settings import ApiSettings
from src.cli.failures import check_settings, explained, fail
from src.state.clock import SystemClock
from src.state.models import Durability
from src.state.records.blobs import open_blobs
from src.state.records.files import Files
from src.state.settings import StateSettings
from src.state.tiers.engine import open_engine
from src.swarm.files import FileService, Swept
from src.swarm.shapes.commands import Delete
from src.swarm.transfers import Transfers

ERASE_EXAMPLE = "[bold]Example[/bold]\n\nswarmstate erase c-1 --yes"
SWEEP_EXAMPLE = "[bold]Example[/bold]\n\nSWARMSTATE_BLOBS_URL=s3://bucket/files swarmstate sweep"


def erase(
    conversation_id: Annotated[str, typer.Argument(help="The conversation.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a conversation and remove its log, files and copies; only its id stays taken.

    With the settings of a server: it joins the others for the time that it takes.
    """
    configure_logs()
    if not yes:
        typer.confirm(f"Erase {conversation_id}? There is no way back", abort=True)
    with explained():
        check_settings()
        erased = asyncio.run(_erase(conversation_id))
    Console().print(f"erased {erased} events of {conversation_id}", style="green")


async def _erase(conversation_id: str) -> int:
    async with runtime_from_environment(ApiSettings()) as runtime:
        version = None
        if await runtime.erasing.tombstone(conversation_id) is None:
            receipt = await runtime.service.submit(
                conversation_id,
                Delete(),
                key=new_id(),
                actor="operator",
                durability=Durability.LOGGED,
            )
            version = receipt.version
        return await runtime.erasing.erase(conversation_id, at_least=version)


def sweep() -> None:
    """Remove what crashes left of files: uploads that never ended, bytes that no row names.

    One of the servers does it every ten minutes anyway.
    """
    configure_logs()
    with explained():
        check_settings()
        settings = StateSettings()
        if settings.blobs_url is None:
            fail("there are no files without SWARMSTATE_BLOBS_URL; set it as for the servers")
        swept = asyncio.run(_sweep(settings, settings.blobs_url))
    told = f"removed {swept.files} files, {swept.blobs} blobs without a row, {swept.staged} halves"
    Console().print(told, style="green")


async def _sweep(settings: StateSettings, url: str) -> Swept:
    async with open_engine(settings) as engine:
        downloads = Transfers("downloads", settings.downloads)
        files = FileService(Files(engine), open_blobs(url), settings, SystemClock(), downloads)
        return await files.sweep()
