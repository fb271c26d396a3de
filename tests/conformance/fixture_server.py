"""What the conformance suite asks of a server, written as an owner's `extend.py`.

The names, the texts and the steps are the suite's. Everything around them is the rendered server:
its command, its settings, its authorization and its middleware.
"""

import base64
import functools
import json
import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.prompts import Message
from fastmcp.tools import Tool, ToolResult
from fastmcp.utilities.types import Audio, Image
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import Field

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
SILENCE = base64.b64decode("UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=")


def extend(server: FastMCP) -> None:
    for add in (content, while_it_runs, asking_back, rounds, resources, prompts):
        add(server)
    if os.environ.get("FIXTURE_SESSIONS"):  # as FastMCP serves the ten lines of the quick start
        server.run = functools.partial(_with_sessions, server.run)


def _with_sessions(run: Any, **given: Any) -> None:
    run(**{**given, "stateless_http": False})


def content(server: FastMCP) -> None:
    @server.tool(description="Returns text.")
    def test_simple_text() -> str:
        return "This is a simple text response for testing."

    @server.tool(description="Returns an image.")
    def test_image_content() -> Image:
        return Image(data=PIXEL, format="png")

    @server.tool(description="Returns a sound.")
    def test_audio_content() -> Audio:
        return Audio(data=SILENCE, format="wav")

    @server.tool(description="Returns a resource.")
    def test_embedded_resource() -> ToolResult:
        return ToolResult(content=[_embedded("test://embedded-resource", "An embedded resource.")])

    @server.tool(description="Returns text, an image and a resource.")
    def test_multiple_content_types() -> ToolResult:
        document = _embedded(
            "test://mixed-content-resource", '{"test":"data","value":123}', "application/json"
        )
        text = TextContent(type="text", text="Multiple content types test:")
        return ToolResult(
            content=[text, Image(data=PIXEL, format="png").to_image_content(), document]
        )

    @server.tool(description="Fails.")
    def test_error_handling() -> str:
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool(description="Takes a parameter that is also sent as a header.")
    def test_mirrored_parameter(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
    ) -> str:
        return region

    server.add_tool(
        Schematic(
            name="json_schema_2020_12_tool",
            description="Takes what a schema of the full vocabulary describes.",
            parameters=FULL_VOCABULARY,
        )
    )


FULL_VOCABULARY = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


class Schematic(Tool):
    """A tool whose schema is given as it is."""

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        return ToolResult(content=json.dumps(arguments))


def while_it_runs(server: FastMCP) -> None:
    @server.tool(description="Logs to the client while it runs.")
    async def test_tool_with_logging(ctx: Context) -> str:
        for step in ("started", "processing data", "completed"):
            await ctx.info(f"Tool execution {step}")
        return "done"

    @server.tool(description="Logs to the client, who may not have asked for it.")
    async def test_logging_tool(ctx: Context) -> str:
        await ctx.info("a line")
        return "done"

    @server.tool(description="Reports how far it is.")
    async def test_tool_with_progress(ctx: Context) -> str:
        for progress in (0, 50, 100):
            await ctx.report_progress(progress, 100)
        return "done"

    @server.tool(description="Lets the client come back for its answer.")
    async def test_reconnection(ctx: Context) -> str:
        await ctx.close_sse_stream()
        return "done"


@dataclass
class Contact:
    """What the person is asked for."""

    username: str
    email: str


@dataclass
class Form:
    """One field of every primitive type, with a default."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


def _options(one: str, other: str, third: str) -> list[dict[str, str]]:
    return [{"const": const, "title": const.title()} for const in (one, other, third)]


CHOICES = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {"type": "string", "oneOf": _options("value1", "value2", "value3")},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {
        "type": "array",
        "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
    },
    "titledMulti": {
        "type": "array",
        "items": {"anyOf": _options("value1", "value2", "value3")},
    },
}


def asking_back(server: FastMCP) -> None:
    """Tools that ask the client while they run, which needs a session."""

    @server.tool(description="Asks the client's model.")
    async def test_sampling(prompt: str, ctx: Context) -> str:
        asked = [SamplingMessage(role="user", content=TextContent(type="text", text=prompt))]
        answer = await ctx.session.create_message(
            asked, max_tokens=100, related_request_id=ctx.request_id
        )
        return f"LLM response: {answer.content.text}"

    @server.tool(description="Asks the person.")
    async def test_elicitation(message: str, ctx: Context) -> str:
        answer = await ctx.elicit(message, response_type=Contact)
        assert answer.action == "accept"
        return f"User response: {answer.data.username} {answer.data.email}"

    @server.tool(description="Asks the person with defaults.")
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        answer = await ctx.elicit("Please review the form", response_type=Form)
        return f"Elicitation completed: {answer.action}"

    @server.tool(description="Asks the person to choose.")
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        answer = await ctx.session.elicit(
            "Please choose",
            {"type": "object", "properties": CHOICES},
            related_request_id=ctx.request_id,
        )
        return f"Elicitation completed: {answer.action}"


def form(message: str, **properties: str) -> ElicitRequest:
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def question(text: str) -> CreateMessageRequest:
    said = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[said], max_tokens=100))


def ask(state: str | None = None, **requests: InputRequest) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests, request_state=state)


def rounds(server: FastMCP) -> None:
    """Tools that ask the client by their answer, and are called again (2026-07-28)."""

    def answered(ctx: Context, kind: type, *names: str) -> list[Any] | None:
        given = ctx.input_responses or {}
        found = [given.get(name) for name in names]
        return found if all(isinstance(answer, kind) for answer in found) else None

    @server.tool(description="Asks the person for a name.")
    def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
        if answers := answered(ctx, ElicitResult, "user_name"):
            return f"Hello, {(answers[0].content or {}).get('name')}!"
        return ask(user_name=form("What is your name?", name="string"))

    @server.tool(description="Asks the client's model.")
    def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
        if answers := answered(ctx, CreateMessageResult, "capital_question"):
            return answers[0].content.text
        return ask(capital_question=question("What is the capital of France?"))

    @server.tool(description="Asks for the client's folders.")
    def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
        if answers := answered(ctx, ListRootsResult, "client_roots"):
            return f"{len(answers[0].roots)} roots"
        return ask(client_roots=ListRootsRequest())

    @server.tool(description="Asks, and remembers by what it hands out.")
    def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
        if answered(ctx, ElicitResult, "confirm") and ctx.request_state == "asked":
            return "state-ok"
        return ask("asked", confirm=form("Please confirm", ok="boolean"))

    @server.tool(description="Asks, and lets nobody alter what it hands out.")
    def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
        if answered(ctx, ElicitResult, "confirm") and ctx.request_state == "untouched":
            return "integrity-ok"
        return ask("untouched", confirm=form("Please confirm", ok="boolean"))

    @server.tool(description="Asks three things at once.")
    def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
        if (
            answered(ctx, ElicitResult, "user_name")
            and answered(ctx, CreateMessageResult, "greeting")
            and answered(ctx, ListRootsResult, "client_roots")
            and ctx.request_state == "three"
        ):
            return "all three"
        return ask(
            "three",
            user_name=form("What is your name?", name="string"),
            greeting=question("Generate a greeting"),
            client_roots=ListRootsRequest(),
        )

    @server.tool(description="Asks twice.")
    def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
        state = json.loads(ctx.request_state or "{}")
        if state.get("round") == 2 and (answers := answered(ctx, ElicitResult, "step2")):
            return f"{state['name']} likes {(answers[0].content or {}).get('color')}"
        if state.get("round") == 1 and (answers := answered(ctx, ElicitResult, "step1")):
            name = (answers[0].content or {}).get("name")
            return ask(
                json.dumps({"round": 2, "name": name}),
                step2=form("What is your favorite color?", color="string"),
            )
        return ask(json.dumps({"round": 1}), step1=form("What is your name?", name="string"))

    @server.tool(description="Asks only what the client says it can answer.")
    def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
        can = ctx.session.client_capabilities
        requests: dict[str, InputRequest] = {}
        if can and can.elicitation is not None:
            requests["elicit_input"] = form("A value", value="string")
        if can and can.sampling is not None:
            requests["sample_input"] = question("A sample")
        return ask(**requests) if requests and not ctx.input_responses else "done"

    @server.tool(description="Needs a client with a model.")
    def test_missing_capability(ctx: Context) -> str:
        can = ctx.session.client_capabilities
        if can is None or can.sampling is None:
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY,
                "The client has no model.",
                {"requiredCapabilities": {"sampling": {}}},
            )
        return "done"

    @server.tool(description="Asks on a stream.")
    async def test_streaming_elicitation(ctx: Context) -> InputRequiredResult:
        await ctx.report_progress(50, 100)
        return ask(user_name=form("What is your name?", name="string"))

    @server.prompt(description="A prompt that asks the person first.")
    def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
        if answers := answered(ctx, ElicitResult, "user_context"):
            return f"Prompt with context: {(answers[0].content or {}).get('context')}"
        return ask(user_context=form("What context should the prompt use?", context="string"))


def resources(server: FastMCP) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        return PIXEL

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        return "Watched resource content"

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def prompts(server: FastMCP) -> None:
    @server.prompt(description="A prompt without arguments.")
    def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @server.prompt(description="A prompt with arguments.")
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(description="A prompt with a resource.")
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:  # noqa: N803
        document = _embedded(resourceUri, "Embedded resource content for testing.")
        return [Message(document), Message("Please process the embedded resource above.")]

    @server.prompt(description="A prompt with an image.")
    def test_prompt_with_image() -> list[Message]:
        return [
            Message(Image(data=PIXEL, format="png").to_image_content()),
            Message("Please analyze the image above."),
        ]

    @server.completion
    def complete(ref: Any, argument: Any, context: Any) -> Completion:
        return Completion(values=[f"{argument.value}ing"], total=1, has_more=False)


def _embedded(uri: str, text: str, mime: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(
        type="resource", resource=TextResourceContents(uri=uri, mime_type=mime, text=text)
    )
