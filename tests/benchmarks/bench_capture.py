"""Speed of activation capture against the plain forward pass and against other tools, on the same prompts.

    make bench-capture [ARGS="--models small,100m --repeats 3 --peers PYTHON"]

Reading: tokens/s of a forward pass alone and with 4 positions of all layers read, by our hooks and by
transformers' output_hidden_states. Passes alternate in one process; medians are shown.
End to end: a log of decisions in, stored rows out; with shared prefixes, each decision separately, and by other
tools, which take each decision separately and run the whole model. Repetitions alternate, each tool in a process of
its own that has loaded its model; values are compared.
TransformerLens and nnsight want other versions of transformers than this project, so they run in an environment of
their own:  make peers ARGS=readers
then:       make bench-capture ARGS="--peers .cache/peers/readers/bin/python"
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

from agents.hooks.hooks import Hooks, Reads, choose_points  # noqa: E402
from agents.hooks.linear import OneDnnLinear  # noqa: E402
from agents.hooks.model import HookedModel, load_hooked_model  # noqa: E402
from agents.models.small import SMALL_MODEL  # noqa: E402
from harness.activations.items import wanted_rows  # noqa: E402
from harness.activations.store import Activations, open_activations  # noqa: E402
from harness.capture.passes import CaptureItem, capture_pass  # noqa: E402
from harness.capture.plan import batches, plan_passes  # noqa: E402

N_POSITIONS = 4
BATCH_TOKENS = 4096
RIVAL = Path(__file__).with_name("rival_capture.py")


def main() -> None:
    """Prints one table per model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="small,100m")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", help="a Python that has transformer_lens and nnsight")
    parser.add_argument("--device", default="auto")
    # one by default: threads that wait for a core another process holds make every figure meaningless
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as scratch:
        for which in args.models.split(","):
            folder = model_folder(which, Path(scratch))
            hooked = load_hooked_model(folder, device=args.device)
            n = sum(p.numel() for p in hooked.model.parameters())
            layout = hooked.layout
            print(
                f"\n{which}: {n / 1e6:.1f}M parameters, {layout.n_layers} layers of {layout.d_model}, "
                f"{hooked.dtype}, on {hooked.device}"
            )
            reading(hooked, args.repeats)
            end_to_end(hooked, folder, Path(scratch) / which, args.repeats, args.peers)


def model_folder(which: str, scratch: Path) -> Path:
    """The shipped model, or a random one of about 100M parameters."""
    if which == "small" and (SMALL_MODEL / "config.json").is_file():
        return SMALL_MODEL
    if which not in ("small", "100m"):
        return Path(which)
    from tests.fixtures.tiny_models import save_tiny_model

    sizes: dict[str, Any] = {
        "hidden_size": 256,
        "num_hidden_layers": 6,
        "intermediate_size": 768,
        "num_attention_heads": 8,
    }
    if which == "100m":
        sizes = {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "intermediate_size": 2048,
            "num_attention_heads": 12,
        }
        sizes |= {"num_key_value_heads": 12, "head_dim": 64, "vocab_size": 16_000, "initializer_range": 0.02}
    return save_tiny_model(scratch / f"model-{which}", "llama", max_position_embeddings=2048, **sizes)


def slow(hooked: HookedModel) -> bool:
    """Whether to measure on fewer tokens: a large model on a CPU."""
    return hooked.device.type == "cpu" and sum(p.numel() for p in hooked.model.parameters()) > 50e6


Seconds = tuple[float, float]
"""(wall, processor)."""


def alternate(jobs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Seconds]:
    """Median seconds of each job, run by turns after one round to warm up. A `Rival` measures itself."""
    times: dict[str, list[Seconds]] = {name: [] for name in jobs}
    for i in range(repeats + 1):
        for name, job in jobs.items():
            begin, cpu = time.perf_counter(), time.process_time()
            told = job()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            own = (time.perf_counter() - begin, time.process_time() - cpu)
            if i:
                times[name].append(told if isinstance(job, Rival) else own)
    return {name: (median(w for w, _ in t), median(c for _, c in t)) for name, t in times.items()}


def reading(hooked: HookedModel, repeats: int) -> None:
    """Forward passes of one full batch, with and without reading."""
    length, n_rows = (128, 1) if slow(hooked) else (min(512, hooked.max_context), 8)
    rng = np.random.default_rng(0)
    ids = torch.tensor(rng.integers(4, hooked.vocab_size, (n_rows, length)), device=hooked.device)
    columns = np.sort(np.stack([rng.permutation(length)[:N_POSITIONS] for _ in range(n_rows)]), axis=1)
    rows = torch.arange(n_rows).repeat_interleave(N_POSITIONS).to(hooked.device)
    where = torch.tensor(columns.ravel(), device=hooked.device)
    reads = Reads(rows, where, torch.arange(len(rows), device=hooked.device), len(rows))
    hooks = Hooks(hooked.layout, choose_points(hooked.layout))
    model: Any = hooked.model

    @torch.inference_mode()
    def plain() -> None:
        model(input_ids=ids, use_cache=False)

    own: list[Any] = [module for module in model.modules() if type(module) is OneDnnLinear]

    def torchs() -> None:
        for module in own:
            module.__class__ = torch.nn.Linear
        plain()
        for module in own:
            module.__class__ = OneDnnLinear

    @torch.inference_mode()
    def decoder() -> None:
        hooked.layout.decoder(input_ids=ids, use_cache=False)

    @torch.inference_mode()
    def hooked_whole() -> torch.Tensor:
        with hooks.attached():
            hooks.plan(reads)
            model(input_ids=ids, use_cache=False)
            return hooks.take().float().cpu()

    @torch.inference_mode()
    def ours() -> torch.Tensor:
        with hooks.attached():
            hooks.plan(reads, stop_early=True)
            hooks.run(hooked.layout.decoder, input_ids=ids, use_cache=False)
            return hooks.take().float().cpu()

    @torch.inference_mode()
    def theirs() -> torch.Tensor:
        states = model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
        return torch.stack([s[rows, where] for s in states[1:]], dim=1).float().cpu()

    a, b = ours(), theirs()
    error = float(
        ((a - b).norm(dim=-1) / b.norm(dim=-1))[:, :-1].max()
    )  # their last one is after the final norm
    seconds = alternate(
        {
            "plain forward": plain,
            "plain forward with torch's own products": torchs,
            "plain forward without the language-model head": decoder,
            "hooks on the plain forward, 4 positions of all layers": hooked_whole,
            "capture as the offline extraction runs it (no head)": ours,
            "output_hidden_states, 4 positions of all layers": theirs,
        },
        repeats,
    )
    base = seconds["plain forward"]
    print(
        f"  reading, {n_rows} x {length} tokens; largest relative difference to output_hidden_states {error:.1e}"
    )
    for name, (wall, cpu) in seconds.items():
        print(
            f"    {name:56s} {n_rows * length / wall:10,.0f} tokens/s   {base[0] / wall:5.2f} of plain "
            f"({base[1] / cpu:.2f} by processor time)"
        )


def decisions(hooked: HookedModel, n_seats: int, n_turns: int) -> list[CaptureItem]:
    """Contexts as play leaves them: a fixed beginning, then each turn's log, question and answer."""
    rng = np.random.default_rng(1)
    room = 200 if slow(hooked) else min(hooked.max_context, 1200)
    items = []
    for seat in range(n_seats):
        context = tuple(int(i) for i in rng.integers(4, hooked.vocab_size, room // 6))
        for turn in range(n_turns):
            new = rng.integers(4, hooked.vocab_size, (room - room // 6) // n_turns)
            context += tuple(int(i) for i in new)
            n = len(context)
            spots = [n - 12, n - 1, *sorted(int(i) for i in rng.integers(0, n - 13, N_POSITIONS - 2))]
            sites = {f"site{k}": (None, (p,)) for k, p in enumerate(spots)}
            items.append(CaptureItem(f"g{seat // 2}", 2 * turn + seat % 2, seat, context, sites))
    return items


def end_to_end(hooked: HookedModel, folder: Path, scratch: Path, repeats: int, peers: str | None) -> None:
    """A log in, stored rows out."""
    items = decisions(hooked, n_seats=1 if slow(hooked) else 8, n_turns=8)
    n_tokens = sum(len(item.ids) for item in items)
    scratch.mkdir(parents=True, exist_ok=True)
    turn = iter(range(1000))

    def ours(share: bool) -> Path:
        path = scratch / f"store-{next(turn)}"
        capture_pass(items, hooked, path, share_prefixes=share, batch_tokens=BATCH_TOKENS)
        return path

    def with_sdpa() -> None:
        model: Any = hooked.model
        used = model.config._attn_implementation
        model.set_attn_implementation("sdpa")
        ours(True)
        model.set_attn_implementation(used)

    def theirs() -> np.ndarray:
        passes = plan_passes([(item, wanted_rows(item, set())) for item in items], share_prefixes=False)
        kept = []
        for batch in batches(passes, BATCH_TOKENS):
            width = max(len(p.ids) for p in batch)
            ids = torch.tensor([p.ids + (0,) * (width - len(p.ids)) for p in batch], device=hooked.device)
            where = [(b, row.indices[0]) for b, p in enumerate(batch) for row in p.rows]
            rows, columns = torch.tensor(where, device=hooked.device).T
            model: Any = hooked.model
            with torch.inference_mode():
                states = model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
                kept.append(torch.stack([s[rows, columns] for s in states[1:]], dim=1).float().cpu().numpy())
        found = np.concatenate(kept)
        save_file({"rows": found}, str(scratch / "peer.safetensors"))
        return found

    stores = [open_activations(ours(share)) for share in (True, False)]
    a, b = (store.read_rows(store.index()) for store in stores)
    error = float((np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)).max())
    print(
        f"  end to end, {len(items)} decisions, {n_tokens:,} context tokens, {N_POSITIONS} rows each; "
        f"shared against separate: largest relative difference {error:.1e}"
    )
    n_bytes = a.nbytes / len(items)
    tools = rivals(items, folder, scratch, peers)
    try:
        seconds = alternate(
            {
                "ours, shared prefixes": lambda: ours(True),
                "ours, shared prefixes, torch computing what masks hide": with_sdpa,
                "ours, each decision separately": lambda: ours(False),
                "output_hidden_states, each decision separately": theirs,
                **{f"{tool.name}, each decision separately": tool for tool in tools},
            },
            repeats,
        )
    finally:
        for tool in tools:
            tool.close()
    for tool in tools:
        print(f"  {tool.name}: largest relative difference to ours {difference(tool, items, stores[0]):.1e}")
    base = seconds["ours, shared prefixes"]
    for name, (wall, cpu) in seconds.items():
        print(
            f"    {name:56s} {n_tokens / wall:10,.0f} tokens/s   the first is {wall / base[0]:5.2f} times as fast "
            f"({cpu / base[1]:.2f} by processor time)"
        )
    disk = sum(f.stat().st_size for f in stores[0].path.rglob("*") if f.is_file()) / len(items)
    print(
        f"  {n_bytes:,.0f} bytes per decision in float32, {disk:,.0f} on disk with the index; half in bfloat16"
    )


class Rival:
    """Another tool in its own environment and process; a call is one repetition and gives its seconds."""

    def __init__(self, tool: str, python: str, folder: Path, job: Path) -> None:
        """Waits until the model is loaded. Raises RuntimeError, with the tool's last line, where it cannot be."""
        self.rows = job.with_name(f"{tool}.npy")
        words = [
            python,
            str(RIVAL),
            tool,
            str(folder),
            str(job),
            str(self.rows),
            str(torch.get_num_threads()),
        ]
        self._errors = job.with_name(f"{tool}.txt")
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.name = tool
        self.name = f"{tool} {self._told()['version']}"

    def __call__(self) -> Seconds:
        assert self._process.stdin is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        wall, cpu = self._told()["seconds"]
        return wall, cpu

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _told(self) -> dict[str, Any]:
        """The next line of JSON; tools print lines of their own between."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                told: dict[str, Any] = json.loads(line)
                return told
        self._process.wait()
        last = self._errors.read_text().strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"{self.name}: {last[0]}")


def rivals(items: list[CaptureItem], folder: Path, scratch: Path, peers: str | None) -> list[Rival]:
    """The other tools that could be started."""
    if peers is None:
        print("  TransformerLens and nnsight not compared: give --peers PYTHON (see --help)")
        return []
    job = scratch / "job.json"
    spots = [[site[1][0] for site in item.sites.values()] for item in items]
    job.write_text(
        json.dumps({"ids": [item.ids for item in items], "positions": spots, "batch_tokens": BATCH_TOKENS})
    )
    found = []
    for tool in ("nnsight", "transformer_lens"):
        try:
            found.append(Rival(tool, peers, folder, job))
        except RuntimeError as error:
            print(f"  not compared: {error}")
    return found


def difference(tool: Rival, items: list[CaptureItem], store: Activations) -> float:
    """Largest relative difference of a tool's rows to the store's."""
    order = store.index().sort("game_id", "seq", "seat", "site")
    ranks = {(i.game_id, i.seq, i.seat): k for k, i in enumerate(items)}
    rows = [
        ranks[g, q, s] * N_POSITIONS + int(site[-1])
        for g, q, s, site in order.select("game_id", "seq", "seat", "site").iter_rows()
    ]
    theirs, mine = np.load(tool.rows)[rows], store.read_rows(order)
    return float((np.linalg.norm(theirs - mine, axis=-1) / np.linalg.norm(mine, axis=-1)).max())


if __name__ == "__main__":
    main()
