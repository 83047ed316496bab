"""Writers of new skills: sentences of the environment filled with mined facts, or the model's own words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sdar.policy.dialogue import Dialogue
from sdar.policy.sampler import Sampler
from sdar.schemas.records import Episode, Skill
from sdar.skills.evidence import Fact, Phrasebook, Testimony, count_facts, places_seen, read_episode
from sdar.skills.files import make_skill
from sdar.skills.text import words

TEMPLATE, LESSON, POLICY = "template", "template lesson", "policy"
"""Sources of the skills that are written here."""
MOST_WRONG = 2
"""Most things that a lesson warns of."""
INSTRUCTION = "write what helped to: "
"""What stands before the goal in the prompt for the writer `policy`."""


@dataclass(frozen=True)
class Candidate:
    """A new skill; `support` episodes state what it says and `contradictions` state something else."""

    skill: Skill
    support: int
    contradictions: int = 0


def write_templates(
    episodes: Sequence[Episode], goals: Mapping[str, str], book: Phrasebook, environment: str, support: int
) -> list[Candidate]:
    """Return the facts of successful episodes and the lessons of failed ones, each as a skill.

    A fact needs `support` successful episodes, and more than state any other value of it; only facts about
    things that a goal names, or about what the agent does, are written. A lesson comes from a failed episode
    where another of its group succeeded: what the failed one tried in vain, or where it looked in vain.

    Args:
        episodes: of the training tasks.
        goals: goal by task id.
        book: how the environment speaks.
        environment: its name, for the skills.
        support: least number of episodes for a fact, and of failed ones for a lesson.

    Returns:
        Facts before lessons, each by falling support and then by name.
    """
    told = [read_episode(episode, goals[episode.task_id], book) for episode in episodes]
    asked = {word for each in told for word in words(each.goal)}
    counted = {
        key: rivals
        for key, rivals in count_facts(told).items()
        if key[0] != book.seen.kind or asked.intersection(words(key[1]))
    }
    types = {each.episode.id: each.episode.task_type for each in told}
    facts = [_fact(rivals, book, environment, types) for rivals in counted.values()]
    strong = [each for each in facts if each.support >= support and each.support > each.contradictions]
    return [*_ordered(strong), *_lessons(told, counted, book, environment, support)]


def _ordered(candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda each: (-each.support, each.skill.name))


def _best(rivals: Mapping[Fact, Sequence[str]]) -> Fact:
    return min(rivals, key=lambda fact: (-len(rivals[fact]), fact))


def _fact(
    rivals: Mapping[Fact, Sequence[str]], book: Phrasebook, environment: str, types: Mapping[str, str]
) -> Candidate:
    fact = _best(rivals)
    parents = rivals[fact]
    others = {id_ for other, ids in rivals.items() if other != fact for id_ in ids}
    body = _filled(book.skills[fact.kind].body, fact, book)
    # What is seen on the way helps every kind of task, what an action needs those that need the action.
    kinds = book.types if fact.kind == book.seen.kind else sorted({types[id_] for id_ in parents})
    skill = _skill(fact, book, environment, kinds, body, TEMPLATE, parents)
    return Candidate(skill, len(parents), len(others))


def _lessons(
    told: Sequence[Testimony],
    counted: Mapping[tuple[str, str], Mapping[Fact, Sequence[str]]],
    book: Phrasebook,
    environment: str,
    support: int,
) -> list[Candidate]:
    groups: dict[tuple[str, int], list[Testimony]] = defaultdict(list)
    for each in told:
        groups[each.episode.task_id, each.episode.group].append(each)
    wrong: dict[Fact, Counter[str]] = defaultdict(Counter)
    parents: dict[Fact, dict[str, str]] = defaultdict(dict)
    failures: Counter[Fact] = Counter()
    for group in groups.values():
        for bad in group:
            good = next((each for each in group if each.episode.success), None)
            if bad.episode.success or good is None:
                continue
            for fact in sorted(good.held):
                missed = _missed(fact, bad, book)
                if missed and fact == _best(counted.get((fact.kind, fact.subject), {fact: ()})):
                    wrong[fact].update(missed)
                    failures[fact] += 1
                    parents[fact] |= {each.episode.id: each.episode.task_type for each in (bad, good)}
    return _ordered(
        [
            _lesson(fact, wrong[fact], parents[fact], count, book, environment)
            for fact, count in failures.items()
            if count >= support
        ]
    )


def _missed(fact: Fact, bad: Testimony, book: Phrasebook) -> list[str]:
    """Return what a failed episode tried instead of a fact that a successful one of its group met."""
    if any((held.kind, held.subject) == (fact.kind, fact.subject) for held in bad.held):
        return []
    if fact.kind != book.seen.kind:
        return [f.value for f in sorted(bad.failed) if (f.kind, f.subject) == (fact.kind, fact.subject)]
    asked = set(words(fact.subject)) & set(words(bad.goal))
    return [place for place in places_seen(bad.episode, book) if place != fact.place] if asked else []


def _lesson(
    fact: Fact,
    wrong: Counter[str],
    parents: Mapping[str, str],
    support: int,
    book: Phrasebook,
    environment: str,
) -> Candidate:
    worst = sorted(wrong, key=lambda value: (-wrong[value], value))[:MOST_WRONG]
    if fact.kind == book.seen.kind:
        worst = [f"{_at(place, book)} {place}" for place in worst]
    body = _filled(book.skills[fact.kind].lesson, fact, book, " or ".join(worst))
    kinds = sorted(set(parents.values()))
    return Candidate(_skill(fact, book, environment, kinds, body, LESSON, sorted(parents)), support)


def _skill(
    fact: Fact,
    book: Phrasebook,
    environment: str,
    types: Sequence[str],
    body: str,
    source: str,
    parents: Sequence[str],
) -> Skill:
    wording = book.skills[fact.kind]
    name = _filled(wording.name, fact, book)
    return make_skill(
        name=f"lesson-{name}" if source == LESSON else name,
        description=_filled(wording.description, fact, book),
        environment=environment,
        task_types=types,
        body=body,
        source=source,
        parents=parents,
    )


def _at(place: str, book: Phrasebook) -> str:
    return book.at.get(place.rsplit(" ", 1)[0], "on")


def _filled(text: str, fact: Fact, book: Phrasebook, wrong: str = "") -> str:
    return text.format(
        subject=fact.subject,
        value=fact.value,
        Value=fact.value[:1].upper() + fact.value[1:],
        place=fact.place,
        at=_at(fact.place, book),
        words=book.words.get(fact.subject, fact.subject),
        wrong=wrong,
    )


def write_with_policy(
    episodes: Sequence[Episode],
    goals: Mapping[str, str],
    sampler: Sampler,
    dialogue: Dialogue,
    environment: str,
    context: int,
    max_tokens: int,
) -> list[Candidate]:
    """Return a skill per successful episode in the model's own words, greedily decoded; no empty text.

    The prompt is an instruction with the goal, and the episode's actions with what they led to; of a long
    episode the end. The text is cut at the end token, or at the limit of the sampler.

    Args:
        episodes: those to write about; failed ones are left out.
        goals: goal by task id.
        sampler: the policy, with `max_tokens` as its limit.
        dialogue: the policy's format.
        environment: its name, for the skills.
        context: tokens that the policy can read and write.
        max_tokens: most tokens of a text.
    """
    chosen = [episode for episode in episodes if episode.success and episode.turns]
    if not chosen:
        return []
    prompts = [_prompt(e, goals[e.task_id], dialogue, context - max_tokens) for e in chosen]
    conversations = sampler.start(np.zeros((len(chosen), max_tokens)), 0.0)
    actions = conversations.act(range(len(chosen)), prompts)
    texts = [" ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", dialogue.decode(a.ids)).split()) for a in actions]
    written = [
        Candidate(_note(episode, goals[episode.task_id], text, environment), 1)
        for episode, text in zip(chosen, texts, strict=True)
        if text
    ]
    return sorted(written, key=lambda each: each.skill.name)


def _note(episode: Episode, goal: str, text: str, environment: str) -> Skill:
    return make_skill(
        name=f"note-{episode.id[:8]}",
        description=f"What helped to {goal}.",
        environment=environment,
        task_types=[episode.task_type],
        body=text,
        source=POLICY,
        parents=[episode.id],
    )


def _prompt(episode: Episode, goal: str, dialogue: Dialogue, room: int) -> list[int]:
    told = [f"{turn.observation} {turn.action}." for turn in episode.turns]
    prompt = dialogue.prompt(INSTRUCTION + goal, " ".join(told))
    while len(prompt) > room and told:
        del told[0]
        prompt = dialogue.prompt(INSTRUCTION + goal, " ".join(told))
    return prompt
