"""A trainer's query, the prompt and the response as a tokenizer writes them -> the response."""

import re

from adjudge.errors import DataError

# What tokenizers end a text with. A mark that the policy spelled out at its very end cannot be told from these.
END_MARKS = re.compile(r"(?:\s*(?:<\|[\w ]{1,40}\|>|</s>|<eos>|<pad>|<end_of_turn>|\[PAD\]))+\s*\Z")


def response_of(query: str, prompt: str) -> str:
    """What follows the prompt, without the marks that end it. A tokenizer may have put a mark before the prompt.

    Raises DataError where the query does not hold the prompt.

    >>> response_of("<s>Add 2 and 3. It is 5.</s>", "Add 2 and 3. ")
    'It is 5.'
    """
    start = query.find(prompt)
    if start < 0:
        raise DataError(
            f"a query does not hold its prompt: {query[:80]!r}", remedy="post prompts as they stand in the queries"
        )
    return END_MARKS.sub("", query[start + len(prompt) :])
