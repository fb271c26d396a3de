"""The notebook keeps what it is given, finds it again, and refuses in one sentence."""

import asyncio
import importlib.util
import json
import multiprocessing
import re
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.decorators import get_fastmcp_meta
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personal_server import notes
from personal_server.notes import Limits, NoteError, NoteStore
from personal_server.sentences import OneSentence

TOOLS = Path(notes.__file__).parents[1] / "{{package_name}}" / "tools"
SENTENCE = re.compile(r"[A-Z][^\n]*[^.!?]\.\Z")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "notes.sqlite3"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., NoteStore]]:
    with ExitStack() as stores:

        def open_store(*args: Any, **kwargs: Any) -> NoteStore:
            return stores.enter_context(closing(NoteStore(path, *args, **kwargs)))

        yield open_store


@pytest.fixture
def store(opened: Callable[..., NoteStore]) -> NoteStore:
    return opened()


@pytest.fixture
def server(store: NoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastMCP:
    seed = load_seed("notes", tmp_path)
    monkeypatch.setattr(seed, "default_store", lambda: store)
    return serving(seed)


def load_seed(name: str, tmp_path: Path) -> ModuleType:
    source = TOOLS / f"{{% if '{name}' in examples %}}{name}.py{{% endif %}}"
    file = tmp_path / f"seed_{name}.py"
    file.write_bytes(source.read_bytes())
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serving(seed: ModuleType) -> FastMCP:
    server: FastMCP = FastMCP("test", middleware=[OneSentence()])
    for member in vars(seed).values():
        if get_fastmcp_meta(member) is not None:
            server.add_tool(member)
    return server


def tools_of(server: FastMCP) -> dict[str, Any]:
    async def listed() -> dict[str, Any]:
        async with Client(server) as client:
            return {tool.name: tool for tool in await client.list_tools()}

    return asyncio.run(listed())


def call(server: FastMCP, tool: str, /, **arguments: Any) -> Any:
    async def called() -> Any:
        async with Client(server) as client:
            return await client.call_tool(tool, arguments, raise_on_error=False)

    return asyncio.run(called())


def ids(page: Any) -> list[int]:
    return [note["id"] for note in page["notes"]]


def refusal(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(NoteError) as caught:
        call(*args, **kwargs)

    assert SENTENCE.match(str(caught.value)), str(caught.value)
    return str(caught.value)


# Keeping


def test_a_saved_note_is_returned_and_kept(store: NoteStore) -> None:
    saved = store.save(
        "Boil for 7 minutes.\n\tThen cool.", " Soft  eggs ", ["Food", " food", "Ä  b"]
    )

    assert store.get(saved["id"]) == saved
    assert saved["text"] == "Boil for 7 minutes.\n\tThen cool."
    assert saved["title"] == "Soft eggs"
    assert saved["tags"] == ["food", "ä b"]


def test_absent_members_are_omitted(store: NoteStore) -> None:
    store.save("untitled")

    answers = [store.get(1), store.list_notes(), store.search("untitled")]

    assert all("title" not in json.dumps(answer).replace("untitled", "") for answer in answers)
    assert "null" not in json.dumps(answers)


def test_times_are_in_utc_and_an_edit_moves_only_one_of_them(
    opened: Callable[..., NoteStore],
) -> None:
    now = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    times = iter([now, now + timedelta(days=1)])
    store = opened(clock=lambda: next(times))

    store.save("first")
    edited = store.edit(1, text="second")

    assert edited["created"] == "2025-12-31T23:00:00Z"
    assert edited["updated"] == "2026-01-01T23:00:00Z"


def test_notes_survive_a_restart(opened: Callable[..., NoteStore]) -> None:
    first = opened()
    saved = first.save("still here")
    first.close()

    assert opened().get(saved["id"]) == saved


def test_an_edit_changes_only_what_it_names(store: NoteStore) -> None:
    saved = store.save("text", "title", ["tag"])

    retitled = store.edit(saved["id"], title="new")
    cleared = store.edit(saved["id"], title="", tags=[])

    assert retitled == saved | {"title": "new", "version": 2, "updated": retitled["updated"]}
    assert (cleared["text"], cleared["tags"], "title" in cleared) == ("text", [], False)


def test_an_edited_note_is_found_by_its_new_words_only(store: NoteStore) -> None:
    id = store.save("apples", tags=["old"])["id"]

    store.edit(id, text="pears", tags=["new"])

    assert ids(store.search("pears")) == ids(store.list_notes("new")) == [id]
    assert ids(store.search("apples")) == ids(store.list_notes("old")) == []


def test_an_edit_of_an_older_version_is_refused(store: NoteStore) -> None:
    saved = store.save("one")
    store.edit(saved["id"], text="two", expected_version=saved["version"])

    message = refusal(store.edit, saved["id"], text="three", expected_version=saved["version"])

    assert "get it again" in message
    assert store.get(saved["id"])["text"] == "two"


def test_a_deleted_note_is_gone_everywhere_and_its_number_stays_unused(store: NoteStore) -> None:
    id = store.save("secret", tags=["x"])["id"]

    assert store.delete(id) == {"deleted": id}

    assert ids(store.search("secret")) == ids(store.list_notes("x")) == []
    assert "no note" in refusal(store.get, id)
    assert store.save("other")["id"] == id + 1


def test_the_index_agrees_with_the_notes(store: NoteStore, path: Path) -> None:
    for number in range(30):
        store.save(f"note {number}", "t" * number, [f"tag{number % 3}"])
    for number in range(1, 30, 3):
        store.edit(number, text="changed", tags=["a", "b"])
        store.delete(number + 1)

    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO notes_fts (notes_fts, rank) VALUES ('integrity-check', 1)")
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# Finding


def test_the_best_match_comes_first(store: NoteStore) -> None:
    store.save("A long day of many things, among them coffee, walks, letters and a film.")
    best = store.save("How I like it", "Coffee")

    assert ids(store.search("coffee"))[0] == best["id"]


def test_every_word_and_every_tag_must_occur(store: NoteStore) -> None:
    both = store.save("red apple", tags=["fruit", "sweet"])["id"]
    store.save("red car", tags=["fruit"])

    assert ids(store.search("apple red")) == [both]
    assert ids(store.search("red", ["sweet", "Fruit"])) == [both]
    assert ids(store.search("red", ["unknown"])) == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Crème brûlée", "creme BRULEE"),
        ("planning the garden", "gard"),
        ("Привет, мир", "мир"),
        ("שלום עולם", "שלום"),
        ("مرحبا بالعالم", "مرحبا"),
        ("हिन्दी में लिखा", "हिन्दी"),
        ("今日は東京に行く", "東京"),
        ("我喜欢喝咖啡", "咖啡"),
        ("서울에서 만나요", "서울"),
        ("สวัสดีชาวโลก", "ชาวโลก"),
        ("今日は Tokyo 東京に行く", "tokyo 東京"),
        ("party 🎉", "🎉"),
        ("C++ and C#", "C++"),
        ("salt & pepper", "salt & pepper"),
        ("it's well-known", "well-known it's"),
        ("AND OR NOT NEAR", "NOT NEAR"),
        ("see title: the end", "title:"),
        ('say "hi"', '"'),
    ],
)
def test_a_note_is_found_by_its_words_in_any_script(
    store: NoteStore, text: str, query: str
) -> None:
    store.save("something else")
    note = store.save(text)["id"]

    assert ids(store.search(query)) == [note]


@pytest.mark.parametrize(
    "query",
    ["apple OR pear", "apple NOT x", "text:apple", "ap*e", "^pear", "NEAR(apple x)", "-apple"],
)
def test_a_query_is_words_and_never_syntax(store: NoteStore, query: str) -> None:
    store.save("pear, apple pie without operators")

    found = ids(store.search(query))

    assert found == ([1] if query in ("^pear", "-apple") else [])


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    query=st.text(max_size=600)
    | st.text(alphabet='"*()^:-+{}[],\\ aANDORNEARéあ\0\ud800', max_size=60)
    | st.lists(st.sampled_from(["a", "NEAR", "OR", '"', "*", "東", "-"]), max_size=250).map(
        " ".join
    )
)
def test_any_query_is_answered_or_refused_in_one_sentence(store: NoteStore, query: str) -> None:
    try:
        page = store.search(query)
    except NoteError:
        refusal(store.search, query)
    else:
        assert page == {"notes": []}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(
        st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), min_size=1
    ).filter(str.strip)
)
def test_every_text_comes_back_as_it_was(store: NoteStore, text: str) -> None:
    assert store.get(store.save(text)["id"])["text"] == text


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(alphabet="ab é東\n\t\u00a0\u2003\u2028\u200d", min_size=1, max_size=60).filter(
        str.strip
    )
)
def test_a_preview_has_one_space_between_its_words(store: NoteStore, text: str) -> None:
    store.save(text)

    assert store.list_notes()["notes"][0]["preview"] == " ".join(text.split())


def test_pages_follow_each_other_without_gap_or_repetition(store: NoteStore) -> None:
    for number in range(25):
        store.save(f"word {number}", tags=["odd"] if number % 2 else [])

    pages: list[tuple[Callable[[int], Any], int]] = [
        (lambda cursor: store.list_notes(limit=10, cursor=cursor), 25),
        (lambda cursor: store.list_notes("odd", limit=10, cursor=cursor), 12),
        (lambda cursor: store.search("word", limit=10, cursor=cursor), 25),
        (lambda cursor: store.search("word", ["odd"], limit=10, cursor=cursor), 12),
    ]
    for page_from, expected in pages:
        page = page_from(0)
        seen = ids(page)
        while "next_cursor" in page:
            page = page_from(page["next_cursor"])
            seen += ids(page)

        assert len(seen) == len(set(seen)) == expected


def test_a_list_is_newest_first_and_counts_every_page(store: NoteStore) -> None:
    for number in range(3):
        store.save(f"note {number}", tags=["t"] if number else [])

    assert ids(store.list_notes(limit=2)) == [3, 2]
    assert store.list_notes(limit=2)["total"] == 3
    assert store.list_notes("T", limit=1)["total"] == 2


def test_a_page_of_the_largest_notes_stays_small(store: NoteStore) -> None:
    tags = [f"{number:02} tt" + "t" * 45 for number in range(20)]
    for text in ("x", "a ", "字"):
        store.save((text * 100_000)[:100_000], "T" * 200, tags)
        for _ in range(33):
            store.save(text * 500, "T" * 200, tags)

    for page in (store.list_notes(limit=100), store.search("ttt", limit=100), store.search("a")):
        assert page["notes"]
        assert len(json.dumps(page, ensure_ascii=False)) < 200_000


def test_a_preview_shows_the_match(store: NoteStore) -> None:
    store.save("filler " * 500 + "needle " + "filler " * 500)
    store.save("あ" * 500 + "針" + "い" * 500)

    words = store.search("needle")["notes"][0]["preview"]
    pieces = store.search("針")["notes"][0]["preview"]

    assert words.startswith("…")
    assert " needle filler " in words
    assert words.endswith("…")
    assert pieces.startswith("…")
    assert "あ針い" in pieces
    assert pieces.endswith("…")
    assert store.search("needle")["notes"][0]["preview"].isprintable()


# Refusing


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ({"text": ""}, "text is empty"),
        ({"text": " \n\t"}, "text is empty"),
        ({"text": "x" * 2_000_000}, "2000000 characters"),
        ({"text": "a\0b"}, "position 2"),
        ({"text": "bell \a"}, "control character"),
        ({"text": "c1 \x85"}, "control character"),
        ({"text": "half \ud83d"}, "half a character"),
        ({"text": "ok", "title": "t" * 201}, "title has 201"),
        ({"text": "ok", "title": "t\0"}, "title has a control"),
        ({"text": "ok", "tags": ["a"] * 21}, "21 tags"),
        ({"text": "ok", "tags": ["t" * 51]}, "tag has 51"),
        ({"text": "ok", "tags": [" "]}, "tag is empty"),
        ({"text": "ok", "tags": ["\ud800"]}, "tag has"),
    ],
)
def test_a_bad_note_is_refused_with_its_cause(
    store: NoteStore, arguments: dict[str, Any], cause: str
) -> None:
    id = store.save("before")["id"]

    assert cause in refusal(store.save, **arguments)
    assert cause in refusal(store.edit, id, **arguments)
    assert store.get(id)["text"] == "before"
    assert store.list_notes()["total"] == 1


@pytest.mark.parametrize("number", [-(10**30), -1, 10**19, 10**5000], ids=lambda number: number % 7)
def test_numbers_out_of_range_are_refused(store: NoteStore, number: int) -> None:
    for refused in (
        lambda: store.search("a", limit=number),
        lambda: store.search("a", cursor=number),
        lambda: store.list_notes(limit=number),
        lambda: store.list_notes(cursor=number),
        lambda: store.get(number),
        lambda: store.edit(number, text="a"),
        lambda: store.delete(number),
    ):
        assert "out of range" in refusal(refused)


def test_limits_start_at_one_and_end_at_a_hundred(store: NoteStore) -> None:
    assert "from 1 to 100" in refusal(store.list_notes, limit=0)
    assert "from 1 to 100" in refusal(store.search, "a", limit=101)
    assert store.list_notes(limit=100) == {"notes": [], "total": 0}


def test_unknown_notes_and_empty_edits_are_refused(store: NoteStore) -> None:
    assert "no note 7" in refusal(store.get, 7)
    assert "no note 7" in refusal(store.delete, 7)
    assert "no note 7" in refusal(store.edit, 7, text="a")
    assert "nothing to edit" in refusal(store.edit, 7)


# Many at once


def test_concurrent_threads_lose_nothing(store: NoteStore) -> None:
    with ThreadPoolExecutor(16) as pool:
        saved = list(pool.map(lambda number: store.save(f"note {number}")["id"], range(200)))

    assert len(set(saved)) == store.list_notes()["total"] == 200


def test_concurrent_edits_are_all_counted(store: NoteStore) -> None:
    id = store.save("start")["id"]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.edit(id, tags=[f"t{number}"]), range(80)))

    assert store.get(id)["version"] == 81
    assert sum(store.list_notes(f"t{number}")["total"] for number in range(80)) == 1


def save_many(path: Path, writer: int) -> None:
    store = NoteStore(path)
    for number in range(25):
        store.save(f"writer{writer} note{number}", tags=[f"w{writer}"])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_concurrent_processes_lose_nothing_even_at_the_first_start(
    path: Path, opened: Callable[..., NoteStore]
) -> None:
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=save_many, args=(path, writer)) for writer in range(6)]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    store = opened()
    assert [writer.exitcode for writer in writers] == [0] * 6
    assert [store.list_notes(f"w{writer}")["total"] for writer in range(6)] == [25] * 6
    assert len(ids(store.search("note24", limit=100))) == 6


# The file


def test_only_the_owner_can_read_the_files(store: NoteStore, path: Path) -> None:
    store.save("private")

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert set(modes.values()) == {0o600}
    assert "notes.sqlite3-wal" in modes
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_newer_file_is_refused_and_left_alone(
    path: Path, opened: Callable[..., NoteStore]
) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    before = path.read_bytes()

    assert "newer version" in refusal(opened().list_notes)
    assert path.read_bytes() == before


def test_a_damaged_file_is_refused_and_left_alone(
    path: Path, opened: Callable[..., NoteStore]
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 500)

    assert "damaged" in refusal(opened().save, "a")
    assert path.read_bytes() == b"not a database " * 500


def test_a_locked_file_is_refused_after_the_wait(
    store: NoteStore, path: Path, opened: Callable[..., NoteStore]
) -> None:
    store.save("before")
    hasty = opened(Limits(busy_seconds=0.01))

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "busy" in refusal(hasty.save, "meanwhile")
        assert hasty.get(1)["text"] == "before"
        other.execute("ROLLBACK")

    assert hasty.save("afterwards")["id"] == 2


def test_a_full_disk_is_refused_and_nothing_is_half_stored(store: NoteStore) -> None:
    store.save("before")
    with store._connection() as db:
        db.execute("PRAGMA max_page_count = 30")

    assert "disk is full" in refusal(store.save, "x" * 100_000, tags=["big"])

    assert store.list_notes()["total"] == 1
    assert store.list_notes("big")["total"] == 0


@pytest.mark.parametrize("obstacle", ["file", "directory"])
def test_an_impossible_place_is_refused(
    path: Path, opened: Callable[..., NoteStore], obstacle: str
) -> None:
    if obstacle == "file":
        path.parent.write_text("in the way")
    else:
        path.mkdir(parents=True)

    assert "cannot be opened" in refusal(opened().save, "a")


# The tools


def test_every_tool_says_what_it_is_for_and_what_it_changes(server: FastMCP) -> None:
    tools = tools_of(server)

    hints = {
        name: (
            tool.annotations.read_only_hint,
            tool.annotations.destructive_hint,
            tool.annotations.idempotent_hint,
            tool.annotations.open_world_hint,
        )
        for name, tool in tools.items()
    }
    assert hints == {
        "save": (False, False, False, False),
        "search": (True, None, True, False),
        "list": (True, None, True, False),
        "get": (True, None, True, False),
        "edit": (False, True, True, False),
        "delete": (False, True, True, False),
    }
    for tool in tools.values():
        assert tool.title
        assert len(tool.description) > 80
        assert "own notebook" in tool.description
        assert all(argument["description"] for argument in tool.input_schema["properties"].values())
    assert "built-in memory" in tools["save"].description


def test_output_schemas_allow_no_null(server: FastMCP) -> None:
    for tool in tools_of(server).values():
        assert tool.output_schema["properties"]
        assert '"null"' not in json.dumps(tool.output_schema)


def test_a_note_lives_through_all_the_tools(server: FastMCP) -> None:
    saved = call(server, "save", text="Buy oat milk", tags=["Shop"]).structured_content
    call(server, "edit", id=saved["id"], title="Shopping")

    assert call(server, "get", id=saved["id"]).structured_content["title"] == "Shopping"
    assert ids(call(server, "search", query="milk").structured_content) == [saved["id"]]
    assert call(server, "list", tag="shop").structured_content["total"] == 1
    assert call(server, "delete", id=saved["id"]).structured_content == {"deleted": saved["id"]}
    assert call(server, "list").structured_content == {"notes": [], "total": 0}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("save", {"text": " "}),
        ("save", {"text": 3}),
        ("save", {"text": "a\ud800"}),
        ("save", {"text": "a", "tags": "not a list"}),
        ("save", {"text": "a", "tags": ["b", 3]}),
        ("search", {"query": "\0"}),
        ("search", {"query": "a", "limit": "many"}),
        ("list", {"limit": -1}),
        ("list", {"cursor": 1.5}),
        ("get", {"id": 99}),
        ("get", {"id": None}),
        ("edit", {"id": 99, "title": []}),
        ("delete", {"id": "x"}),
        ("save", {}),
        ("save", {"text": "a", "colour": "red"}),
    ],
)
def test_bad_input_reaches_the_assistant_as_one_sentence(
    server: FastMCP, name: str, arguments: dict[str, Any]
) -> None:
    result = call(server, name, **arguments)

    assert result.is_error
    assert SENTENCE.match(result.content[0].text), result.content[0].text
    assert "Traceback" not in result.content[0].text


def test_a_storage_failure_reaches_the_assistant_as_one_sentence(
    server: FastMCP, path: Path
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 500)

    assert SENTENCE.match(call(server, "save", text="a").content[0].text)


def test_the_default_store_is_in_the_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ModuleType("personal_server.settings")
    monkeypatch.setattr(settings, "data_dir", lambda: tmp_path / "data", raising=False)
    monkeypatch.setitem(sys.modules, "personal_server.settings", settings)
    notes.default_store.cache_clear()

    with closing(notes.default_store()) as store:
        store.save("kept")

    assert (tmp_path / "data" / "notes.sqlite3").is_file()
    notes.default_store.cache_clear()


def test_hello_greets_and_refuses_in_one_sentence(tmp_path: Path) -> None:
    server = serving(load_seed("hello", tmp_path))
    tool = tools_of(server)["hello"]

    assert tool.title
    assert tool.description
    assert tool.annotations.read_only_hint
    assert "Ada" in call(server, "hello", name=" Ada ").data
    for name in ("", "  ", "x" * 101):
        assert SENTENCE.match(call(server, "hello", name=name).content[0].text)
