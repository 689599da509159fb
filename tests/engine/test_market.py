"""Previews that know Runpod's stock, and what the plan costs."""

import json
import re

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

PROGRAM = """
import os
import pulumi
from pulumi_visgate import Endpoint, NetworkVolume, WarmPool

volume = NetworkVolume("cache", size_gb=100, data_center="EU-RO-1")
endpoint = Endpoint(
    "sd", image="acme/worker:1", gpu_pools=["ADA_24"], data_center_ids=["EU-RO-1"], network_volume_ids=[volume.id],
    min_workers=int(os.environ.get("WORKERS", "1")),
)
pool = WarmPool("pool", model_id="acme/tiny", image="acme/worker:1", gpu_pools=["AMPERE_24"])
pulumi.export("usd", pulumi.Output.all(volume.hourly_floor_usd, endpoint.hourly_floor_usd, pool.monthly_floor_usd))
"""
GONE = "nothing of ADA_24 is in stock in EU-RO-1. Other data centers: "


def test_stock_and_cost_are_in_the_preview(stack: Stack, runpod_emulator: RunpodEmulator) -> None:
    stack.write(PROGRAM)
    runpod_emulator.set_stock("ADA_24", "EU-RO-1")
    preview = stack.preview()
    assert preview.text.count(f"sd (Endpoint): data_center_ids: {GONE}EU-CZ-1 (HIGH)") == 1, preview.text
    assert "hourly_ceiling_usd : 3.3" in preview.text
    # One list for all: of what is on offer, and of who has the names already.
    lists = ("listGpuTypes", "listDataCenters", "listEndpoints", "listNetworkVolumes")
    assert runpod_emulator.requests() == dict.fromkeys(lists, 1)
    refused = stack.preview(ok=False, VISGATE_MARKET="fail")
    assert refused.code != 0
    assert GONE in refused.text
    assert "property data_center_ids" in refused.text

    stack.up()
    assert json.loads(stack.run("stack", "output", "usd", "--json").text) == [0.009589, 1.1, 0]

    _a_change_shows_its_price(stack, runpod_emulator)
    _a_catalog_that_fails_is_one_line(stack, runpod_emulator)


def _a_change_shows_its_price(stack: Stack, emulator: RunpodEmulator) -> None:
    emulator.set_stock("ADA_24", "EU-RO-1", "LOW")
    emulator.reset_requests()
    shown = stack.preview(WORKERS="2", VISGATE_MARKET="fail").text  # low stock never fails
    assert "sd (Endpoint): network_volume_ids: there is only LOW stock of ADA_24 in EU-RO-1" in shown
    assert re.search(r"~ hourly_floor_usd *: 1\.1 => 2\.2", shown), shown
    asked = {"listGpuTypes": 1, "listDataCenters": 1, "listNetworkVolumes": 1}
    assert emulator.requests() == asked


def _a_catalog_that_fails_is_one_line(stack: Stack, emulator: RunpodEmulator) -> None:
    emulator.fault("status", operation="listGpuTypes", status=400, times=None)
    shown = stack.preview(WORKERS="2").text
    assert shown.count("Runpod's catalog cannot be read: names, stock and prices are not checked.") == 1, shown
    assert "min_workers" in shown
