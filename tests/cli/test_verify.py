"""``whichgen sign``, ``whichgen verify``, and commands that ask for a signed model."""

from __future__ import annotations

from pathlib import Path

from models.test_signatures import save_keys

from .conftest import Site, whichgen


def test_a_signed_model_is_verified_and_answers(site: Site, tmp_path: Path) -> None:
    private, public = save_keys(tmp_path, "newsroom")
    image = site.images / "gan/000.png"
    ask = ("attribute", "-m", site.run, image, "--device", "cpu", "--json")
    done = whichgen(*ask, "--verify-key", public)
    assert done.code == 1 and "refused: it is not signed" in done.message and not done.out
    done = whichgen("serve", "-m", site.run, "--port", 0, "--verify-key", public)
    assert done.code == 1 and "refused: it is not signed" in done.message

    assert "Whose it is, only a signature tells" in whichgen("verify", "-m", site.run).message
    done = whichgen("sign", site.run, "--key", private)
    assert done.code == 0 and "model.sig" in done.message
    assert whichgen("verify", "-m", site.run, "--key", public).code == 0
    assert whichgen(*ask, "--verify-key", public).out == whichgen(*ask).out

    card = site.run / "model/README.md"
    card.write_text(card.read_text().replace("evidence, not proof", "proof"))
    for option in ([], ["--key", public]):
        done = whichgen("verify", "-m", site.run, *option)
        assert done.code == 1 and "changed, went or came" in done.message
    assert whichgen(*ask).code == 0  # nobody asked for a signature
