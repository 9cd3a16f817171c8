"""Tools that ask the client something: elicitation, sampling, roots, in one round or more. Most are the conformance
suite's; `ask` is our own."""

import json
from typing import Any, Final

import anyio
import mcp_types as types

from tests.servers.items.call import Call, InputRequest, Result, Tool, text, tool


def elicit(message: str, **properties: dict[str, Any]) -> types.ElicitRequest:
    """A form whose fields are all required."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(prompt: str) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=100))


def sample_with_tools(prompt: str) -> types.CreateMessageRequest:
    """Lets the client's model use a tool of ours."""
    request = sample(prompt)
    request.params.tools = [types.Tool(name="look_up", input_schema={"type": "object"})]
    return request


def visit(url: str) -> types.ElicitRequest:
    """Sends the user to a page."""
    params = types.ElicitRequestURLParams(message="Please visit this page.", url=url, elicitation_id=url)
    return types.ElicitRequest(params=params)


def told(answer: dict[str, Any]) -> str:
    """How an elicitation went, in words."""
    return f"action={answer['action']}, content={json.dumps(answer.get('content') or {})}"


STRING: Final = {"type": "string"}


async def test_sampling(call: Call) -> Result:
    """Has the client's model complete the prompt."""
    answer = await call.ask(completion=sample(call.arguments["prompt"]))
    return text(f"LLM response: {answer['completion']['content'].get('text')}")


async def test_elicitation(call: Call) -> Result:
    """Asks the user to respond to a message."""
    question = elicit(call.arguments["message"], response=STRING | {"description": "User's response"})
    answer = await call.ask(response=question)
    return text(f"User response: {told(answer['response'])}")


async def test_elicitation_sep1034_defaults(call: Call) -> Result:
    """Asks with a default of every primitive type."""
    question = elicit(
        "Please check these",
        name=STRING | {"default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status=STRING | {"enum": ["active", "inactive", "pending"], "default": "active"},
        verified={"type": "boolean", "default": True},
    )
    answer = await call.ask(form=question)
    return text(f"Elicitation completed: {told(answer['form'])}")


async def test_elicitation_sep1330_enums(call: Call) -> Result:
    """Asks with every form of choice."""
    titled = [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]
    plain = ["option1", "option2", "option3"]
    question = elicit(
        "Please choose",
        untitledSingle=STRING | {"enum": plain},
        titledSingle=STRING | {"oneOf": titled},
        legacyEnum=STRING | {"enum": plain, "enumNames": ["Option 1", "Option 2", "Option 3"]},
        untitledMulti={"type": "array", "items": STRING | {"enum": plain}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    answer = await call.ask(form=question)
    return text(f"Elicitation completed: {told(answer['form'])}")


async def test_streaming_elicitation(call: Call) -> Result:
    """Reports progress, then asks, so that the question comes after something else on the stream."""
    await call.progress(1, 2, "about to ask")
    await call.log("info", "about to ask")
    answer = await call.ask(user_name=elicit("What is your name?", name=STRING))
    return text(told(answer["user_name"]))


async def test_input_required_result_elicitation(call: Call) -> Result:
    """Asks for a name."""
    answer = await call.ask(user_name=elicit("What is your name?", name=STRING))
    return text(f"Hello! {told(answer['user_name'])}")


async def test_input_required_result_sampling(call: Call) -> Result:
    """Asks the client's model."""
    answer = await call.ask(capital_question=sample("What is the capital of France?"))
    return text(f"The model said: {answer['capital_question']['content'].get('text')}")


async def test_input_required_result_list_roots(call: Call) -> Result:
    """Asks for the client's roots."""
    answer = await call.ask(client_roots=types.ListRootsRequest())
    return text(f"Roots: {json.dumps(answer['client_roots']['roots'])}")


async def test_input_required_result_request_state(call: Call) -> Result:
    """Asks for a confirmation; the retry must bring back the state."""
    answer = await call.ask(confirm=elicit("Please confirm", ok={"type": "boolean"}))
    held = call.ctx.params is not None and call.ctx.params.get("requestState") is not None
    return text(f"{'state-ok' if held or not call.modern else 'state-lost'}: {told(answer['confirm'])}")


async def test_input_required_result_multiple_inputs(call: Call) -> Result:
    """Asks for three things of three kinds at once."""
    answers = await call.ask(
        user_name=elicit("What is your name?", name=STRING),
        greeting=sample("Generate a greeting"),
        client_roots=types.ListRootsRequest(),
    )
    return text(f"Received {', '.join(sorted(answers))}.")


async def test_input_required_result_multi_round(call: Call) -> Result:
    """Asks for a name, then for a colour."""
    name = await call.ask(step1=elicit("Step 1: What is your name?", name=STRING))
    colour = await call.ask(step2=elicit("Step 2: What is your favourite colour?", color=STRING))
    return text(f"{told(name['step1'])}; {told(colour['step2'])}")


async def test_input_required_result_capabilities(call: Call) -> Result:
    """Asks only what the client says it can answer."""
    questions: dict[str, InputRequest] = {}
    if call.can("sampling"):
        questions["sample"] = sample("Say hello")
    if call.can("elicitation"):
        questions["ask"] = elicit("What is your name?", name=STRING)
    await call.ask(**questions)
    return text(f"Asked for {', '.join(questions) or 'nothing'}.")


async def test_input_required_result_tampered_state(call: Call) -> Result:
    """Asks for a confirmation; a retry whose state was changed on the way is refused before it gets here."""
    answer = await call.ask(confirm=elicit("Please confirm", ok={"type": "boolean"}))
    return text(told(answer["confirm"]))


def _question(kind: str, word: str) -> InputRequest:
    match kind:
        case "sampling":
            return sample(word)
        case "tools":
            return sample_with_tools(word)
        case "form":
            return elicit(word, answer=STRING)
        case "url":
            return visit(f"https://example.com/{word}")
        case _:
            return types.ListRootsRequest()


async def ask(call: Call) -> Result:
    """Asks for each of `kinds` (sampling, tools, form, url, roots) with `word` in the question: one after the other, or
    all `together`; takes another `then` seconds. Its answers are the client's, as they came."""
    given, word = call.arguments, call.arguments["word"]
    questions = {f"{kind}-{n}": _question(kind, f"{word}-{n}") for n, kind in enumerate(given["kinds"], 1)}
    rounds = [questions] if given.get("together") else [{key: question} for key, question in questions.items()]
    answers: dict[str, Any] = {}
    with call.world.at_work():
        for one in rounds:
            answers |= await call.ask(**one)
        await anyio.sleep(given.get("then", 0))
    return text(json.dumps(answers), structuredContent=answers)


TOOLS: Final[tuple[Tool, ...]] = (
    tool(test_sampling, prompt="string"),
    tool(test_elicitation, message="string"),
    tool(test_elicitation_sep1034_defaults),
    tool(test_elicitation_sep1330_enums),
    tool(test_streaming_elicitation),
    tool(test_input_required_result_elicitation),
    tool(test_input_required_result_sampling),
    tool(test_input_required_result_list_roots),
    tool(test_input_required_result_request_state),
    tool(test_input_required_result_multiple_inputs),
    tool(test_input_required_result_multi_round),
    tool(test_input_required_result_capabilities),
    tool(test_input_required_result_tampered_state),
    tool(ask, word="string", kinds={"type": "array", "items": {"type": "string"}}, together="boolean", then="number"),
)
