"""Service with disk errors, clock changes and concurrent enrollments."""

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

import whichgen.service.http_app as app_module
from whichgen.models.saved_model import load_model
from whichgen.service.settings import Settings

from .conftest import ORIGINS, encode_png, upload

Start = Callable[..., TestClient]


@pytest.mark.parametrize("jump", [-365 * 86400, 365 * 86400])
def test_the_rate_limit_survives_a_change_of_the_clock(
    service: Start, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    client = service(Settings(limits=replace(Settings().limits, per_minute=3)))
    assert [client.get("/model").status_code for _ in range(4)] == [200, 200, 200, 429]
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    # The count restarts with the same limit.
    assert [client.get("/model").status_code for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_write_error_is_reported_without_the_path(
    service: Start,
    images: list[Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), "/private/folder")

    client = service(Settings(enroll_to=tmp_path))
    files = upload(encode_png(images[0]))
    with monkeypatch.context() as patch:
        patch.setattr(app_module, "save_model", fail)
        response = client.post("/enroll", data={"name": "new"}, files=files)
        assert response.status_code == (507 if number == errno.ENOSPC else 500)
        assert os.strerror(number) in response.json()["detail"]
        assert "private" not in response.text
        assert client.get("/model").json()["origins"] == list(ORIGINS)
    assert client.post("/attribute", files=files).status_code == 200
    assert client.post("/enroll", data={"name": "new"}, files=files).status_code == 200


@pytest.fixture
def enrollment(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Return two events: the first is set when an enrollment starts; it waits for the second."""
    started, proceed = threading.Event(), threading.Event()
    original = app_module.enroll_images

    def enroll_images(*arguments: Any, **options: Any) -> Any:
        started.set()
        assert proceed.wait(20)
        return original(*arguments, **options)

    monkeypatch.setattr(app_module, "enroll_images", enroll_images)
    return started, proceed


def test_concurrent_enrollments_extend_the_same_model(
    service: Start,
    noise: Callable[..., Image.Image],
    tmp_path: Path,
    enrollment: tuple[threading.Event, threading.Event],
) -> None:
    client = service(Settings(enroll_to=tmp_path))
    started, proceed = enrollment
    new = {n: upload(encode_png(noise(900 + i, (64, 48), tint=9 + i))) for i, n in enumerate("ab")}
    with ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, "/enroll", data={"name": "a"}, files=new["a"])
        assert started.wait(20)
        second = pool.submit(client.post, "/enroll", data={"name": "b"}, files=new["b"])
        same_name = pool.submit(client.post, "/enroll", data={"name": "a"}, files=new["b"])
        proceed.set()
        statuses = [request.result().status_code for request in (first, second, same_name)]
    assert statuses == [200, 200, 409]
    assert load_model(tmp_path / "b").origins == (*ORIGINS, "a", "b")
    assert client.get("/model").json()["origins"] == [*ORIGINS, "a", "b"]


def test_an_answer_names_the_model_that_computed_it(
    service: Start,
    images: list[Image.Image],
    noise: Callable[..., Image.Image],
    tmp_path: Path,
    enrollment: tuple[threading.Event, threading.Event],
) -> None:
    client = service(Settings(enroll_to=tmp_path))
    old = client.get("/model").json()["digest"]
    started, proceed = enrollment
    new = upload(encode_png(noise(900, (64, 48), tint=9)))
    with ThreadPoolExecutor() as pool:
        response = pool.submit(client.post, "/enroll", data={"name": "new"}, files=new)
        assert started.wait(20)
        requests = []
        for image in images[:3]:
            # The requests wait for the model thread, which enrolls an origin.
            requests.append(pool.submit(client.post, "/attribute", files=upload(encode_png(image))))
            time.sleep(0.2)
        proceed.set()
        assert response.result().status_code == 200
    for request in requests:
        answers = request.result().json()
        origins = set(answers["images"][0]["probabilities"])
        assert origins == ({*ORIGINS} if answers["model"] == old else {*ORIGINS, "new"})
