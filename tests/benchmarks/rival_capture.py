"""Captures the same positions with nnsight or TransformerLens; run by bench_capture.py with a Python that has them.

    python rival_capture.py nnsight|transformer_lens MODEL_DIR job.json rows.npy N_THREADS

Prints its version as JSON once the model is loaded. Then, for every line on standard input, takes each context by
itself in batches of like length, reads resid_post of all layers at the positions, saves the rows (n_rows, n_layers,
d_model) and prints the seconds as JSON; so its repetitions can alternate with those of others.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def padded(job):
    """(ids, positions of each row, original numbers) in batches."""
    order = sorted(range(len(job["ids"])), key=lambda i: -len(job["ids"][i]))
    start = 0
    while start < len(order):
        n = max(1, job["batch_tokens"] // len(job["ids"][order[start]]))
        chosen = order[start : start + n]
        width = len(job["ids"][chosen[0]])
        ids = torch.tensor([job["ids"][i] + [0] * (width - len(job["ids"][i])) for i in chosen])
        yield ids, torch.tensor([job["positions"][i] for i in chosen]), chosen
        start += n


def nnsight_reader(folder):
    from nnsight import LanguageModel

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    wrapped = LanguageModel(model, tokenizer=AutoTokenizer.from_pretrained(folder))
    layers = wrapped.model.layers

    def read(ids, positions):
        rows = torch.arange(len(ids)).unsqueeze(1)
        with torch.no_grad(), wrapped.trace({"input_ids": ids, "attention_mask": torch.ones_like(ids)}):
            kept = []
            for layer in layers:
                out = layer.output
                kept.append(out[rows, positions])
            states = torch.stack(kept, dim=2).save()
        return states  # noqa: RET504 - nnsight fills it when the block ends

    return read


def transformer_lens_reader(folder):
    from transformer_lens.model_bridge import TransformerBridge

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    bridge = TransformerBridge.boot_transformers(
        folder, hf_model=model, tokenizer=AutoTokenizer.from_pretrained(folder), device="cpu"
    )
    names = [f"blocks.{i}.hook_resid_post" for i in range(model.config.num_hidden_layers)]
    fallback = [f"blocks.{i}.hook_out" for i in range(model.config.num_hidden_layers)]

    def read(ids, positions):
        rows = torch.arange(len(ids)).unsqueeze(1)
        with torch.no_grad():
            _, cache = bridge.run_with_cache(ids, names_filter=lambda name: name in names or name in fallback)
        used = names if names[0] in cache else fallback
        return torch.stack([cache[name][rows, positions] for name in used], dim=2)

    return read


def main():
    tool, folder, job_path, out, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    with open(job_path) as file:
        job = json.load(file)
    read = {"nnsight": nnsight_reader, "transformer_lens": transformer_lens_reader}[tool](folder)
    print(json.dumps({"version": version(tool)}), flush=True)
    for _ in sys.stdin:
        begin, cpu = time.perf_counter(), time.process_time()
        rows = {}
        for ids, positions, chosen in padded(job):
            states = read(ids, positions).float().numpy()
            rows.update(zip(chosen, states, strict=True))
        np.save(out, np.concatenate([rows[i] for i in sorted(rows)]))
        seconds = [time.perf_counter() - begin, time.process_time() - cpu]
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
