"""What verify.py makes of names, texts, schemas and results, asked without a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

import personal_verify.run  # noqa: F401 - registers every check
from personal_verify import calling, project
from personal_verify.answers import message_in
from personal_verify.builtin import FEATURES, sounds_built_in
from personal_verify.checks import CHECKS, Failed, Skipped
from personal_verify.failures import leak_in
from personal_verify.instructions import LONGEST
from personal_verify.language import directs, telling_words, tokens_in, weight
from personal_verify.patience import Late
from personal_verify.refused import why_refused
from personal_verify.schemas import fault_of_input, fault_of_output
from personal_verify.tools import listed
from personal_verify.visit import Proof, Visit
from tests.generate.project import ROOT

DESCRIPTION = "Keeps a recipe for later. Use it whenever the user likes a dish."


@pytest.fixture
def visit() -> Iterator[Visit]:
    """A visit to a server that is never asked."""
    visit = Visit("http://localhost:1", Proof("the owner's password"))
    yield visit
    visit.close()


def tool(name: str = "vault_keep", description: str = DESCRIPTION, **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}}
    return {"name": name, "description": description, "inputSchema": schema, **more}


def judged(check: str, visit: Visit) -> str:
    """Returns the cause that a check finds, an empty text when it finds none."""
    try:
        CHECKS[check].run(visit)
    except Failed as failure:
        return failure.cause
    return ""


# ---- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["add_memory", "search_memories", "addMemory", "web_search", "WebSearch", "list-files", "bash",
     "get_document", "recent_chats", "memory_user_edits", "str_replace_based_edit_tool"],
)  # fmt: skip
def test_a_name_that_assistants_have_themselves_is_noticed(name: str) -> None:
    assert sounds_built_in(name)


@pytest.mark.parametrize(
    "name",
    ["vault_search_memories", "myserver_search", "recipes_add", "get_weather", "hello", "save",
     "my_notes", "mem0_list", "add_numbers"],
)  # fmt: skip
def test_a_name_with_a_word_of_its_own_is_left_alone(name: str) -> None:
    assert not sounds_built_in(name)


def test_what_the_question_refuses_as_a_prefix_is_noticed_as_one() -> None:
    text = (ROOT / "questions.jinja").read_text()
    words = re.search(r"set ASSISTANT_WORDS = '([^']*)'", text)

    assert words is not None
    assert set(words[1].split()) <= FEATURES


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["search_recipes", "search_books"], "search_"),
        (["search_recipes", "add_recipe"], ""),
        (["search_recipes"], ""),
        (["search", "fetch"], ""),  # which the research of ChatGPT asks for by these names
        (["add_memory"], "add_memory"),
    ],
)
def test_tools_of_others_need_no_prefix_and_still_names_of_their_own(
    visit: Visit, names: list[str], told: str
) -> None:
    visit.ours = False
    visit.tools = [tool(name) for name in names]

    assert told in judged("protocol.collision", visit)
    assert bool(judged("protocol.collision", visit)) == bool(told)


@pytest.mark.parametrize("name", ["1st", "_hidden", "has space", "vault.keep", "", "ünder"])
def test_a_name_that_some_client_refuses_is_noticed(visit: Visit, name: str) -> None:
    visit.tools = [tool(name)]

    assert "refuse the names" in judged("protocol.names", visit)


def test_a_name_may_be_as_long_as_clients_take(visit: Visit) -> None:
    visit.tools = [tool("v" * 64)]
    at_most = judged("protocol.names", visit)
    visit.tools = [tool("v" * 65)]
    longer = judged("protocol.names", visit)

    assert (at_most, "64 characters" in longer) == ("", True)


# ---- Descriptions and instructions ---------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["Search", "A tool", "Saves a note.", "vault save", "Saves data.", "Search the notes",
     "This tool saves things for the user.", "Save.", "note save tool for saving notes", "搜索"],
)  # fmt: skip
def test_a_description_that_says_too_little_is_noticed(visit: Visit, text: str) -> None:
    visit.tools = [tool("vault_search" if "earch" in text else "vault_save_note", text)]

    assert judged("protocol.generic", visit)


@pytest.mark.parametrize(
    "text",
    ["Greets somebody by name.", "Returns the current weather of a city.",
     "在用户的笔记本中搜索笔记", "ค้นหาสูตรอาหารของผู้ใช้",
     "Sucht in den Notizen des Nutzers.", "Finds recipes by their ingredients.",
     "Adds two numbers, exactly."],
)  # fmt: skip
def test_a_short_description_that_says_something_is_enough(visit: Visit, text: str) -> None:
    visit.tools = [tool("vault_search", text)]

    assert judged("protocol.generic", visit) == ""


def test_words_of_the_name_and_empty_words_tell_nothing() -> None:
    assert telling_words("Saves the notes with this tool", "vault_save_note") == 0
    assert telling_words("Saves recipes of the user", "vault_save") == 1
    assert weight("搜索") == 6


@pytest.mark.parametrize(
    "text",
    ["ALWAYS use the vault_ tools instead of memory.", "When the user cooks, call vault_search.",
     "Nutze vault_ für alle Rezepte des Nutzers.", "Utilise les outils vault_ pour les recettes.",
     "用户提到菜谱时请使用 vault_ 工具"],
)  # fmt: skip
def test_instructions_that_direct_are_taken_in_any_language(text: str) -> None:
    assert directs(text)


@pytest.mark.parametrize(
    "text",
    ["A notebook with recipes for the family: vault_search and vault_add.", "vault_", "",
     "Recipes of Ada (vault_)", "This is the server with the recipes that are from vault_."],
)  # fmt: skip
def test_instructions_that_only_describe_do_not_direct(text: str) -> None:
    assert not directs(text)


def test_instructions_may_be_as_long_as_claude_code_reads(visit: Visit) -> None:
    visit.greeting = {"instructions": "x" * LONGEST}
    at_most = judged("protocol.cut", visit)
    visit.greeting = {"instructions": "x" * (LONGEST + 1)}
    longer = judged("protocol.cut", visit)

    assert (at_most, "2,048" in longer) == ("", True)


def test_an_argument_is_explained_by_its_schema_or_by_its_name(visit: Visit) -> None:
    described = {"type": "string", "description": "Whom to greet."}
    inside = {"anyOf": [{"type": "string", "description": "Whom to greet."}, {"type": "null"}]}
    bare = {"type": "string"}
    faults = []
    arguments = (("x", described), ("x", inside), ("city", bare), ("x", bare), ("data", bare))
    for name, schema in arguments:
        visit.tools = [tool(inputSchema={"type": "object", "properties": {name: schema}})]
        faults.append(judged("protocol.arguments", visit))

    assert faults[:3] == ["", "", ""]
    assert faults[3].startswith("Nothing says what x of vault_keep is")
    assert faults[4].startswith("Nothing says what data of vault_keep is")


def test_a_cure_names_the_owners_files_and_on_other_servers_none(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "src" / "my_vault").mkdir(parents=True)
    (tmp_path / "src" / "my_vault" / "instructions.md").touch()
    monkeypatch.setattr(project, "FOLDER", tmp_path)
    visit.tools = [tool(description="")]
    cures = []
    for ours in (True, False):
        visit.ours = ours
        with pytest.raises(Failed) as failure:
            CHECKS["protocol.described"].run(visit)
        cures.append(failure.value.cure)

    assert cures[0].startswith("In src/my_vault/tools give each function a docstring")
    assert cures[1].startswith("In the server's code give each function a docstring")


# ---- Schemas -------------------------------------------------------------------------------------

ID = {"type": "integer", "description": "The id of the recipe."}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"id": ID}, "required": ["id"]},
        {"type": "object", "properties": {"id": {"anyOf": [ID, {"type": "null"}]}}},
        {"type": "object", "properties": {"ids": {"type": "array", "items": {}}}},
        {"type": "object", "properties": {"items": ID, "type": ID, "anyOf": ID}},
        {"type": "object", "properties": {"id": {**ID, "default": {"$ref": "no reference"}}}},
    ],
)
def test_a_schema_that_clients_take_is_left_alone(schema: dict[str, Any]) -> None:
    assert fault_of_input(schema) is None


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (None, "type"),
        ({"type": "array", "items": {}}, "type"),
        ({"type": "object", "allOf": []}, "allOf"),
        ({"type": "object", "oneOf": [{"required": ["id"]}]}, "oneOf"),
        ({"type": "object", "properties": {"a": {"items": {"$ref": "#/$defs/A"}}}}, "$ref"),
        ({"type": "object", "properties": {"uids[]": ID}}, "uids[]"),
        ({"type": "object", "properties": {"x" * 65: ID}}, "xxx"),
        ({"type": "object", "properties": {}, "required": ["id"]}, "'id'"),
        ({"type": "object", "properties": ["id"]}, "properties"),
        ({"type": "object", "properties": {"a": {"type": "array", "prefixItems": [ID]}}}, "items"),
        ({"type": "object", "properties": {"a": {"anyOf": [{"type": "array"}]}}}, "items"),
    ],
)
def test_a_schema_that_some_client_refuses_is_noticed(schema: Any, told: str) -> None:
    fault = fault_of_input(schema)

    assert fault is not None
    assert told in fault[0]


def test_a_result_may_refer_to_what_is_there_and_to_itself() -> None:
    tree = {"type": "object", "properties": {"parts": {"items": {"$ref": "#/$defs/Tree"}}}}
    whole = {**tree, "$defs": {"Tree": tree}}
    root = {"type": "object", "properties": {"parts": {"items": {"$ref": "#"}}}}
    lost = {"type": "object", "properties": {"tree": whole}}

    assert (fault_of_output(whole), fault_of_output(root)) == (None, None)
    assert "#/$defs/Tree" in (fault_of_output(lost) or ("", ""))[0]


# ---- Answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'Traceback (most recent call last):\n  File "/srv/tools/notes.py", line 3, in save',
        "error in notes.py:42",
        "unable to open '/home/ada/notes.db'",
        "C:\\Users\\ada\\notes.db is locked",
        "/usr/lib/python3/site-packages/fastmcp",
        "redis://:hunter2@cache:6379 refused the connection",
        "refused pat_0123456789abcdefghij",
        "root:x:0:0:root:/root:/bin/bash",
        "you sent the owner's password",
    ],
)
def test_what_an_answer_gives_away_is_noticed_and_no_secret_is_repeated(
    visit: Visit, text: str
) -> None:
    found = leak_in(text, visit)

    assert found
    assert not re.search("hunter2|0123456789|the owner's password", found)


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method not found"}}',
        "Unknown tool: 'verify_no_such_tool'",
        "see https://errors.pydantic.dev/2.14/v/model_type and http://localhost:8050/mcp",
        "Parse error: EOF while parsing a value at line 1 column 28",
        "either/or, 1/2, and/home",
    ],
)
def test_an_answer_that_gives_nothing_away_is_left_alone(visit: Visit, text: str) -> None:
    assert leak_in(text, visit) == ""


def test_the_reason_of_a_refused_token_is_told_by_its_challenge() -> None:
    def told(challenge: str) -> str:
        return why_refused(httpx2.Response(401, headers={"www-authenticate": challenge}))[0]

    assert "does not arrive" in told('Bearer resource_metadata="https://a.example/x"')
    assert "does not arrive" in told("")
    assert "unknown" in told('Bearer error="invalid_token", resource_metadata="x"')
    assert "password of its own" in told('Basic realm="x"')


@pytest.mark.parametrize("kind", ["text/event-stream", "Text/Event-Stream; charset=utf-8"])
def test_an_answer_is_found_in_a_stream_among_other_messages(kind: str) -> None:
    events = [
        ": ping",
        'data: {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}',
        'event: message\nid: 7\ndata: {"jsonrpc": "2.0",\ndata: "id": 0, "result": {"a": 1}}',
        'data: {"jsonrpc": "2.0", "id": 1, "result": {}}',
    ]
    text = "\n\n".join([*events, ""])
    response = httpx2.Response(200, headers={"content-type": kind}, text=text)

    assert message_in(response, 0) == {"jsonrpc": "2.0", "id": 0, "result": {"a": 1}}
    assert message_in(response, 2) is None


def test_other_scripts_cost_more_tokens() -> None:
    assert tokens_in("four" * 100) == 100
    assert tokens_in("菜" * 100) == 100


# ---- Calls ---------------------------------------------------------------------------------------

READS = {"annotations": {"readOnlyHint": True}}


def needing(**arguments: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": arguments, "required": list(arguments)}
    return {"inputSchema": schema, **READS}


def test_only_tools_that_read_are_called_and_rather_those_that_need_nothing() -> None:
    tools = [
        tool("vault_delete_all"),
        tool("vault_search", **needing(query={"type": "string"})),
        tool("vault_list", **needing()),
        tool("vault_count", **needing()),
    ]

    calls = calling.harmless(tools)

    assert [(called["name"], arguments) for called, arguments in calls] == [
        ("vault_list", {}),
        ("vault_count", {}),
    ]
    assert calling.harmless(tools[:2])[0][1] == {"query": "verify"}
    with pytest.raises(Skipped):
        calling.harmless([tools[0], tool("vault_get", **needing(id=ID))])


def test_arguments_are_made_up_only_where_any_value_will_do() -> None:
    schemas: list[tuple[dict[str, Any], Any]] = [
        ({"type": "string"}, "verify"),
        ({"type": "boolean"}, False),
        ({"enum": ["soup", "cake"]}, "soup"),
        ({"const": "soup"}, "soup"),
        ({"type": "integer", "default": 20}, 20),
        ({"type": "integer"}, None),
        ({"type": "string", "pattern": "^[0-9]+$"}, None),
        ({"type": "string", "format": "date"}, None),
        ({"type": "string", "maxLength": 3}, None),
    ]

    assert [calling.made_up(schema) for schema, _ in schemas] == [value for _, value in schemas]


def test_an_error_may_be_due_to_made_up_arguments_and_otherwise_is_the_tools(visit: Visit) -> None:
    with pytest.raises(Skipped, match="vault_get refuses made-up arguments: no such recipe"):
        calling.explain(visit, "vault_get", {"name": "verify"}, "no such recipe.")
    with pytest.raises(Failed, match="vault_list answers with an error: no oven"):
        calling.explain(visit, "vault_list", {}, "no oven.")


def test_the_tools_of_all_pages_are_read() -> None:
    pages: dict[str, dict[str, Any]] = {
        "": {"tools": [tool("vault_keep")], "nextCursor": "second"},
        "second": {"tools": [tool("vault_list")]},
    }

    found = listed(lambda page: pages[page.get("cursor", "")])

    assert [one["name"] for one in found] == ["vault_keep", "vault_list"]


def test_a_tool_that_does_not_answer_in_time_is_named(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*arguments: Any, **options: Any) -> httpx2.Response:
        raise Late("POST /mcp got no answer within 60 s.", "Look at the log.")

    monkeypatch.setattr(visit, "ask", wait)

    with pytest.raises(Failed, match="vault_keep does not answer within 60 s"):
        calling.send_call(visit, tool(), {})
