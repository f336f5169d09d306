"""Speed of the shared factorisation against refitting with scikit-learn, on the same folds and penalties.

    python tests/benchmarks/bench_probes.py [--games 300] [--permutations 1000] [--d-model 192] [--layers 6]

All layers x targets x grouped folds x permutations are read out with `analysis.probes.permutation.layer_null`;
scikit-learn's `StandardScaler` + `Ridge` + `roc_auc_score` is timed on a sample of the same fits and
multiplied up, and every sampled AUROC is compared with ours. The nested logistic probe is timed against
scikit-learn's in the same way.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from analysis.planted.planted import plant
from analysis.probes.permutation import NULL_PENALTY, layer_null, permute_within_games, units_of
from analysis.probes.probes import probe
from analysis.stats.metrics import auroc
from analysis.stats.splits import game_folds


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in dict(
        games=300, permutations=1000, d_model=192, layers=6, targets=12, sample=40
    ).items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    args = parser.parse_args()
    data = plant("signal", args.games, n_layers=args.layers, d_model=args.d_model, seed=0)
    folds = game_folds(data.games, 5)
    unit, unit_games, first = units_of(data.games, data.frame["subject"].to_numpy())
    labels = permute_within_games(data.y[first].astype(np.uint8), unit_games, args.targets, seed=1)
    labels[:, 0] = data.y[first]
    n_fits = args.layers * args.targets * 5 * (args.permutations + 1)
    print(
        f"{len(data.y):,} rows of {args.games} games, {args.layers} layers of {args.d_model}, {args.targets} targets, "
        f"5 folds, {args.permutations} permutations: {n_fits:,} fits"
    )

    start = time.perf_counter()
    null = layer_null(data.x, labels, unit, unit_games, folds, args.permutations)
    ours = time.perf_counter() - start
    print(f"ours                      {ours:10.1f} s")

    rng = np.random.default_rng(0)
    worst, spent = 0.0, 0.0
    for _ in range(max(1, args.sample // 5)):
        target, layer, column = (
            int(rng.integers(n)) for n in (args.targets, args.layers, min(50, args.permutations))
        )
        y = permute_within_games(labels[:, target], unit_games, args.permutations, seed=target)[unit, column]
        scores, wins = np.empty(len(y)), []
        start = time.perf_counter()
        for f in range(5):
            train = folds.fold != f
            model = make_pipeline(StandardScaler(), Ridge(alpha=NULL_PENALTY * train.sum()))
            model.fit(data.x[train, layer], y[train])
            scores[~train] = model.predict(data.x[~train, layer])
            wins.append(roc_auc_score(y[~train], scores[~train]))
        spent += time.perf_counter() - start
        worst = max(worst, abs(auroc(y, scores, strata=folds.fold) - null.null[target, column, layer]))
    refitting = spent / (5 * max(1, args.sample // 5)) * n_fits
    print(
        f"scikit-learn, refitting   {refitting:10.0f} s (from {args.sample} fits), {refitting / ours:,.0f} times"
    )
    print(f"largest difference in AUROC over the sampled fits: {worst:.1e}")

    start = time.perf_counter()
    found = probe(data.x, data.y, folds, data.games)
    nested = time.perf_counter() - start
    f = 0
    train = folds.fold != f
    p = data.y[train].mean()
    start = time.perf_counter()
    model = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=1 / (found.chosen_penalty[f] * p * (1 - p) * train.sum()), max_iter=1000),
    ).fit(data.x[train, found.chosen_layer[f]], data.y[train])
    one = time.perf_counter() - start
    gap = np.abs(
        model.predict_proba(data.x[~train, found.chosen_layer[f]])[:, 1] - found.scores[~train]
    ).max()
    fits = args.layers * 4 * 15
    print(
        f"nested logistic probe     {nested:10.1f} s, scikit-learn {one * fits:.0f} s for {fits} fits (from one); "
        f"largest difference of a probability {gap:.0e}"
    )


if __name__ == "__main__":
    main()
