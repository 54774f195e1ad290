"""An answer means one of its options, or none, by a stated rule."""

from __future__ import annotations

import pytest

from counterset.evaluation.questions import choice_question, chosen, named, refuses

OPTIONS = ["lion", "brown bear", "ice bear", "arctic fox"]


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("B", "brown bear"),
        (" b.\n", "brown bear"),
        ("(C)", "ice bear"),
        ("**D**", "arctic fox"),
        ("Answer: A", "lion"),
        ("\\boxed{B}", "brown bear"),
        ("Option D.", "arctic fox"),
        ("C. ice bear", "ice bear"),
        ("**C.** Ice bear, not a brown bear", "ice bear"),
        ("B\n\nThe animal has brown fur.", "brown bear"),
        ("C) a lion", None),
        ("The correct answer is (B).", "brown bear"),
        ("At first option A looks right, but the answer is D because of its tail", "arctic fox"),
        ("<think>Is it A or B?\nThe answer is A.</think>\nB", "brown bear"),
        ("<think>the tokens ran out, so option A", None),
        ("It is an ice bear.", "ice bear"),
        ("A lion", "lion"),
        ("a brown bear or an ice bear", None),
        ("I think that it is a lion.", "lion"),
        ("I'm sorry, I can't help with that.", None),
        ("E", None),
        ("Z. lion", None),
        ("My choice is a difficult one", None),
        ("", None),
        ("A, B", None),
        ("The answer is a lion.", "lion"),
        ("Answer: A ice bear", "ice bear"),
        ("The answer is A because it is no ice bear", "lion"),
        ("Answer: I believe that this is an arctic fox.", "arctic fox"),
        ("A: lion, B: brown bear, C: ice bear. Answer: C", "ice bear"),
        ("White fur, black skin. <answer>C</answer>", "ice bear"),
        ("<answer>\nD. arctic fox\n</answer>", "arctic fox"),
        ("Final answer: $\\boxed{\\text{C}}$", "ice bear"),
        ("The letter is B", "brown bear"),
        ('{"answer": "D"}', "arctic fox"),
        ("答案：C", "ice bear"),
        ("Ｂ。", "brown bear"),
        ("The answer is not A but B", None),
        ("the answer is A-frame", None),
    ],
)
def test_an_answer_means_one_option_or_none(answer: str, option: str | None) -> None:
    assert chosen(answer, OPTIONS) == option


def test_the_letter_i_is_a_letter_where_no_sentence_follows() -> None:
    options = [*OPTIONS, "ox", "fox", "cat", "caterpillar", "red panda"]
    assert chosen("Answer: I", options) == "red panda"
    assert chosen("Answer: I. red panda", options) == "red panda"
    assert chosen("Answer: I think it is an ox", options) == "ox"


def test_an_open_answer_is_matched_to_the_labels() -> None:
    assert named("<think>a lion?</think> An ice bear on grass.", OPTIONS) == "ice bear"
    assert named("B", OPTIONS) is None, "it was told no options"


@pytest.mark.parametrize(
    ("answer", "is_refusal"),
    [
        ("I'm sorry, but I can't assist with that.", True),
        ("I cannot identify the animal.", True),
        ("As an AI, I see no photos.", True),
        ("I can't tell a stoat from a weasel here", False),
        ("a dachshund", False),
    ],
)
def test_refusals_are_told_from_other_answers(answer: str, is_refusal: bool) -> None:
    assert refuses(answer) is is_refusal


def test_options_have_letters() -> None:
    question = choice_question(OPTIONS)
    assert question.splitlines()[1:5] == ["A. lion", "B. brown bear", "C. ice bear", "D. arctic fox"]
    assert "Which of these" in question and "letter" in question.splitlines()[-1]
