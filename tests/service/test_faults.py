"""The service where something goes wrong around it: disks, clocks, two at a time."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

import whichgen.service.app as app_module
import whichgen.service.uploads as uploads_module
from whichgen.models.saved_model import load_model
from whichgen.service.settings import Settings

from .conftest import ORIGINS, png, upload

Start = Callable[..., TestClient]


@pytest.mark.parametrize("jump", [-365 * 86400, 365 * 86400])
def test_a_clock_that_is_set_locks_nobody_out(
    service: Start, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    client = service(Settings(limits=replace(Settings().limits, per_minute=3)))
    assert [client.get("/model").status_code for _ in range(4)] == [200, 200, 200, 429]
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    # What was counted is forgotten; the limit is not.
    assert [client.get("/model").status_code for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_one_sentence(
    service: Start,
    images: list[Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), "/a/place/that/is/none/of/a/client's/business")

    client = service(Settings(enroll_to=tmp_path / "models", keep_uploads=tmp_path / "kept"))
    asked = upload(png(images[0]))
    with monkeypatch.context() as patch:
        patch.setattr(uploads_module, "replace_file", failing)
        patch.setattr(app_module, "save_model", failing)
        for response in (
            client.post("/attribute", files=asked),
            client.post("/report", files=asked),
            client.post("/enroll", data={"name": "new"}, files=asked),
        ):
            assert response.status_code == (507 if number == errno.ENOSPC else 500)
            assert os.strerror(number) in response.json()["detail"]
            assert "business" not in response.text
        assert client.get("/model").json()["origins"] == list(ORIGINS)
    assert client.post("/attribute", files=asked).status_code == 200
    assert client.post("/enroll", data={"name": "new"}, files=asked).status_code == 200


def test_of_two_who_enrol_at_a_time_one_is_told_to_come_again(
    service: Start,
    noise: Callable[..., Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = service(Settings(enroll_to=tmp_path))
    begun, go_on = threading.Event(), threading.Event()
    original = app_module.enroll_images

    def held(*arguments: Any, **options: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return original(*arguments, **options)

    monkeypatch.setattr(app_module, "enroll_images", held)
    new = {n: upload(png(noise(900 + i, (64, 48), tint=9 + i))) for i, n in enumerate("ab")}
    with ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, "/enroll", data={"name": "a"}, files=new["a"])
        assert begun.wait(20)
        second = client.post("/enroll", data={"name": "b"}, files=new["b"])
        go_on.set()
        assert first.result().status_code == 200
    assert second.status_code == 503 and int(second.headers["retry-after"]) >= 1
    assert client.post("/enroll", data={"name": "b"}, files=new["b"]).status_code == 200
    # The one that came later knows both.
    assert load_model(tmp_path / "b").origins == (*ORIGINS, "a", "b")
    assert client.get("/model").json()["origins"] == [*ORIGINS, "a", "b"]


def test_an_answer_names_the_model_that_gave_it(
    service: Start,
    images: list[Image.Image],
    noise: Callable[..., Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images that wait for their answer while an origin is enrolled."""
    client = service(Settings(enroll_to=tmp_path))
    old = client.get("/model").json()["digest"]
    begun, go_on = threading.Event(), threading.Event()
    original = app_module.enroll_images

    def held(*arguments: Any, **options: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return original(*arguments, **options)

    monkeypatch.setattr(app_module, "enroll_images", held)
    new = upload(png(noise(900, (64, 48), tint=9)))
    with ThreadPoolExecutor() as pool:
        enrolled = pool.submit(client.post, "/enroll", data={"name": "new"}, files=new)
        assert begun.wait(20)
        asked = []
        for image in images[:3]:
            # The first waits for the one thread that computes, which enrols; the others for it.
            asked.append(pool.submit(client.post, "/attribute", files=upload(png(image))))
            time.sleep(0.2)
        go_on.set()
        assert enrolled.result().status_code == 200
    for request in asked:
        found = request.result().json()
        knows = set(found["images"][0]["probabilities"])
        assert knows == ({*ORIGINS} if found["model"] == old else {*ORIGINS, "new"})
