"""Ears: who is listened to, and stays so when what they are heard with gives up."""

from collections.abc import AsyncIterator

import pytest

from src.agents.ears import Ears
from src.agents.providers.models import Models
from src.swarm.configs.bots import ProviderNames
from tests.support.cluster_settings import eventually
from tests.support.venues import QuietFloor, QuietVenue, unheard


@pytest.fixture
async def models() -> AsyncIterator[Models]:
    async with Models().running() as models:
        yield models


async def test_person_whose_ear_gave_up_is_listened_to_anew(models: Models) -> None:
    venue = QuietVenue("zoe")
    ears = Ears(venue, QuietFloor(), unheard, models)
    lost: list[frozenset[str]] = []
    ears.on_lost = lambda: lost.append(ears.people)
    await ears.listen("zoe", ProviderNames())
    await venue.listening[0].aclose()
    await eventually(lambda: lost == [frozenset()], what="an ear that is missed")

    await ears.listen("zoe", ProviderNames())
    assert (set(ears.people), len(venue.listening)) == ({"zoe"}, 2)

    def users() -> list[int]:
        return [model.users for model in models.report("here").models]

    await eventually(lambda: users() == [1], what="one user, the first ear gave its place up")
    await ears.aclose()
    assert (users(), len(lost)) == ([0], 1)
