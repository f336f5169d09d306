"""What a seer may have inspected: its hidden histories, one row for each set of results, and their orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from agents.werewolf.observer.information_sets import SEER, Characters, InfoSets, Scene, Sequences, encode
from agents.werewolf.observer.likelihood import lean, night_choice


def inspect(
    c: Characters, scene: Scene, infosets: InfoSets, me: int, repeats: bool, shown: np.ndarray, uniform: bool
) -> InfoSets:
    """The infosets after seat `me`, if it is the seer, has inspected somebody tonight.

    `shown` holds, as bit masks, the sets of seats that may show as werewolves; impossible results are dropped.
    """
    n, start, old = scene.n, infosets.seer, infosets.sequences
    told, wolf = infosets.told[start:], infosets.value[start:] > 0
    legal: np.ndarray = np.broadcast_to(scene.alive & (np.arange(n) != me), told.shape)
    if not repeats:
        legal = legal & ~told
    blind = np.ones(len(c), dtype=bool) if uniform else c.random
    wide = np.broadcast_to(legal, (len(c), *told.shape))
    p = night_choice(lean(c, scene, infosets, me)[:, start:], c["sharpness"], blind, wide)
    if c.lapse:
        p = (1 - c.lapse) * p + c.lapse * legal / np.maximum(legal.sum(-1, keepdims=True), 1)
    bits = 1 << np.arange(n, dtype=np.int64)
    asked, wolves = ((told * bits).sum(1) << n)[old.of], (wolf * bits).sum(1)[old.of]
    results = asked | wolves
    # Every sequence with every seat that may be inspected next, as (seat, sequence) pairs.
    seat, which = np.nonzero(legal.T[:, old.of])
    known = told[old.of[which], seat]
    told_of = np.zeros(n, dtype=bool)
    told_of[list(scene.reports.get(me, {}))] = True
    code = np.where(told_of[seat], old.code[which], old.code[which] * (n + 1) + seat + 1)
    idle = np.flatnonzero(~np.asarray(legal.any(1))[old.of])  # nobody left to inspect: not asked
    again, fresh = np.flatnonzero(known), np.flatnonzero(~known)
    looked = results[which] | np.where(known, 0, bits[seat] << n)
    with np.errstate(divide="ignore"):
        before = np.take(infosets.ll[:, start:], old.of, axis=1) + np.log(old.share)
        # Where nobody is left to inspect the choice has probability one: a last column of zeros.
        log_p = np.concatenate([np.log(p).reshape(len(c), -1), np.zeros((len(c), 1))], axis=1)
    origin = np.concatenate([idle, which[again], which[fresh], which[fresh]])
    at = old.of[which] * n + seat
    choice = np.concatenate([np.full(len(idle), log_p.shape[1] - 1), at[again], at[fresh], at[fresh]])

    def likelihoods(some: np.ndarray) -> np.ndarray:
        drawn = np.take(before, origin[some], axis=1)
        drawn += np.take(log_p, choice[some], axis=1)
        return drawn

    return _gathered(
        infosets, np.concatenate([results[idle], looked[again], looked[fresh], looked[fresh] | bits[seat[fresh]]]),
        np.concatenate([old.code[idle], code[again], code[fresh], code[fresh]]), likelihoods, shown,
    )  # fmt: skip


def _gathered(
    infosets: InfoSets,
    results: np.ndarray,
    code: np.ndarray,
    likelihoods: Callable[[np.ndarray], np.ndarray],
    shown: np.ndarray,
) -> InfoSets:
    """Builds the seer rows from sequences with their results and their orders `(n_sequences,)`.

    `results` hold the seats asked as bits above those of the werewolves found; `likelihoods` gives the log-likelihoods
    `(n_styles, n_picked)` of the sequences with these indices. It is asked for those alone that can be.
    """
    n = infosets.told.shape[1]
    # One sort of one number is several times as fast as two; codes of many orders among many seats have no room.
    room = int(code.max(initial=0)) + 1
    if room < 1 << (62 - 2 * n):
        order = np.argsort(results * room + code, kind="stable")
    else:
        order = np.lexsort((code, results))
    results = results[order]
    head = np.flatnonzero(np.append(True, results[1:] != results[:-1])[: len(results)])
    single = results[head]
    fits = (((single >> n)[:, None] & shown) == (single & ((1 << n) - 1))[:, None]).any(1)
    possible = np.repeat(fits, np.diff(np.append(head, len(results))))
    order, results = order[possible], results[possible]
    ll = likelihoods(order)
    fine = ll.max(0, initial=-np.inf) > -np.inf
    if not fine.all():  # histories that have probability zero under every character
        order, results, ll = order[fine], results[fine], ll[:, fine]
    code = code[order]
    start = infosets.seer
    if len(order):
        first_row = np.append(True, results[1:] != results[:-1])
        first = first_row | np.append(True, code[1:] != code[:-1])
        top = ll.max(1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        joint = np.add.reduceat(np.exp(ll - top), np.flatnonzero(first), axis=1)
        first_row = first_row[first]
        results, code = results[first], code[first]
        of = np.cumsum(first_row) - 1
        total = np.add.reduceat(joint, np.flatnonzero(first_row), axis=1)
        spread = np.take(total, of, axis=1)
        share = np.divide(joint, spread, out=np.zeros_like(joint), where=spread > 0)
        with np.errstate(divide="ignore"):
            row_ll = np.log(total) + top
        results = results[first_row]
    else:
        of, share, row_ll = np.zeros(0, dtype=np.int64), ll, ll
    asked, wolves = results >> n, results & ((1 << n) - 1)
    bits = 1 << np.arange(n, dtype=np.int64)
    told = (asked[:, None] & bits) > 0
    value = np.where(told, np.where((wolves[:, None] & bits) > 0, 8.0, -8.0), 0.0)
    return msgspec.structs.replace(
        infosets,
        kind=np.append(infosets.kind[:start], np.full(len(told), SEER)),
        told=np.concatenate([infosets.told[:start], told]),
        value=np.concatenate([infosets.value[:start], value]),
        partner=np.concatenate([infosets.partner[:start], np.zeros((len(told), n))]),
        ll=np.concatenate([infosets.ll[:, :start], row_ll], axis=1),
        sequences=Sequences(of, code, share),
    )


def reported(
    infosets: InfoSets,
    subjects: Sequence[int],
    everything: Sequence[int],
    shown: np.ndarray,
    strict: bool = True,
) -> InfoSets:
    """The infosets after the seat has reported `subjects`: other orders of telling are out (where `strict`), and the
    order of all that it has reported by now, `everything`, does not matter any more."""
    start, n, q = infosets.seer, infosets.told.shape[1], infosets.sequences
    if len(infosets.kind) == start:
        return infosets
    bits = 1 << np.arange(n, dtype=np.int64)
    said = (q.code == encode(subjects, n)) | (not strict)
    code = np.zeros_like(q.code)
    left, place = q.code.copy(), np.ones_like(q.code)
    while left.any():
        digit = left % (n + 1)
        keep = (digit > 0) & ~np.isin(digit - 1, list(everything))
        code += np.where(keep, digit * place, 0)
        place = np.where(keep, place * (n + 1), place)
        left //= n + 1
    seer = slice(start, None)
    results = ((infosets.told[seer] * bits).sum(1) << n) | ((infosets.value[seer] > 0) * bits).sum(1)
    # A row's likelihood already has the share of its orders that match the reports: renormalise shares among them.
    share = np.where(said, q.share, 0.0)
    total = np.zeros((len(share), len(infosets.kind) - start))
    np.add.at(total.T, q.of, share.T)
    share = np.divide(share, total[:, q.of], out=np.zeros_like(share), where=total[:, q.of] > 0)
    with np.errstate(divide="ignore"):
        ll = infosets.ll[:, start:][:, q.of] + np.log(share)
    return _gathered(infosets, results[q.of], code, lambda some: ll[:, some], shown)


def consistent(told: np.ndarray, value: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """bool `(n_infosets, n_shown)`: whether each infoset's results fit each set of seats that show as werewolves."""
    bits = 1 << np.arange(told.shape[1], dtype=np.int64)
    asked, wolves = (told * bits).sum(1), ((value > 0) * bits).sum(1)
    out: np.ndarray = (asked[:, None] & shown[None, :]) == wolves[:, None]
    return out
