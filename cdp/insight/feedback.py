"""Tone of feedback: a word list to begin with, then a model of the tenant's own ratings where it is measurably better.

Character n-grams need no word boundaries, so that Chinese and English are read by one model. Its weak labels are what people
answered beside their text (stars, satisfaction, NPS). What it is not sure of it does not say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cdp.insight import lexicon
from cdp.insight.arrays import Array
from cdp.insight.card import Card

if TYPE_CHECKING:  # scikit-learn is slow to load, and a run over nothing new learns nothing
    from sklearn.pipeline import Pipeline

MOST = 50_000  # rated texts, the newest
SLICE = 10_000  # texts read at a time
FEW = 200  # labelled texts below which the word list speaks
SURE = 0.65  # P(well) above it, or below one minus it: what lies between is not said
NEWEST = 0.2  # share of the labelled texts that are kept for measuring
METHOD = "logistic regression on character 1- to 3-grams (TF-IDF) of the tenant's own rated texts; a word list with negation where that is no better"
LIMITS = "irony; languages other than Chinese and English; single remarks: read the text before answering a person"


@dataclass(frozen=True)
class Tone:
    """What reads tone: a model, or the word list where there is none."""

    card: Card
    model: "Pipeline | None"


@dataclass(frozen=True)
class Remark:
    """What one text says.

    Attributes:
        tone: `positive`, `negative`, or `unclear` where it is not sure.
        score: From −1 to 1.
        confidence: `low` for the word list, `model` for the trained one.
    """

    language: str
    topics: tuple[str, ...]
    tone: str
    score: float
    confidence: str


def learn(texts: Sequence[str], good: Sequence[bool]) -> Tone:
    """Learn from rated texts in the order in which they were written; the newest fifth measures.

    Args:
        texts: Oldest first, shape (n,).
        good: Whether their writers were content.
    """
    said, truth = [lexicon.folded(text) for text in texts[-MOST:]], np.array(good[-MOST:], bool)
    cut = int(len(said) * (1 - NEWEST))
    about = f"{cut:,} rated texts to learn from, {len(said) - cut:,} newer ones to be measured on"
    figures: dict[str, float | int | str | None] = {"texts measured": len(said) - cut}
    if len(said) < FEW or any(len(set(part.tolist())) < 2 for part in (truth[:cut], truth[cut:])):
        why = f"low confidence: {len(said)} rated texts are too few to learn from ({FEW} are needed), the word list speaks"
        return Tone(Card("feedback_tone", about, METHOD, figures, doubts=(why,), limits=LIMITS), None)
    newest = truth[cut:]
    common = max(newest.mean(), 1 - newest.mean())
    words = np.array([lexicon.tone(text) for text in said[cut:]])
    clear = words != 0
    model = _model(len(said)).fit(said[:cut], truth[:cut])
    chance = model.predict_proba(said[cut:])[:, 1]
    sure = (chance >= SURE) | (chance <= 1 - SURE)
    accuracy = float(((chance >= 0.5) == newest).mean())
    figures |= {
        "accuracy": accuracy, "accuracy where it is sure": _share((chance >= 0.5)[sure] == newest[sure]), "share it is sure of": float(sure.mean()),
        "accuracy of the word list, where it says anything": _share((words > 0)[clear] == newest[clear]), "share of the word list": float(clear.mean()),
        "share of the commoner rating": float(common),
    }  # fmt: skip
    if accuracy <= common:
        why = f"low confidence: texts do not tell the ratings ({accuracy:.0%} right, the commoner rating alone {common:.0%}), the word list speaks"
        return Tone(Card("feedback_tone", about, METHOD, figures, doubts=(why,), limits=LIMITS), None)
    return Tone(Card("feedback_tone", about, METHOD, figures, limits=LIMITS), _model(len(said)).fit(said, truth))


def read(tone: Tone, texts: Sequence[str]) -> list[Remark]:
    """What each text says."""
    said = [lexicon.folded(text) for text in texts]
    if not said:
        return []
    if tone.model is None:
        scores, confidence, least = np.array([lexicon.tone(text) for text in said]), "low", 0.01
    else:
        slices = [said[start : start + SLICE] for start in range(0, len(said), SLICE)]
        chance = np.concatenate([tone.model.predict_proba(part)[:, 1] for part in slices])
        scores, confidence, least = 2 * chance - 1, "model", 2 * SURE - 1
    names = np.where(scores >= least, "positive", np.where(scores <= -least, "negative", "unclear"))
    return [
        Remark(lexicon.language(text), tuple(lexicon.topics(text)), str(name), float(score), confidence)
        for text, name, score in zip(texts, names, scores, strict=True)
    ]


def _model(texts: int) -> "Pipeline":
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    features = TfidfVectorizer(
        analyzer="char_wb",
        ngram_range=(1, 3),
        min_df=2 if texts >= 1000 else 1,
        max_features=200_000,
        sublinear_tf=True,
    )
    return make_pipeline(features, LogisticRegression(C=4.0, max_iter=1000))


def _share(right: Array) -> float | None:
    return float(right.mean()) if len(right) else None
