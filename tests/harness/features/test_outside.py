"""Any object with encode and decode serves as a dictionary, where a latent is a direction and a row its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.features.dictionary import FeaturesError
from harness.features.fit import fit_of
from harness.features.load import load_for
from harness.features.outside import codec_of, outside_dictionary, tabulate
from harness.features.saved import load_dictionary
from harness.run.folder import load_run
from tests.fixtures.planted_runs import planted_run

D = 8
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(200, D)).astype(np.float32)
OBJECTS = '''
import numpy as np
import torch

class Axes:
    """Plus and minus every axis."""
    def encode(self, x):
        return np.maximum(np.concatenate([x, -x], axis=-1), 0)
    def decode(self, codes):
        half = codes.shape[-1] // 2
        return codes[..., :half] - codes[..., half:] + 0.0

class OfTheBatch(Axes):
    def encode(self, x):
        return Axes.encode(self, x - x.mean(axis=0))

class Squared(Axes):
    def decode(self, codes):
        return Axes.decode(self, codes) ** 2

class Narrow(Axes):
    weights = np.eye(3)
    def encode(self, x):
        return x @ self.weights

class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.way = torch.nn.Linear(8, 16)
    def encode(self, x):
        return torch.relu(self.way(x))
    def decode(self, codes):
        return codes @ self.way.weight

def made():
    return Axes()

neither = 3
'''


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "objects_of_others.py").write_text(OBJECTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "objects_of_others", raising=False)


def of(name: str) -> Any:
    return f"objects_of_others:{name}"


@pytest.mark.parametrize("name", ["Axes", "made", "Module"])
def test_codes_are_the_objects_and_directions_what_its_decoder_adds(name: str) -> None:
    found = outside_dictionary(of(name), ROWS, site="mention", layer="resid_post.1")
    codes, made = tabulate(found.codec, ROWS)
    assert np.allclose(found.encode(ROWS), codes) and np.allclose(found.reconstruct(ROWS), made, atol=1e-5)
    one = np.zeros((1, 2 * D), np.float32)
    zero = found.decode(one)
    one[0, 3] = 1
    assert np.allclose(found.decode(one) - zero, found.direction(3), atol=1e-6)
    left = ROWS - found.part(ROWS, [3])
    assert np.allclose(left, ROWS - codes[:, [3]] * found.direction(3), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("OfTheBatch", "among others"), ("Squared", "a sum of one direction"), ("Narrow", "fails on rows of shape"),
        ("neither", "has not both"), ("nowhere", "cannot be imported"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_dictionary_is_refused_by_what_is_wrong_with_it(name: str, words: str) -> None:
    with pytest.raises(FeaturesError, match=words):
        outside_dictionary(of(name), ROWS, site="mention", layer="resid_post.1")


def test_an_object_is_loaded_for_a_run_and_read_again_by_its_folder_where_its_module_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planted_run(tmp_path / "run", 3, 1.0, d_model=D)
    with pytest.raises(FeaturesError, match="name its layer"):
        load_for(of("Axes"), run, site="mention")
    kept, fit = load_for(of("Axes"), run, site="mention", layer="resid_post.1")
    assert kept.name == "object-objects_of_others.Axes" and fit.variance_explained > 0.999
    with pytest.raises(FeaturesError, match=r"names code to be run .*WOLFSCOPE_EXTENSIONS"):
        load_dictionary(kept)
    monkeypatch.setenv("WOLFSCOPE_EXTENSIONS", "objects_of_others")
    found = load_dictionary(kept)
    x = load_run(run).activations().select("resid_post.1", site="mention")[1]
    assert fit_of(found, x).variance_explained > 0.999
    assert found.card.model == "planted@0000" and isinstance(found.codec, type(codec_of(of("Axes"))))
