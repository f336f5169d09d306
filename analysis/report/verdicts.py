"""The verdicts in words: sentences of the page, each made only from the number beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from analysis.evaluation.evaluate import Evaluation, Skipped
from analysis.evaluation.second_order import SecondOrder
from analysis.report.page import p_text, title_of, within
from analysis.rungs.rungs import (
    EQUIVALENT,
    MARGIN,
    R2_MARGIN,
    Evidence,
    Rung,
    alarmed,
    reached,
    said_against_represented,
)
from analysis.stats.bootstrap import Interval

PLACES = {
    "belief_mention": "the subject's name in a question put to the model beside the game: the answer's own token",
    "mention": "a mention in play: the subject's name where it was read last",
    "prompt_last": "the last token before the model's answer, in play",
    "option": "the choice: the subject's name among the options shown",
    "speech_last": "the last word said aloud",
    "speech_mean": "the mean over the words said aloud",
    "output_last": "the last token of the answer",
    "output_mean": "the mean over the answer",
    "role_line": "the line that tells the seat its role",
}
"""Each site's position in words."""
WHO = {
    "subject_is_werewolf": "who is a werewolf", "subject_is_seer": "who is the seer",
    "subject_is_evil": "who is evil", "subject_is_merlin": "who is Merlin",
}  # fmt: skip


def place_of(site: str) -> str:
    """A site in words; its own name where there are none."""
    return PLACES.get(site, f"site {site}")


def is_answer(site: str) -> bool:
    """Whether the site is in an answer to a question about the subject, not in play."""
    return site == "belief_mention"


def rung_words(rung: Rung) -> str:
    """One sentence: what the rung says and the number that says it."""
    number = f"{rung.measure} {within(rung.value, rung.number != 1 and rung.number != 3)}"
    if rung.verdict == "not tested":
        return f"{_NOT[rung.number]}: {rung.why}."
    p = f", p {p_text(rung.p)}" if np.isfinite(rung.p) else ""
    if rung.number == 4:
        said = _SAID[4][rung.behaviour].format(choices=rung.choices)
        return f"{said} ({number}{p}){_CAUSE[rung.behaviour == 'yes', rung.causal]}."
    return f"{_SAID[rung.number][rung.verdict]} ({number}{p})."


_SAID = {
    1: {
        "yes": "Something of it can be read, beyond chance and an untrained model",
        "no": "Nothing of it can be read beyond chance or an untrained model",
        "unclear": "Whether anything of it can be read is not settled by so many games",
    },
    2: {
        "yes": "It adds to everything that is public or incidental put together",
        "no": f"It adds less than {MARGIN} to what is public and incidental: nothing that matters",
        "unclear": "Whether it adds to what is public and incidental is not settled by so many games",
    },
    3: {
        "yes": "It follows an ideal reader's inference, and errs where that errs",
        "no": "It does not follow an ideal reader's inference beyond what is public",
        "unclear": "Whether it follows an ideal reader's inference is not settled by so many games",
    },
    4: {
        "yes": "The players' {choices} go with it beyond what is public",
        "no": "The players' {choices} do not go with it beyond what is public",
        "unclear": "Whether the players' {choices} go with it is not settled by so many games",
    },
    5: {
        "yes": "It tells more than the ideal reader here: a leak, private knowledge, or a reader that knows too little",
        "no": "It tells no more than an ideal reader of the same, as it should",
        "unclear": "Whether it tells more than an ideal reader is not settled by so many games",
    },
}  # fmt: skip
_CAUSE = {
    (True, ""): "; that alone is no proof of cause",
    (True, "used"): ", and change where it is changed",
    (True, "not beyond controls"): ", but changing it moved them no more than its controls did, so use is not shown",
    (True, "underpowered"): "; too little was changed to show cause",
    (False, ""): "", (False, "underpowered"): "",
    (False, "used"): "; where it is changed, they change",
    (False, "not beyond controls"): "; changing it moved them no more than its controls did",
}  # fmt: skip
"""Of rung 4: whether choices go with it, what experiments say -> how the sentence ends."""
_NOT = {
    1: "Not read", 2: "Not held against the surface", 3: "Not held against an ideal reader",
    4: "Not held against choices", 5: "Not held against an ideal reader",
}  # fmt: skip


def models_answer(e: Evaluation | Skipped) -> list[str]:
    """Does it model the others? An answer of one target from its rungs, for someone who reads nothing else."""
    what = WHO.get(e.target.name, title_of(e.target.name).lower())
    if isinstance(e, Skipped):
        return [f"Not tested: {e.reason}."]
    rungs, v = e.rungs, e.evidence
    top = reached(rungs)
    head = {
        0: f"Nothing that can be claimed: nothing is read of {what}"
        if rungs[0].verdict == "no"
        else f"Not settled: too few games to tell whether anything is read of {what}",
        1: f"Not shown: something can be read of {what}, and it is not shown to be more than what is public tells",
        2: f"In part: more can be read of {what} than what is public tells, and it is not shown to be inferred",
        3: f"Yes: it infers {what}, beyond what is public tells by itself",
        4: f"Yes: it infers {what}, beyond what is public tells by itself, and "
         f"its {rungs[3].choices} {'change' if rungs[3].causal == 'used' else 'go'} with it",
    }[top]  # fmt: skip
    if alarmed(rungs):
        head = f"Not claimed: more is read of {what} than anyone could infer, so look for a leak first"
    asked = (
        "Of two players of one moment, one with the role and one without, what is read from its activations picks the "
        "right one"
        if v.within_decisions
        else "Of two moments, one of either kind, what is read from its activations picks the right one"
    )
    yardsticks = f"everything public and incidental together {v.surface.value:.0%}"
    if v.ceiling_name:
        yardsticks += f", an ideal reader {v.ceiling.value:.0%}"
    said = [f"{head}.", f"{asked} {_share(v.read)} of the time; {yardsticks}; chance 50%."]
    said += inferred_words(v)[:1]
    if rungs[4].verdict == "yes" and not alarmed(rungs):
        said.append("It tells more than our ideal reader, which knows models' ways of play only roughly.")
    return said


def inferred_words(v: Evidence) -> list[str]:
    """The ideal reader as a yardstick."""
    if not v.ceiling_name:
        return []
    out = []
    if v.reachable.low > 0:
        close = (
            f" and falls short of it by less than {EQUIVALENT} AUROC"
            if v.short.high < EQUIVALENT
            else f" and falls short of it by {within(v.short)} AUROC"
            if v.short.low > 0
            else ""
        )
        out.append(
            f"It adds {_share(v.share)} of what an ideal reader ({v.ceiling_name}) adds to what is public{close}."
        )
    else:
        out.append(
            f"An ideal reader ({v.ceiling_name}) is not shown to add to the surface here "
            f"({within(v.reachable, True)}), so the way to it cannot be measured."
        )
    out.append(
        f"Of the posterior's log-odds that the surface leaves open the activations explain {_share(v.r2)}, and "
        f"{_share(v.r2_truth)} where the truth is given besides."
    )
    return out


def second_words(found: SecondOrder) -> str:
    """What rung 3 says of the second order."""
    if found.why:
        return f"Second order: not looked for ({found.why})."
    verdict = (
        "so it holds what the other can be expected to hold of it"
        if found.r2.low > 0
        else "so nothing that matters of the second order is read here"
        if found.r2.high < R2_MARGIN
        else "so the second order is not settled by so many games"
    )
    return (
        "Second order: of what an ideal reader in its seat expects the other to believe of it, beyond the surface and "
        f"its own belief about the other, the activations explain {_share(found.r2)} ({found.n_rows:,} rows of "
        f"{found.n_games:,} games), {verdict}."
    )


def _share(i: Interval) -> str:
    return f"{i.value:.0%} [{i.low:.0%}, {i.high:.0%}]"


def said_words(v: Evidence) -> str:
    """The model's stated belief beside the probe's."""
    if not np.isfinite(v.stated.value):
        return "Nothing was asked of the players in this run, so nothing stated stands beside what is read."
    verdict = said_against_represented(v)
    difference = within(v.said, True)
    plain = {
        "said = represented": "Asked, they say what is read of them",
        "latent more than said": "Asked, they say less than is read of them",
        "said more than represented": "Asked, they say more than is read of them here",
        "not told apart": "Asked, what they say is not told apart from what is read of them",
    }[verdict]
    return f"{plain} (AUROC {v.stated.value:.2f} against {v.read.value:.2f}, difference {difference})."


def acts_answer(
    headline: Evaluation | Skipped | None,
    lies: pl.DataFrame,
    causal: str,
    own: Evaluation | Skipped | None = None,
) -> list[str]:
    """Does it act on it, and do they deceive? From rung 4, the causal table, and the question of one's own lies.

    own: that question; where it was not evaluated, the contrasts of speech (`lies`) stand in.
    """
    said = []
    if isinstance(headline, Evaluation):
        said.append(acts_words(headline.rungs[3]))
    else:
        said.append("Not tested: the question that their choices would be held against was not evaluated.")
    said.append(causal)
    wolves = (
        lies.filter("within_role", pl.col("contrast").str.ends_with(": lie against truth"))
        if len(lies)
        else lies
    )
    if isinstance(own, Evaluation):
        said.append(lie_words(own, wolves))
    elif len(wolves):
        best = wolves.sort("auroc", descending=True, maintain_order=True).row(0, named=True)
        said.append(
            "Whether a lie within a role can be told before it is said was not tested; of "
            f"{_counted(len(wolves), 'window')} the highest reads {best['auroc']:.2f} [{best['low']:.2f}, "
            f"{best['high']:.2f}] at {best['window']}, not corrected ({best['n_positive']:,} lies of "
            f"{best['n_games']:,} games)."
        )
    else:
        said.append("Lies within a role: too few, or none captured.")
    return said


def acts_words(rung: Rung) -> str:
    """The answer to whether it is acted on, by rung 4 and nothing else, and the sentence that gives the reason."""
    reason = rung_words(rung)
    if rung.verdict == "not tested":
        return f"Not tested: {rung.why}."
    if rung.verdict == "unclear" and rung.behaviour == "unclear":
        return reason
    head = {
        "yes": "Yes" if rung.causal == "used" else "It looks so",
        "no": "No",
        "unclear": "Not shown" if rung.behaviour == "yes" else "In part",
    }[rung.verdict]
    return f"{head}: {reason[0].lower()}{reason[1:]}"


def lie_words(own: Evaluation, wolves: pl.DataFrame) -> str:
    """Whether a lie within the role can be told from true statements: what rung 1 of that question says, no more."""
    rung, site = own.rungs[0], own.target.activations[0].site
    sure = {
        "yes": "can be told from the truth before it is said",
        "no": "cannot be told from the truth before it is said",
    }.get(rung.verdict, "is not shown to be told from the truth before it is said")
    who = title_of(own.target.name).removesuffix(" is about to lie")
    here = wolves.filter(pl.col("window") == site) if len(wolves) else wolves
    recall, beside = "", ""
    if len(here):
        r = here.row(0, named=True)
        recall = f", {r['recall']:.0%} found at 1% false alarms"
        if r["no_role_line"] is not None:
            beside = _without_role_line(r)
        if r["boost"] is not None:
            adds = "adds to it" if r["boost_low"] > 0 else "is not shown to add to it"
            boost = f"{r['boost']:+.3f} [{r['boost_low']:+.3f}, {r['boost_high']:+.3f}]"
            beside += f" A monitor of the words reaches {r['monitor']:.2f}; looking inside {adds} ({boost})."
    return (
        f"{who}'s lie {sure} (AUROC {within(rung.value)} at {site}, p {p_text(rung.p)}{recall}, "
        f"{int(own.target.y.sum()):,} lies of {own.target.n_games:,} games).{beside}"
    )


def _without_role_line(r: dict[str, Any]) -> str:
    """The told-to contrast of a window: what is left where nothing tells the player its role."""
    left, change = (
        f"{r[key]:{form}} [{r[key + '_low']:{form}}, {r[key + '_high']:{form}}]"
        for key, form in (("no_role_line", ".2f"), ("removal", "+.3f"))
    )
    apart = (
        "less than" if r["removal_high"] < 0
        else "more than" if r["removal_low"] > 0
        else "not told apart from that"
    )  # fmt: skip
    return f" With the line that tells it its role removed the AUROC is {left}, {apart} with it ({change})."


def _counted(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def learning_words(curve: pl.DataFrame) -> str:
    """What the curve of training games itself shows."""
    if len(curve) < 3:
        return ""
    values = curve["auroc"].to_list()
    grown, late = values[-1] - values[0], values[-1] - values[-2]
    course = f"from {values[0]:.2f} to {values[-1]:.2f}"
    if max(abs(v - 0.5) for v in values) < 0.03:
        return f"{course}: within .03 of chance at every size"
    if late > 0.01:
        return f"{course}: still rising at the end, so more games would help"
    if grown > 0.01:
        return f"{course}: risen and flat at the end, so more games of this kind would add little"
    return f"{course}: not rising with games"


def selectivity_words(table: pl.DataFrame) -> str:
    """What the control task says at the layer that reads the real task best."""
    if not len(table):
        return ""
    best = table.sort("real", descending=True, maintain_order=True).row(0, named=True)
    gap = best["selectivity"]
    verdict = (
        "a random label of the same inputs is read worse, so the probe answers the question"
        if gap > 0.05
        else "a random label of the same inputs is read better: here any label of name and moment can be looked up"
        if gap < -0.05
        else "a random label of the same inputs is read as well, so the probe may look up more than it understands"
    )
    return f"{gap:+.2f} ({best['real']:.2f} against {best['control']:.2f}): {verdict}"


def pooled_words(models: Sequence[str], agents: Sequence[str]) -> str:
    """Whose decisions the rows are, so that pooling over models is stated."""
    shown = ", ".join(m.split("@")[0] for m in models)
    if len(models) > 1:
        return f"Rows pool {len(models)} models ({shown}); --by model tells them apart."
    if len(agents) > 1:
        return (
            f"Rows pool {len(agents)} agents of {shown} ({', '.join(agents)}); --by agent tells them apart."
        )
    return f"All rows are decisions of {shown}."
