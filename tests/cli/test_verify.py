"""``whichgen verify``, and commands that require a signed model."""

from __future__ import annotations

from pathlib import Path

from models.test_signatures import save_keys, sign

from .conftest import Site, whichgen


def test_signed_model_is_verified_and_used(site: Site, tmp_path: Path) -> None:
    private, public = save_keys(tmp_path, "newsroom")
    image = site.images / "gan/000.png"
    attribute = ("attribute", "-m", site.run, image, "--device", "cpu", "--json")
    for command in (attribute, ("serve", "-m", site.run, "--port", 0)):
        result = whichgen(*command, "--verify-key", public)
        assert (
            result.code == 1 and "rejected: it is not signed" in result.message and not result.out
        )

    assert "checksums match" in whichgen("verify", "-m", site.run).message
    assert "checksums match" in whichgen("verify", site.run).message
    sign(site.run / "model", private)
    assert whichgen("verify", "-m", site.run, "--verify-key", public).code == 0
    assert whichgen(*attribute, "--verify-key", public).out == whichgen(*attribute).out

    card = site.run / "model/README.md"
    card.write_text(card.read_text().replace("evidence, not proof", "proof"))
    for option in ([], ["--verify-key", public]):
        result = whichgen("verify", "-m", site.run, *option)
        assert result.code == 1 and "README.md" in result.message
    assert whichgen(*attribute).code == 0  # without a key, no signature is required
