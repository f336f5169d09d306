"""What a seer may have inspected: its hidden histories, one row for each set of results, and their orders.

Every seat may be the seer, so the rows of all seats go through the same array operations, one seat's after another's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from agents.werewolf.observer.information_sets import SEER, Characters, InfoSets, Scene, Sequences, encode
from agents.werewolf.observer.likelihood import night_choice


def inspect(
    c: Characters,
    scene: Scene,
    infosets: Sequence[InfoSets],
    seats: Sequence[int],
    repeats: bool,
    shown: np.ndarray,
    uniform: bool,
) -> list[InfoSets]:
    """The infosets of some seats, each of which may be the seer, after that seat, if it is, has inspected somebody
    tonight.

    `shown` holds, as bit masks, the sets of seats that may show as werewolves; impossible results are dropped.
    """
    n = scene.n
    starts = [one.seer for one in infosets]
    counts = [len(one.kind) - start for one, start in zip(infosets, starts)]
    first = np.cumsum([0, *counts])
    owner = np.repeat(np.arange(len(seats)), counts)
    told = np.concatenate([one.told[start:] for one, start in zip(infosets, starts)])
    value = np.concatenate([one.value[start:] for one, start in zip(infosets, starts)])
    ll = np.concatenate([one.ll[:, start:] for one, start in zip(infosets, starts)], axis=1)
    sequences = [one.sequences for one in infosets]
    of = np.concatenate([q.of + row for q, row in zip(sequences, first)])
    orders = np.concatenate([q.code for q in sequences])
    legal: np.ndarray = scene.alive & (np.arange(n) != np.asarray(seats)[owner, None])
    if not repeats:
        legal = legal & ~told
    if uniform:
        p = np.broadcast_to(legal / np.maximum(legal.sum(-1, keepdims=True), 1), (len(c), *told.shape))
    else:
        suspicion = c.follow[:, SEER, None, None] * scene.crowd + np.stack(
            [scene.base(me, SEER) for me in seats]
        )
        lean = np.where(told, value, suspicion[:, owner])
        p = night_choice(lean, c["sharpness"], c.random, np.broadcast_to(legal, (len(c), *told.shape)))
    if c.lapse:
        p = (1 - c.lapse) * p + c.lapse * legal / np.maximum(legal.sum(-1, keepdims=True), 1)
    bits = 1 << np.arange(n, dtype=np.int64)
    results = ((owner << 2 * n) + np.concatenate([one.results for one in infosets]))[of]
    # Every sequence with every seat that may be inspected next, as (seat, sequence) pairs.
    seat, which = np.nonzero(legal.T[:, of])
    row = of[which]
    known = told[row, seat]
    public = np.zeros((len(seats), n), dtype=bool)
    for number, me in enumerate(seats):
        public[number, list(scene.reports.get(me, {}))] = True
    code = np.where(public[owner[row], seat], orders[which], orders[which] * (n + 1) + seat + 1)
    idle = np.flatnonzero(~np.asarray(legal.any(1))[of])  # nobody left to inspect: not asked
    again, fresh = np.flatnonzero(known), np.flatnonzero(~known)
    looked = results[which] | np.where(known, 0, bits[seat] << n)
    with np.errstate(divide="ignore"):
        before = np.take(ll, of, axis=1) + np.log(np.concatenate([q.share for q in sequences], axis=1))
        # Where nobody is left to inspect the choice has probability one: a last column of zeros.
        log_p = np.concatenate([np.log(p).reshape(len(c), -1), np.zeros((len(c), 1))], axis=1)
    origin = np.concatenate([idle, which[again], which[fresh], which[fresh]])
    at = row * n + seat
    choice = np.concatenate([np.full(len(idle), log_p.shape[1] - 1), at[again], at[fresh], at[fresh]])

    def likelihoods(some: np.ndarray) -> np.ndarray:
        drawn = np.take(before, origin[some], axis=1)
        drawn += np.take(log_p, choice[some], axis=1)
        return drawn

    return _gathered(
        infosets, np.concatenate([results[idle], looked[again], looked[fresh], looked[fresh] | bits[seat[fresh]]]),
        np.concatenate([orders[idle], code[again], code[fresh], code[fresh]]), likelihoods, shown,
    )  # fmt: skip


def _gathered(
    infosets: Sequence[InfoSets],
    results: np.ndarray,
    code: np.ndarray,
    likelihoods: Callable[[np.ndarray], np.ndarray],
    shown: np.ndarray,
) -> list[InfoSets]:
    """Builds the seer rows of every seat from sequences with their results and their orders `(n_sequences,)`.

    `results` hold the seats asked as bits above those of the werewolves found, and above them the place among
    `infosets` of the seat that asked; `likelihoods` gives the log-likelihoods `(n_styles, n_picked)` of the sequences
    with these indices. It is asked for those alone that can be.
    """
    n = infosets[0].told.shape[1]
    # One sort of one number is several times as fast as two; codes of many orders among many seats have no room.
    room = int(code.max(initial=0)) + 1
    if room * (int(results.max(initial=0)) + 1) < 1 << 62:
        order = np.argsort(results * room + code, kind="stable")
    else:
        order = np.lexsort((code, results))
    results = results[order]
    head = np.flatnonzero(np.append(True, results[1:] != results[:-1])[: len(results)])
    single, side = results[head], (1 << n) - 1
    fits = ((((single >> n) & side)[:, None] & shown) == (single & side)[:, None]).any(1)
    possible = np.repeat(fits, np.diff(np.append(head, len(results))))
    order, results = order[possible], results[possible]
    ll = likelihoods(order)
    fine = ll.max(0, initial=-np.inf) > -np.inf
    if not fine.all():  # histories that have probability zero under every character
        order, results, ll = order[fine], results[fine], ll[:, fine]
    code = code[order]
    if len(order):
        owner = results >> 2 * n
        own = np.append(True, owner[1:] != owner[:-1])
        top = np.maximum.reduceat(ll, np.flatnonzero(own), axis=1)
        top = np.where(np.isfinite(top), top, 0.0)
        number = np.cumsum(own) - 1
        first_row = np.append(True, results[1:] != results[:-1])
        first = first_row | np.append(True, code[1:] != code[:-1])
        joint = np.add.reduceat(np.exp(ll - np.take(top, number, axis=1)), np.flatnonzero(first), axis=1)
        first_row = first_row[first]
        results, code, number = results[first], code[first], number[first]
        of = np.cumsum(first_row) - 1
        total = np.add.reduceat(joint, np.flatnonzero(first_row), axis=1)
        spread = np.take(total, of, axis=1)
        share = np.divide(joint, spread, out=np.zeros_like(joint), where=spread > 0)
        with np.errstate(divide="ignore"):
            row_ll = np.log(total) + np.take(top, number[first_row], axis=1)
        orders_to = np.searchsorted(results >> 2 * n, np.arange(len(infosets) + 1)).tolist()
        results = results[first_row]
    else:
        of, share, row_ll = np.zeros(0, dtype=np.int64), ll, ll
        orders_to = [0] * (len(infosets) + 1)
    rows_to = np.searchsorted(results >> 2 * n, np.arange(len(infosets) + 1)).tolist()
    results &= (1 << 2 * n) - 1
    bits = 1 << np.arange(n, dtype=np.int64)
    told = ((results >> n)[:, None] & bits) > 0
    value = np.where(told, np.where((results[:, None] & bits) > 0, 8.0, -8.0), 0.0)
    out = []
    for place, one in enumerate(infosets):
        start, rows = one.seer, slice(*rows_to[place : place + 2])
        orders = slice(*orders_to[place : place + 2])
        count = rows.stop - rows.start
        out.append(
            msgspec.structs.replace(
                one,
                kind=np.append(one.kind[:start], np.full(count, SEER)),
                told=np.concatenate([one.told[:start], told[rows]]),
                value=np.concatenate([one.value[:start], value[rows]]),
                partner=np.concatenate([one.partner[:start], np.zeros((count, n))]),
                ll=np.concatenate([one.ll[:, :start], row_ll[:, rows]], axis=1),
                results=results[rows],
                sequences=Sequences(of[orders] - rows.start, code[orders], share[:, orders]),
            )
        )
    return out


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
    said = (q.code == encode(subjects, n)) | (not strict)
    code = np.zeros_like(q.code)
    left, place = q.code.copy(), np.ones_like(q.code)
    while left.any():
        digit = left % (n + 1)
        keep = (digit > 0) & ~np.isin(digit - 1, list(everything))
        code += np.where(keep, digit * place, 0)
        place = np.where(keep, place * (n + 1), place)
        left //= n + 1
    # A row's likelihood already has the share of its orders that match the reports: renormalise shares among them.
    share = np.where(said, q.share, 0.0)
    total = np.zeros((len(share), len(infosets.kind) - start))
    np.add.at(total.T, q.of, share.T)
    share = np.divide(share, total[:, q.of], out=np.zeros_like(share), where=total[:, q.of] > 0)
    with np.errstate(divide="ignore"):
        ll = infosets.ll[:, start:][:, q.of] + np.log(share)
    return _gathered([infosets], infosets.results[q.of], code, lambda some: ll[:, some], shown)[0]


def consistent(results: np.ndarray, shown: np.ndarray, n: int) -> np.ndarray:
    """bool `(n_seer_rows, n_shown)`: whether each row's results among n seats fit each set of seats that show as
    werewolves."""
    out: np.ndarray = ((results >> n)[:, None] & shown) == (results & ((1 << n) - 1))[:, None]
    return out
