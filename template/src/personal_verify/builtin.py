"""What assistants have themselves, and call instead of a tool that sounds like it."""

from __future__ import annotations

import re

# The words of features, as they stand in the names of tools.
FEATURE_WORDS = """
agent agents analysis anthropic artifact artifacts assistant attachment attachments automation
automations bash bio browse browser calendar canmore canvas chat chatgpt chats claude code
codebase codeinterpreter command commands composer computer connector connectors container
conversation conversations copilot cursor dalle deepresearch diff docs document documents drive
edit editor extension extensions fetch file files filesearch find function functions glob gmail
googledrive gpt gpts grep history image imagegen images instructions library memories memory
message messages notebook notebooks openai operator plan plans plugin plugins project projects
prompt prompts python read recall remember reminder reminders repl repo repository research
resource resources rule rules run runner search server shell skill skills style styles subagent
system task tasks terminal thread threads todo todos tool tools upload uploads usages user vision
voice vscode web webfetch websearch workspace workspaces write
"""

# Words that say what is done, to whatever it may be.
VERB_WORDS = """
add append ask call change clear close create delete do execute get insert list load look lookup
make open query remove rename retrieve save send set show store update use view
"""

# Tools of Claude, Claude Code, ChatGPT, Codex, Gemini CLI, Cursor and VS Code.
TOOL_NAMES = """
apply_patch artifacts ask_user_question bash bash_tool bio canmore code_execution code_interpreter
codebase_search computer conversation_search create_file delete_file edit_file end_conversation
fetch fetch_rules file_search get_errors glob google_web_search grep grep_search image_gen
image_query insert_edit_into_file launch_extended_search_task list_dir list_directory ls memory
memory_user_edits open_simple_browser places_search present_files python read_file read_lints
read_many_files recent_chats repl replace run_in_terminal run_shell_command run_terminal_cmd
save_memory search search_file_content semantic_search shell str_replace
str_replace_based_edit_tool str_replace_editor task todo_write tool_search update_memory
update_plan view view_image weather_fetch web web_fetch web_run web_search write_file write_todos
"""

FEATURES = frozenset(FEATURE_WORDS.split())
VERBS = frozenset(VERB_WORDS.split())
BUILT_IN_TOOLS = frozenset(TOOL_NAMES.split())


def words_of(name: str) -> list[str]:
    """Returns the words of a tool's name in small letters, camel case parted too."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", parted) if word]


def sounds_built_in(name: str) -> bool:
    """Tells whether a name is that of a built-in tool, or says nothing but what one does."""
    words = words_of(name)
    if "_".join(words) in BUILT_IN_TOOLS:
        return True
    return bool(FEATURES & set(words)) and all(word in FEATURES | VERBS for word in words)
