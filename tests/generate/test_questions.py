"""What may be answered, what is refused and how, and what a name alone leads to."""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from pydantic import AnyHttpUrl

from tests.generate.answer_sets import CHOICES, DEFAULTS
from tests.generate.conftest import Ask
from tests.generate.project import ROOT
from tests.generate.refusals import BUILT_IN, CLIENTS, GITHUB, PLAIN, PORT, REFUSALS, TAKEN
from tests.support import forks

CONFIGURATION: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text())
LETTERS, MORE = "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz0123456789"
PROJECT_NAMES = st.builds(
    lambda first, rest, parts: "-".join([first + rest, *parts]),
    st.sampled_from(LETTERS),
    st.text(MORE, max_size=20),
    st.lists(st.text(MORE, min_size=1, max_size=12), max_size=5),
).filter(lambda name: 2 <= len(name) <= 40)
ORDER = (
    "project_name description port public_url clients tool_prefix tunnel examples storage"
    " package_name github"
)


def questions() -> dict[str, Any]:
    """Return what is asked: settings begin with an underscore, computed values are never asked."""
    return {
        name: details
        for name, details in CONFIGURATION.items()
        if not name.startswith("_") and details.get("when") is not False
    }


@pytest.fixture(scope="session")
def words(ask: Ask) -> Any:
    """Load questions.jinja outside of Copier, whose own filters it needs as well."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT),
        extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("questions.jinja").module


def test_they_are_asked_in_this_order() -> None:
    assert list(questions()) == ORDER.split()


def test_every_question_has_a_default_that_is_valid(ask: Ask) -> None:
    answers = ask()

    assert {name: answers[name] for name in DEFAULTS} == DEFAULTS
    assert all("default" in question for question in questions().values())


def test_every_question_explains_itself() -> None:
    assert all(question["help"].strip() for question in questions().values())


def test_nothing_asks_for_a_secret_or_needs_trust() -> None:
    assert not {"_tasks", "_migrations", "_jinja_extensions", "_secret_questions"} & set(
        CONFIGURATION
    )
    assert not [name for name, question in questions().items() if question.get("secret")]


@pytest.mark.parametrize(
    ("question", "answer", "sentence"),
    REFUSALS,
    ids=[f"{question}={answer!r:.40}" for question, answer, _ in REFUSALS],
)
def test_a_bad_answer_is_refused_with_a_sentence_and_an_example(
    ask: Ask, question: str, answer: object, sentence: str
) -> None:
    with pytest.raises(Exception, match=r"Try |Choose at least") as refused:
        ask(**{question: answer})

    said = str(refused.value)
    assert said.endswith(sentence)
    assert "\n" not in said


def test_the_table_of_refusals_covers_every_question() -> None:
    assert {question for question, _, _ in REFUSALS} == set(questions())


EXAMPLES = sorted(
    {
        (question, example)
        for question, _, sentence in REFUSALS
        for example in re.findall(r"(?:Try|as in|, or) (\[.*?\]|.*?)(?:: | with|, or|$)", sentence)
    }
)


@pytest.mark.parametrize(("question", "example"), EXAMPLES)
def test_the_example_in_a_refusal_is_itself_accepted(ask: Ask, question: str, example: str) -> None:
    ask(**{question: example})


@pytest.mark.parametrize("key", CHOICES)
def test_each_choice_that_is_offered_is_accepted(ask: Ask, key: str) -> None:
    offered = list(CONFIGURATION[key]["choices"].values())

    assert offered == CHOICES[key]
    for choice in offered:
        several = CONFIGURATION[key].get("multiselect", False)
        answer = [choice] if several else choice
        assert ask(**{key: answer})[key] == answer
        if several:
            assert ask(**{key: f"[{choice}]"})[key] == answer
            assert ask(**{key: f'[ "{choice}" , {choice} ]'})[key] == answer


@pytest.mark.parametrize(
    ("answer", "meant"),
    [("true", True), ("no", False), ("Y", True), ("0", False), (False, False), ("off", False)],
)
def test_yes_and_no_may_be_written_in_many_ways(ask: Ask, answer: object, meant: bool) -> None:
    assert ask(github=answer)["github"] is meant


@pytest.mark.parametrize(
    "url",
    [
        "https://mcp.example.com",
        "https://mcp.example.com:8443",
        "https://a",
        "https://localhost:8443",
        "https://192.0.2.7",
        "https://xn--bcher-kva.example",
        "https://1st.example.com",
        "http://localhost",
        "http://localhost:1",
        "http://127.0.0.1:8050",
        "http://[::1]:65535",
    ],
)
def test_a_good_address_is_accepted(ask: Ask, url: str) -> None:
    assert ask(public_url=url)["public_url"] == url


def test_the_suggested_address_follows_the_port(ask: Ask) -> None:
    assert ask(port="9000")["public_url"] == "http://localhost:9000"


@given(
    st.one_of(
        st.from_regex(r"\Ahttps?://[a-z0-9.-]{1,30}(:[0-9]{1,5})?\Z"),
        st.from_regex(r"\Ahttps?://[\x00-\xff]{1,20}\Z"),
        st.from_regex(r"\Ahttps?://(0x)?[0-9a-f]{1,3}(\.(0x)?[0-9a-f]{1,3}){0,4}\Z"),
        st.builds("http://{}:{}".format, st.just("localhost"), st.integers(0, 70000)),
    )
)
@settings(deadline=None, max_examples=2000)
def test_an_accepted_address_reads_the_same_everywhere(words: Any, url: str) -> None:
    if not words.url_fault(url, "8050").strip() and "xn--" not in url:
        assert str(AnyHttpUrl(url)).rstrip("/") == url


@given(st.text(min_size=1, max_size=200))
@settings(deadline=None, max_examples=2000)
def test_no_accepted_description_can_hide_something(words: Any, text: str) -> None:
    if not re.search(words.UNPRINTABLE, text):
        assert not re.search("[\0-\x1f\u202a-\u202e\u2066-\u2069]", text)
        assert "\ufeff" not in text
        assert text.encode()
        assert len(text.splitlines()) == 1


@given(PROJECT_NAMES)
@settings(deadline=None, max_examples=1000)
def test_every_name_leads_to_a_prefix_that_is_accepted(words: Any, name: str) -> None:
    prefix = words.prefix_for(name)

    assert re.search(words.TOOL_PREFIX, prefix)
    assert prefix not in words.REFUSED_PREFIXES


def test_even_a_refused_or_dull_word_as_a_name_leads_to_such_a_prefix(words: Any) -> None:
    for word in words.REFUSED_PREFIXES + words.DULL_PREFIXES:
        for name in (word, f"{word}-x", f"my-{word}", f"{word}-{word}", f"the-{word}-server"):
            prefix = words.prefix_for(name)
            assert re.search(words.TOOL_PREFIX, prefix)
            assert prefix not in words.REFUSED_PREFIXES


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("my-server", "myserver"),
        ("recipes", "recipes"),
        ("kitchen-helper", "kitchen"),
        ("memory", "mymemory"),
        ("web-search", "mywebsearch"),
        ("ab-notes", "abnotes"),
        ("a-b", "ab"),
        ("personal-library-server", "personallibrarys"),
        ("conversations-and-more", "conversationsand"),
    ],
)
def test_the_prefix_comes_from_the_name(ask: Ask, name: str, prefix: str) -> None:
    assert ask(project_name=name)["tool_prefix"] == prefix


@given(PROJECT_NAMES)
@settings(deadline=None, max_examples=40)
def test_every_valid_name_goes_through_with_the_defaults(ask: Ask, words: Any, name: str) -> None:
    if name.replace("-", "_") in words.TAKEN_NAMES:
        return
    answers = ask(project_name=name)

    assert answers["package_name"] == answers["package_born"] == name.replace("-", "_")
    assert answers["public_url"] == "http://localhost:8050"


def test_every_name_that_the_server_installs_is_refused(words: Any) -> None:
    installed = [*what_is_installed("fastmcp", "jinja2", "cryptography", "segno", "pytest", "ruff")]
    names = {name for package in installed for name in names_of(package)}

    assert {name for name in names if re.search(words.PACKAGE_NAME, name)} <= set(words.TAKEN_NAMES)


def test_every_standard_module_is_refused(words: Any) -> None:
    names = {name.lower() for name in sys.stdlib_module_names if not name.startswith("_")}

    assert names <= set(words.TAKEN_NAMES)


def test_the_word_lists_hold_no_word_twice_and_none_that_cannot_be_answered(words: Any) -> None:
    for words_of_one, pattern in (
        (words.STANDARD_MODULES, words.PACKAGE_NAME),
        (words.DEPENDENCIES, words.PACKAGE_NAME),
        (words.ASSISTANT_WORDS, words.TOOL_PREFIX),
    ):
        assert len(set(words_of_one)) == len(words_of_one)
        assert all(re.search(pattern, word) for word in words_of_one)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("tool_prefix=memory", BUILT_IN.format("memory")),
        ("project_name=fastmcp", TAKEN.format("fastmcp")),
        ("clients=[netscape]", CLIENTS),
        ("public_url=http://mcp.example.com", PLAIN),
        ("github=maybe", GITHUB),
        ("port=soon", PORT),
    ],
)
def test_the_command_refuses_with_our_sentence_last(
    template: Path, tmp_path: Path, answer: str, sentence: str
) -> None:
    target = tmp_path / "my-server"
    command = [sys.executable, "-m", "copier", "copy", "--defaults", "--vcs-ref", "HEAD"]

    done = forks.run([*command, "--data", answer, str(template), str(target)])

    assert done.returncode == 1
    assert not target.exists()
    assert done.stderr.strip().splitlines()[-1].endswith(sentence)


def what_is_installed(*requirements: str) -> dict[Distribution, None]:
    """Follow what the packages require, as far as it is installed here."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(requirement) for requirement in requirements]
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        extras = {"", *requirement.extras}
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for line in found[name].requires or []:
            needed = Requirement(line)
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)
    return dict.fromkeys(found.values())


def names_of(package: Distribution) -> set[str]:
    """Return the distribution, the modules and the commands that one package brings."""
    names = {str(package.metadata["Name"])}
    names |= {entry.name for entry in package.entry_points if entry.group == "console_scripts"}
    for path in package.files or []:
        if path.suffix == ".py" and ".." not in path.parts:
            names.add(path.parts[0].removesuffix(".py"))
    return {name.lower().replace("-", "_") for name in names}


def test_what_is_asked_fits_a_terminal_of_80_columns() -> None:
    asked = [f"🎤 {details['help']}" for details in questions().values()]
    lines = CONFIGURATION["_message_before_copy"].splitlines()

    assert len(asked) == len(ORDER.split())
    assert max(len(line) for line in lines) <= 80
    assert max(len(line) for line in asked) < 78  # what is longer is cut there, without a word
