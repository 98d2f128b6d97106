"""The HTTP API."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from whichgen.inference.attributor import Attributor
from whichgen.inference.verdict import make_verdict
from whichgen.models.saved_model import load_model
from whichgen.service.batcher import Batcher
from whichgen.service.settings import MIB, Limits, Settings

from .conftest import EACH, ORIGINS, png, upload

Start = Callable[..., TestClient]


def limited(**limits: int) -> Settings:
    return Settings(limits=replace(Limits(), **limits))


def test_answers_are_those_of_the_attributor(
    client: TestClient, attributor: Attributor, images: list[Image.Image]
) -> None:
    contents = [png(image) for image in images[::3]]
    found = client.post("/attribute", files=upload(*contents))
    assert found.status_code == 200
    expected = attributor.attribute(contents, nearest=6)
    assert len(expected) == len(found.json()["images"]) == 8
    for i, (said, answer) in enumerate(zip(found.json()["images"], expected, strict=True)):
        assert said["name"] == f"{i}.png"
        assert said["origin"] == answer.origin
        assert said["score"] == pytest.approx(answer.score)
        assert said["probabilities"] == pytest.approx(answer.probabilities)
        assert said["verdict"]["words"] == make_verdict(answer).words
        assert [n["origin"] for n in said["nearest"]] == [n.origin for n in answer.nearest or ()]
        assert (said["format"], said["width"], said["height"]) == ("PNG", 64, 48)


def test_an_image_asked_twice_is_answered_alike_and_computed_once(
    client: TestClient, images: list[Image.Image]
) -> None:
    first, second = (
        client.post("/attribute", files=upload(png(images[0]))).json() for _ in range(2)
    )
    assert first == second
    assert "whichgen_batch_images_count 1.0" in client.get("/metrics").text


def test_what_is_no_image_has_no_answer_and_takes_none_from_others(
    client: TestClient, images: list[Image.Image]
) -> None:
    whole = png(images[0])
    files = upload(whole, b"no image", whole[:300], b"")
    good, *bad = client.post("/attribute", files=files).json()["images"]
    assert good["origin"] and not good["error"]
    for said, why in zip(bad, ("not an image", "1.png|2.png", "not an image"), strict=True):
        assert said["origin"] is None and said["verdict"]["kind"] == "unread"
        assert re.search(why, said["error"]), said["error"]


def test_the_type_is_told_by_content_and_programs_are_not_run(client: TestClient) -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    (said,) = client.post("/attribute", files=upload(eps)).json()["images"]
    assert "not an image" in said["error"]


def test_names_are_made_harmless(client: TestClient, images: list[Image.Image]) -> None:
    name = "../../etc/\u202epasswd\x07" + "x" * 400
    (said,) = client.post("/attribute", files=[("images", (name, png(images[0])))]).json()["images"]
    assert said["name"].startswith("passwd") and len(said["name"]) == 200


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"image_bytes": 500}, "MiB"),
        ({"image_pixels": 64 * 48 - 1}, "64 × 48 pixels"),
    ],
)
def test_an_image_over_a_limit_says_which(
    service: Start, images: list[Image.Image], limits: dict[str, int], why: str
) -> None:
    client = service(limited(**limits))
    (said,) = client.post("/attribute", files=upload(png(images[0]))).json()["images"]
    assert why in said["error"] and said["origin"] is None


def test_an_image_at_the_limit_is_answered(service: Start, images: list[Image.Image]) -> None:
    data = png(images[0])
    client = service(limited(image_bytes=len(data), image_pixels=64 * 48))
    (said,) = client.post("/attribute", files=upload(data)).json()["images"]
    assert said["origin"]


def test_too_many_images_are_refused(service: Start, images: list[Image.Image]) -> None:
    client = service(limited(request_images=2))
    data = png(images[0])
    assert client.post("/attribute", files=upload(data, data)).status_code == 200
    refused = client.post("/attribute", files=upload(data, data, data))
    assert refused.status_code == 413
    assert "maximum is 2" in refused.json()["detail"]


def test_a_body_over_the_limit_is_refused_stated_or_not(service: Start) -> None:
    client = service(limited(request_bytes=MIB))
    boundary = {"Content-Type": "multipart/form-data; boundary=x"}

    def stream() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        for _ in range(20):
            yield b"a" * (MIB // 10)
        yield b"\r\n--x--\r\n"

    for body in (b"".join(stream()), stream()):
        refused = client.post("/attribute", content=body, headers=boundary)
        assert refused.status_code == 413
        assert refused.json() == {"detail": "The request is too large; the maximum is 1 MiB."}


def test_a_full_queue_says_when_to_come_again(
    service: Start, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = service(limited(queue=1, request_images=1))
    assert client.post("/attribute", files=upload(png(images[0]))).status_code == 200
    monkeypatch.setattr(Batcher, "waiting", 1)
    refused = client.post("/attribute", files=upload(png(images[1])))
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    # What was answered before needs no place.
    assert client.post("/attribute", files=upload(png(images[0]))).status_code == 200


def test_a_client_may_ask_so_often(service: Start) -> None:
    client = service(limited(per_minute=3))
    codes = [client.get("/model").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    refused = client.get("/model")
    assert refused.headers["retry-after"] == "60"
    # The page and the health check are not counted.
    assert client.get("/").status_code == client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"Authorization": "Basic secret"}, 401),
        ({"X-API-Key": "secret"}, 200),
        ({"Authorization": "Bearer secret"}, 200),
    ],
)
def test_a_key_is_asked_for(service: Start, headers: dict[str, str], status: int) -> None:
    client = service(Settings(api_key="secret"))
    assert client.get("/model", headers=headers).status_code == status
    assert client.get("/health").status_code == client.get("/").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example:80"},
        {"Host": "["},
        {"Origin": "http://["},
    ],
)
def test_pages_of_other_sites_can_not_ask(
    client: TestClient, images: list[Image.Image], headers: dict[str, str]
) -> None:
    refused = client.post("/attribute", files=upload(png(images[0])), headers=headers)
    assert refused.status_code == (400 if "Host" in headers else 403)
    own = {"Origin": "http://localhost"}
    assert client.post("/attribute", files=upload(png(images[0])), headers=own).is_success


def test_nothing_is_written_to_disk_unasked(
    service: Start, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def written(self: object) -> None:
        raise AssertionError("an upload was written to disk")

    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8))
    large = png(noisy)
    assert len(large) > 2 * MIB  # Starlette's own limit is 1 MiB
    with monkeypatch.context() as patch:
        patch.setattr(tempfile.SpooledTemporaryFile, "rollover", written)
        assert service().post("/attribute", files=upload(large)).status_code == 200
    client = service(Settings(keep_uploads=tmp_path))
    (said, _) = client.post("/attribute", files=upload(large, b"no image")).json()["images"]
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"{said['sha256']}.png" and kept.read_bytes() == large


def test_a_heat_map_has_a_value_for_each_patch(
    client: TestClient, images: list[Image.Image]
) -> None:
    found = client.post("/explain?grid=4", files=upload(png(images[-1]), field="image"))
    assert found.status_code == 200
    assert np.array(found.json()["support"]).shape == (4, 4)
    assert found.json()["origin"] in ORIGINS
    assert client.post("/explain", files=upload(b"no", field="image")).status_code == 422
    assert (
        client.post("/explain?grid=99", files=upload(png(images[0]), field="image")).status_code
        == 422
    )


def test_exemplars_have_pictures(
    client: TestClient, attributor: Attributor, images: list[Image.Image]
) -> None:
    said = client.post("/attribute", files=upload(png(images[5]))).json()["images"][0]
    picture = client.get("/" + said["nearest"][0]["thumbnail"])
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content == attributor.model.exemplars.thumbnails[5]
    # The first has none; a number past the end neither.
    for number in (0, 3 * EACH, -1):
        assert client.get(f"/exemplars/{number}").status_code == 404


def test_the_model_is_described(client: TestClient, attributor: Attributor) -> None:
    found = client.get("/model").json()
    assert found["origins"] == list(ORIGINS)
    assert found["threshold"] == attributor.model.threshold
    assert found["exemplars"] == 3 * EACH and found["enrolling"] is False
    scale = found["scale"]
    assert scale["low"] < found["threshold"] < scale["high"]
    assert scale["low"] < scale["known_low"] <= scale["known_high"] <= scale["high"]


def test_enrolling_is_off_unless_allowed(client: TestClient, images: list[Image.Image]) -> None:
    refused = client.post("/enroll", data={"name": "new"}, files=upload(png(images[0])))
    assert refused.status_code == 403 and "--enroll-to" in refused.json()["detail"]


def test_an_enrolled_origin_is_answered_and_saved(
    service: Start, noise: Callable[..., Image.Image], tmp_path: Path
) -> None:
    client = service(Settings(enroll_to=tmp_path))
    digest = client.get("/model").json()["digest"]
    new = [png(noise(900 + i, (64, 48), tint=9)) for i in range(6)]
    asked = upload(png(noise(990, (64, 48), tint=9)))
    before = client.post("/attribute", files=asked).json()
    done = client.post("/enroll", data={"name": "new model"}, files=upload(*new))
    assert done.status_code == 200, done.text
    assert done.json()["images"] == 6
    after = client.post("/attribute", files=asked).json()
    assert "new model" not in before["images"][0]["probabilities"]
    assert after["images"][0]["probabilities"]["new model"] > 0.3
    assert digest == before["model"] != after["model"] == client.get("/model").json()["digest"]
    assert load_model(tmp_path / "new model").origins == (*ORIGINS, "new model")
    again = client.post("/enroll", data={"name": "new model"}, files=upload(*new))
    assert again.status_code == 409
    for name in ("../up", "", "unknown", "a/b"):
        bad = client.post("/enroll", data={"name": name}, files=upload(*new))
        assert bad.status_code == 422, name
    assert [p.name for p in tmp_path.iterdir()] == ["new model"]


def test_reports_hold_every_image(client: TestClient, images: list[Image.Image]) -> None:
    files = [
        ("images", ("a <img src=x onerror=alert(1)> ü.png", png(images[0]))),
        ("images", ("b.png", png(images[-1]))),
        ("images", ("c.png", b"no image")),
    ]
    answers = client.post("/attribute", files=files).json()["images"]
    html = client.post("/report", files=files)
    assert html.headers["content-type"].startswith("text/html")
    assert "<img src=x" not in html.text and "&lt;img src=x onerror=alert(1)&gt; ü" in html.text
    assert "http://" not in html.text and "https://" not in html.text
    for said in answers:
        assert said["verdict"]["words"] in html.text and said["sha256"] in html.text
    assert html.text.count("data:image/jpeg;base64,") == 2
    pdf = client.post("/report?format=pdf", files=files)
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-") and pdf.content.rstrip().endswith(b"%%EOF")
    assert pdf.content.count(b"/Subtype /Image") == 2


def test_evidence_stands_beside_the_verdict_and_contradictions_are_said(
    client: TestClient, attributor: Attributor, images: list[Image.Image]
) -> None:
    info = PngInfo()
    info.add_itxt("Description", "a cat Job ID: 01234567-89ab-cdef-0123-456789abcdef")
    answers = attributor.attribute(images)
    asked = next(i for i, a in zip(images, answers, strict=True) if a.origin == "real")
    buffer = io.BytesIO()
    asked.save(buffer, "PNG", pnginfo=info)
    plain, made = client.post("/attribute", files=upload(png(asked), buffer.getvalue())).json()[
        "images"
    ]
    assert plain["evidence"] == {"findings": [], "notes": [], "contradictions": []}
    (finding,) = made["evidence"]["findings"]
    assert (finding["indicates"], finding["generator"]) == ("synthetic", "Midjourney")
    assert made["origin"] == plain["origin"] == "real"  # metadata change no answer
    (said,) = made["evidence"]["contradictions"]
    html = client.post("/report", files=upload(buffer.getvalue())).text
    assert escape(said) in html and "a cat" in html


def test_what_happens_is_counted(client: TestClient, images: list[Image.Image]) -> None:
    client.post("/attribute", files=upload(*(png(image) for image in images[:3]), b"no image"))
    client.get("/exemplars/99999")
    text = client.get("/metrics").text
    counts = re.findall(r'whichgen_images_total\{kind="(\w+)"\} (\d)', text)
    assert sum(int(n) for kind, n in counts if kind != "unread") == 3
    assert ("unread", "1") in counts
    assert 'whichgen_requests_total{path="/attribute",status="200"} 1.0' in text
    assert 'whichgen_requests_total{path="other",status="404"} 1.0' in text


def test_answers_carry_headers_that_keep_a_page_to_itself(client: TestClient) -> None:
    for path in ("/", "/health", "/static/app.js", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_asks_nothing_of_other_hosts(client: TestClient) -> None:
    static = Path(__file__).parents[2] / "src/whichgen/service/static"
    text = client.get("/").text + "".join(
        client.get(f"/static/{file.name}").text for file in static.iterdir()
    )
    addresses = set(re.findall(r"https?://[\w./-]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name space, never fetched
    for page in ("/docs", "/redoc"):  # they would come from a CDN
        assert client.get(page).status_code == 404


def test_a_thumbnail_is_a_small_jpeg(attributor: Attributor) -> None:
    picture = Image.open(io.BytesIO(attributor.model.exemplars.thumbnails[1]))
    assert picture.format == "JPEG" and max(picture.size) <= 96
