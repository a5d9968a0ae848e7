"""The demo's prompts: one long document that all share, and questions about it."""

from importlib.resources import files

# Asked in both processes: all but the last token is stored.
KNOWN_QUESTIONS = {
    "the same": "How often should the air inlets be cleaned where much is deep fried?",
    "the same, another": "What does the cooktop do after ten minutes in pause?",
}
# Asked in the second process only: the document is stored, the question is new.
NEW_QUESTIONS = {"a new question": "Which fault requires that the cooktop be disconnected at once?"}

_CHAT = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def prompt(question: str) -> str:
    """The whole text that the model gets."""
    document = files("hotplate.clients.demo").joinpath("document.txt").read_text(encoding="utf-8")
    return _CHAT.format(document.strip(), question)
