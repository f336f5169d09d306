"""What the offline extraction stores is what a plain forward pass over each context alone gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.hooks.hooks import choose_points, named_points
from agents.hooks.model import HookedModel, hook_model
from harness.activations.store import ActivationsError, open_activations
from harness.activations.verify import verify
from harness.capture.parity import check_sample
from harness.capture.passes import CaptureItem, CaptureProgress, capture_pass
from tests.fixtures.tiny_models import D_MODEL, N_LAYERS, tiny_model


def hooked(family: str = "llama", dtype: torch.dtype = torch.float32) -> HookedModel:
    return hook_model(tiny_model(family).to(dtype), f"{family}@0")


def some_items(n_games: int = 3, n_seats: int = 2, n_turns: int = 4) -> list[CaptureItem]:
    """Contexts as play leaves them: each of a seat's extends the one before."""
    rng = np.random.default_rng(3)
    items = []
    for game in range(n_games):
        contexts: list[tuple[int, ...]] = [() for _ in range(n_seats)]
        for turn in range(n_turns):
            for seat in range(n_seats):
                new = tuple(int(i) for i in rng.integers(4, 96, rng.integers(8, 30)))
                contexts[seat] += new
                n = len(contexts[seat])
                sites = {
                    "prompt_last": (None, (n - 4,)),
                    "speech_mean": (None, tuple(range(n - 3, n - 1))),
                    "mention:1": (1, (n // 2,)),
                    "mention:0": (0, (2,)),
                }
                items.append(CaptureItem(f"g{game}", 10 * turn + seat, seat, contexts[seat], sites))
    return items


def states(model: Any, ids: tuple[int, ...]) -> np.ndarray:
    """(n_layers + 1, n_tokens, d_model) from transformers' own output_hidden_states; the last is after the norm."""
    with torch.inference_mode():
        out = model(input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    return torch.cat(out.hidden_states).float().numpy()


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float((np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)).max())


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(
    ("family", "dtype", "tolerance"),
    [
        ("llama", torch.float32, 1e-5),
        ("gemma3", torch.float32, 1e-5),
        ("mistral", torch.float32, 1e-5),
        ("gpt_neox", torch.float32, 1e-5),
        ("llama", torch.bfloat16, 0.03),
        ("qwen3", torch.bfloat16, 0.03),
    ],
)
def test_rows_equal_a_plain_forward_pass(
    tmp_path: Path, family: str, dtype: torch.dtype, tolerance: float, share: bool
) -> None:
    model, items = hooked(family, dtype), some_items()
    points = choose_points(model.layout, embed=True)
    capture_pass(items, model, tmp_path, points=points, share_prefixes=share, batch_tokens=400)
    store = open_activations(tmp_path)
    assert store.info.dtype == ("float32" if dtype == torch.float32 else "bfloat16")
    assert store.layers == ("embed", *(f"resid_post.{i}" for i in range(N_LAYERS)))
    for item in items:
        plain = states(model.model, item.ids)
        lines = store.index(games=[item.game_id]).filter(seq=item.seq)
        assert lines.height == len(item.sites)
        for i, line in enumerate(lines.iter_rows(named=True)):
            site = line["site"] if line["subject"] is None else f"{line['site']}:{line['subject']}"
            expected = plain[:N_LAYERS, list(item.sites[site][1])].mean(1)  # without the normed last one
            assert relative(store.read_rows(lines[i])[0, :N_LAYERS], expected) < tolerance
    checks = check_sample(items, model, store, n_items=8)
    assert len(checks) == 32
    assert all(c.agrees for c in checks), max(c.error for c in checks)
    assert max(c.error for c in checks) < tolerance
    assert verify(store, {(i.game_id, i.seq, "original", None): i.ids for i in items}) == []


def test_shared_prefixes_are_computed_once(tmp_path: Path) -> None:
    model, items = hooked(), some_items()
    shared = capture_pass(items, model, tmp_path / "shared")
    alone = capture_pass(items, model, tmp_path / "alone", share_prefixes=False)
    assert shared.n_rows == alone.n_rows == 4 * len(items)
    assert alone.n_computed_tokens == alone.n_context_tokens == shared.n_context_tokens
    longest = {(i.game_id, i.seat): len(i.ids) - 1 for i in items}  # up to the last turn's last site
    assert shared.n_computed_tokens == sum(longest.values())
    a, b = open_activations(tmp_path / "shared"), open_activations(tmp_path / "alone")
    assert a.index().drop("shard", "row", "checksum").equals(b.index().drop("shard", "row", "checksum"))
    assert relative(a.read_rows(a.index()), b.read_rows(b.index())) < 1e-5


def test_a_context_that_diverges_gets_a_pass_of_its_own(tmp_path: Path) -> None:
    model = hooked()
    base = tuple(range(4, 44))
    fork = (*base[:30], 90, 91, 92)
    items = [
        CaptureItem("g", seq, 0, ids, {"prompt_last": (None, (len(ids) - 1,))})
        for seq, ids in enumerate((base[:20], base, fork))
    ]
    done = capture_pass(items, model, tmp_path)
    assert done.n_computed_tokens == len(base) + len(fork)
    assert all(c.agrees for c in check_sample(items, model, open_activations(tmp_path)))


def asked(items: list[CaptureItem], seed: int = 5) -> list[CaptureItem]:
    """Two questions on a fork before the last tokens of each context, of different lengths."""
    rng = np.random.default_rng(seed)
    found = []
    for item in items:
        for subject in (0, 1):
            at = len(item.ids) - 4
            ids = (*item.ids[:at], *(int(i) for i in rng.integers(4, 96, 2 + subject)))
            site = {f"belief_mention:{subject}": (subject, (len(ids) - 1,))}
            found.append(CaptureItem(item.game_id, item.seq, item.seat, ids, site, fork=at))
    return found


@pytest.mark.parametrize(
    ("family", "together"),
    [
        ("llama", True),
        ("qwen2", True),
        ("gpt_neox", True),
        ("phi", True),
        ("gemma3", False),
        ("mistral", False),
    ],
)
def test_questions_on_forks_are_read_beside_their_context(
    tmp_path: Path, family: str, together: bool
) -> None:
    """Together with it; where a sliding window is shorter than the context, each by itself."""
    model, items = hooked(family), some_items()
    forks = asked(items)
    points = choose_points(model.layout, embed=True)
    done = capture_pass([*items, *forks], model, tmp_path, points=points, batch_tokens=400)
    store = open_activations(tmp_path)
    assert done.n_rows == 6 * len(items) and store.index(site="belief_mention").height == 2 * len(items)
    longest = sum({(i.game_id, i.seat): len(i.ids) for i in items}.values())
    assert (done.n_computed_tokens <= longest + 5 * len(items)) is together
    checks = check_sample([*items, *forks], model, store, n_items=len(items) + len(forks))
    assert len(checks) == done.n_rows
    assert max(c.error for c in checks) < 1e-5
    contexts = {(i.game_id, i.seq, "original", None): i.ids for i in items}
    contexts |= {(i.game_id, i.seq, "original", s): i.ids for i in forks for s, _ in i.sites.values()}
    assert verify(store, contexts) == []
    wrong = forks[0]
    contexts[wrong.game_id, wrong.seq, "original", 0] = (*wrong.ids[:-1], 3)
    assert [d.kind for d in verify(store, contexts)] == ["wrong_tokens"]


def test_an_interrupted_capture_goes_on_and_doubles_nothing(tmp_path: Path) -> None:
    model, items = hooked(), some_items()

    def give_up(state: CaptureProgress) -> None:
        if state.n_rows > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture_pass(items, model, tmp_path, batch_tokens=100, progress=give_up)
    kept = open_activations(tmp_path).index().height
    assert 30 < kept < 4 * len(items)
    done = capture_pass(items, model, tmp_path)
    assert (done.n_skipped, done.n_rows) == (kept, 4 * len(items) - kept)
    store = open_activations(tmp_path)
    assert verify(store) == []
    assert all(c.agrees for c in check_sample(items, model, store, n_items=len(items)))
    again = capture_pass(items, model, tmp_path)
    assert (again.n_rows, again.n_computed_tokens) == (0, 0)


def test_windows_change_nothing(tmp_path: Path) -> None:
    model, items = hooked(), some_items()
    capture_pass(items, model, tmp_path / "one")
    capture_pass(iter(items), model, tmp_path / "many", window_tokens=1)
    a, b = open_activations(tmp_path / "one"), open_activations(tmp_path / "many")
    assert relative(a.read_rows(a.index()), b.read_rows(b.index())) < 1e-5


def test_chosen_streams_are_stored_under_their_names(tmp_path: Path) -> None:
    model, items = hooked(), some_items(1)
    points = named_points(model.layout, ("embed", "0.5", "attn_out", "mlp_out"))
    capture_pass(items, model, tmp_path, points=points)
    store = open_activations(tmp_path)
    assert store.layers == ("embed", "resid_post.1", "attn_out.1", "mlp_out.1")
    rows = store.read_rows(store.index())
    assert rows.shape == (4 * len(items), 4, D_MODEL)
    assert all(c.agrees for c in check_sample(items, model, store))


def test_variants_stand_beside_the_original(tmp_path: Path) -> None:
    model = hooked()
    ids = tuple(range(4, 44))
    items = [
        CaptureItem("g", 5, 2, ids, {"prompt_last": (None, (39,))}),
        CaptureItem("g", 5, 2, (*ids[:3], *ids[9:]), {"prompt_last": (None, (33,))}, "role_line_removed"),
    ]
    capture_pass(items, model, tmp_path)
    store = open_activations(tmp_path)
    assert store.index().height == 1
    both = store.index(variant=None)
    assert both["variant"].to_list() == ["original", "role_line_removed"]
    assert not np.allclose(*store.read(both, 2))


@pytest.mark.parametrize(
    ("ids", "index", "says"),
    [((5, 6, 7), 3, "0 to 2"), ((5,) * 600, 599, "512"), ((5, 6, 900), 2, "900")],
)
def test_what_does_not_fit_the_model_is_refused(
    tmp_path: Path, ids: tuple[int, ...], index: int, says: str
) -> None:
    item = CaptureItem("g7", 4, 0, ids, {"prompt_last": (None, (index,))})
    with pytest.raises(ActivationsError, match=says) as caught:
        capture_pass([item], hooked(), tmp_path)
    assert "g7" in str(caught.value)


def test_rows_of_other_tokens_fail_the_check(tmp_path: Path) -> None:
    model, items = hooked(), some_items(1)
    capture_pass(items, model, tmp_path)
    changed = [CaptureItem(i.game_id, i.seq, i.seat, (95, *i.ids[1:]), i.sites) for i in items]
    checks = check_sample(changed, model, open_activations(tmp_path))
    assert not any(c.agrees for c in checks)
