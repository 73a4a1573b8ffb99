"""The host memory that copies of async saves may take."""

from __future__ import annotations

from pathlib import Path

import pytest

import dcpcpp
from support.async_states import IN_BACKGROUND, NUMEL, state_of, value_in
from support.held_files import held_files

pytestmark = pytest.mark.usefixtures("no_save_is_left")


def test_a_state_that_is_larger_than_the_budget_is_saved_whole(tmp_path: Path) -> None:
    stager = dcpcpp.DefaultStager(IN_BACKGROUND, max_staging_bytes=NUMEL)
    state = state_of(3.0)
    response = dcpcpp.async_save(state, checkpoint_id=tmp_path / "c", async_stager=stager)
    response.wait_staged()
    state["w"].fill_(4.0)
    state["t"].fill_(4.0)
    response.upload_completion.result()
    assert value_in(tmp_path / "c") == 3.0


@pytest.mark.parametrize("ranks", [1, 10**9])
def test_without_a_budget_a_rank_takes_its_share_of_the_memory_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranks: int
) -> None:
    """Of a billion ranks on this machine each has less than a page for its copies."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    stager = dcpcpp.DefaultStager(IN_BACKGROUND)
    stager.close()  # gives back what earlier saves have left
    with held_files() as held:
        response = dcpcpp.async_save(
            state_of(3.0), checkpoint_id=f"held://{tmp_path}/c", async_stager=stager
        )
        held.wait_until_begun()
        if ranks == 1:
            response.wait_staged()
        else:
            assert not response.staging_completion.done()
        held.release()
        response.upload_completion.result()
    assert value_in(tmp_path / "c") == 3.0
