"""A model that is asked in words, photo by photo and several at once: nothing is asked twice, and no photo vanishes."""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from counterset.errors import ConfigError, ModelError
from counterset.evaluation.answers import MAX_ANSWER, NUM_EXAMPLES, Answered, text_figures
from counterset.evaluation.label_spaces import CandidateLabels
from counterset.evaluation.measures import AskedFacts
from counterset.evaluation.photos import FEW, PairPhotos
from counterset.evaluation.questions import OPEN_QUESTION, choice_question, chosen, named, refuses
from counterset.evaluation.reply_store import ReplyStore
from counterset.evaluation.vectors import Progress
from counterset.load import Release
from counterset.models.door import Answerer, NoReply, Reply
from counterset.pictures import DECODER_VERSION, small_jpeg
from counterset.release.questions import LETTERS, options_of
from counterset.schemas import PREDICTIONS
from counterset.tables import table_of
from counterset.workspace import digest

logger = logging.getLogger(__name__)

MAX_SIDE_PX = 1_024
"""Of what a model is shown; a larger photo is scaled down."""
JPEG_QUALITY = 90
PARALLEL = 8
PROBED = 3
"""Photos that are asked about one by one before all others: if none of them is taken, the question is at fault."""
IN_A_ROW = 10
"""Photos without an answer, one after the other, after which the rest is not asked about."""
NUM_ESTIMATED = 20
"""Answers after which it is seen whether the model says anything, and what all will cost."""
Price = tuple[float, float]
"""What a million tokens of questions and of answers cost."""


class _Question(NamedTuple):
    """One photo's question; `key` names all that decides its answer."""

    photo_id: str
    truth: str
    options: tuple[str, ...]
    text: str
    key: str


@dataclass
class _Failures:
    """Questions without an answer, by key: what the endpoint would not take, and what it may answer later.

    Of the latter, those in `at_photo` may have failed for their photos.
    """

    turned_away: dict[str, str] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)
    at_photo: set[str] = field(default_factory=set)
    in_a_row: int = 0

    def add(self, key: str, failure: NoReply) -> None:
        """Note one.

        Raises:
            NoReply: no other question will bring a reply either.
        """
        (self.unanswered if failure.may_pass else self.turned_away)[key] = str(failure)
        if failure.may_be_photo:
            self.at_photo.add(key)
        self.in_a_row += 1
        if failure.is_of_all or self.in_a_row >= IN_A_ROW:
            raise failure


def check_price(price: Price | None) -> None:
    """See that a price is one.

    Raises:
        ConfigError: it is not.
    """
    if price is not None and not all(math.isfinite(part) and part >= 0 for part in price):
        raise ConfigError(f"{price} is no price; give what a million tokens of questions and of answers cost")


def check_options(model: Answerer, candidates: int) -> None:
    """See, before anything is asked, that a question has a letter for each option.

    Raises:
        ConfigError: it has too many.
    """
    if not model.is_open and candidates > len(LETTERS):
        raise ConfigError(
            f"{model.name} chooses among at most {len(LETTERS)} options and not among {candidates} labels; take "
            "--label-space top20 or classes, or ask without options (openai-open:)"
        )


def ask_each(
    release: Release,
    photos: PairPhotos,
    candidates: CandidateLabels,
    model: Answerer,
    folder: Path,
    parallel: int,
    progress: Progress,
    price: Price | None = None,
) -> Answered:
    """Ask about every photo whose question was not answered before.

    A photo is shown as a JPEG of at most MAX_SIDE_PX on its longer side that holds nothing but pixels.

    Args:
        release: whose photos.
        photos: those to ask about.
        candidates: the labels that each class's photos are asked about.
        model: who is asked.
        folder: where replies are kept.
        parallel: questions under way at once. When the run is stopped, it waits for these and keeps their answers.
        progress: told after every answer.
        price: what tokens cost; the cost of all questions is logged as soon as it can be estimated.

    The first question is also asked without its photo: a server of a text-only model may drop photos without a word,
    and its count of tokens tells.

    Raises:
        ModelError: the endpoint cannot be asked, some photos have no answer yet, or all answers are empty; what was
            answered is kept.
    """
    questions = _questions(photos, candidates, model)
    blind = questions[0]._replace(photo_id="", key=digest(questions[0].key, "without its photo"))
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", model.name).strip("-.")[-80:]
    path = folder / f"{readable}-{digest(model.name)[:12]}.sqlite"
    with contextlib.closing(ReplyStore(path)) as store:
        kept = store.read()
        missing = list({question.key: question for question in questions if question.key not in kept}.values())
        failures = _Failures()

        def told(done: int, total: int) -> None:
            progress(done, total)
            if done == total - len(missing) + NUM_ESTIMATED < total:
                there = store.read()
                early = [there[question.key] for question in questions if question.key in there]
                _check_words(model.name, early, path)
                _estimate(model.name, early, total, price)

        try:
            _ask(release, model, missing, blind, store, failures, parallel, told, len(questions), kept)
        except NoReply as failure:
            raise ModelError(
                f"{model.name} gives no answers: {failure}; see that it is served there and takes photos, "
                "and run again to ask the rest"
            ) from failure
        replies = store.read()
    num, total = len(failures.unanswered), len(questions)
    if num:
        why = next(iter(failures.unanswered.values()))
        raise ModelError(
            f"{model.name} did not answer about {num} of {total} photos ({why}); run again to ask the rest"
        )
    if len(failures.turned_away) > FEW * total:
        why = next(iter(failures.turned_away.values()))
        raise ModelError(
            f"{model.name} would not take {len(failures.turned_away)} of {total} photos ({why}); see what it takes"
        )
    _check_words(model.name, [replies[one.key] for one in questions if one.key not in failures.turned_away], path)
    num_asked = len(missing) - len(failures.turned_away)
    with_photo, without = (replies.get(key, Reply("")).tokens_in for key in (questions[0].key, blind.key))
    tokens_photo = None if with_photo is None or without is None else with_photo - without
    return _answered(questions, replies, failures.turned_away, model, candidates.name, num_asked, tokens_photo, price)


def _questions(photos: PairPhotos, candidates: CandidateLabels, model: Answerer) -> list[_Question]:
    made = []
    labels_of = {
        class_id: tuple(sorted({candidates.space.labels[position] for position in positions}))
        for class_id, positions in candidates.of_class.items()
    }
    columns = (photos.photo_id.tolist(), photos.sha256.tolist(), photos.class_id.tolist())
    for photo_id, sha256, class_id in zip(*columns, strict=True):
        labels = labels_of[class_id]
        options = labels if model.is_open else options_of(photo_id, labels)
        text = OPEN_QUESTION if model.is_open else choice_question(options)
        key = digest(model.answers_id, text, sha256, DECODER_VERSION, MAX_SIDE_PX, JPEG_QUALITY)
        truth = candidates.space.labels[candidates.space.index_of[class_id]]
        made.append(_Question(photo_id, truth, options, text, key))
    return made


def _ask(
    release: Release,
    model: Answerer,
    missing: Sequence[_Question],
    blind: _Question,
    store: ReplyStore,
    failures: _Failures,
    parallel: int,
    progress: Progress,
    total: int,
    kept: Mapping[str, Reply],
) -> None:
    """Ask and keep the replies.

    Raises:
        NoReply: the rest was not asked about.
    """

    def one(question: _Question) -> None:
        shown = small_jpeg(release.photo(question.photo_id), MAX_SIDE_PX, JPEG_QUALITY)
        store.keep(question.key, question.photo_id, question.text, model.ask(question.text, shown))

    num_done = total - len(missing)
    progress(num_done, total)
    num_probed, has_any = 0, bool(kept)
    while not has_any and num_probed < len(missing):
        question = missing[num_probed]
        num_probed += 1
        try:
            one(question)
            has_any = True
        except NoReply as failure:
            failures.add(question.key, failure)
            if (failure.may_pass and not failure.may_be_photo) or num_probed == PROBED:
                raise
        progress(num_done + num_probed, total)
    failures.in_a_row = 0
    if missing and blind.key not in kept:
        store.keep(blind.key, "", blind.text, _without_photo(model, blind.text))
    rest = iter(missing[num_probed:])
    running: dict[Future[None], str] = {}
    num_asked = num_done + num_probed
    with ThreadPoolExecutor(parallel) as pool:  # whose end waits for what is under way
        while True:
            running |= {pool.submit(one, question): question.key for question in islice(rest, parallel - len(running))}
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key = running.pop(future)
                num_asked += 1
                try:
                    future.result()
                    failures.in_a_row = 0
                except NoReply as failure:
                    failures.add(key, failure)
                progress(num_asked, total)
    if len(failures.at_photo) <= FEW * total:
        _ask_alone([question for question in missing if question.key in failures.at_photo], one, failures)


def _ask_alone(questions: Sequence[_Question], one: Callable[[_Question], None], failures: _Failures) -> None:
    """Ask once more, one by one, what failed at photos; of what fails in the same way again the photo is why."""
    for question in questions:
        try:
            one(question)
            del failures.unanswered[question.key]
        except NoReply as failure:
            if failure.may_be_photo:
                failures.turned_away[question.key] = failures.unanswered.pop(question.key)


def _without_photo(model: Answerer, text: str) -> Reply:
    """The reply to a question without a photo; an empty one where the endpoint takes no such question.

    Raises:
        NoReply: it may take it later.
    """
    try:
        return model.ask(text, None)
    except NoReply as failure:
        if (failure.may_pass and not failure.may_be_photo) or failure.is_of_all:
            raise
        return Reply("")


def _answered(
    questions: Sequence[_Question],
    replies: Mapping[str, Reply],
    turned_away: Mapping[str, str],
    model: Answerer,
    label_space: str,
    num_asked: int,
    tokens_photo: int | None,
    price: Price | None,
) -> Answered:
    """One prediction per photo, and what is said of all answers."""
    rows, unknown = [], []
    num_refused = num_cut = 0
    read = named if model.is_open else chosen
    given = [replies[question.key] for question in questions if question.key not in turned_away]
    for question in questions:
        reply = Reply("") if question.key in turned_away else replies[question.key]
        label = None if reply.is_refusal else read(reply.text, question.options)
        if label is None:
            unknown.append(reply.text[:MAX_ANSWER])
            is_refusal = reply.is_refusal or refuses(reply.text)
            num_refused += is_refusal
            num_cut += reply.is_cut and not is_refusal
        figures = text_figures(label, reply.text, question.truth, len(question.options))
        rows.append({"photo_id": question.photo_id, "model": model.name, "label_space": label_space, **figures})
    tokens_in, tokens_out = _total([r.tokens_in for r in given]), _total([r.tokens_out for r in given])
    served = tuple(sorted({reply.served for reply in given} - {""}))
    counts = (num_refused, num_cut, len(turned_away))
    facts = {
        "has_scores": False,
        "num_unknown": len(unknown),
        "unknown_answers": tuple(sorted(set(unknown))[:NUM_EXAMPLES]),
        "asked": AskedFacts(*counts, tokens_in, tokens_out, served, tokens_photo, price, _cost(given, price)),
    }
    return Answered(table_of(PREDICTIONS, rows), facts, num_asked)


def _cost(replies: Sequence[Reply], price: Price | None) -> float | None:
    """What questions and answers cost; None without a price, or where one does not tell its tokens."""
    if price is None or any(one.tokens_in is None or one.tokens_out is None for one in replies):
        return None
    return sum((one.tokens_in or 0) * price[0] + (one.tokens_out or 0) * price[1] for one in replies) / 1e6


def _check_words(name: str, replies: Sequence[Reply], path: Path) -> None:
    """See that a model says something at all.

    Raises:
        ModelError: every answer is empty.
    """
    if replies and not any(reply.text.strip() or reply.is_refusal for reply in replies):
        num_cut = sum(reply.is_cut for reply in replies)
        raise ModelError(
            f"{name} gave {len(replies)} empty answers and no other ({num_cut} cut off by the limit on tokens); see "
            f"that it takes photos and answers without long thoughts, move {path} away, and run again"
        )


def _estimate(name: str, replies: Sequence[Reply], total: int, price: Price | None) -> None:
    """Say what all questions will cost, from those that were answered."""
    if replies and (cost := _cost(replies, price)) is not None:
        say = "%s: %d answers cost %.3g at this price, so all %d will cost about %.3g; stop the run if that is too much"
        logger.warning(say, name, len(replies), cost, total, cost * total / len(replies))


def _total(counts: Sequence[int | None]) -> int | None:
    """Their sum; None where no answer told its own."""
    told = [count for count in counts if count is not None]
    return sum(told) if told else None
