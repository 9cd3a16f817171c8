"""Text that came from elsewhere, made fit to be shown to people: it can steer no terminal and hide nothing."""


def harmless(text: str) -> str:
    """`text` with everything escaped that cannot be seen; only line breaks and tabs are left as they are."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text.replace("\r\n", "\n")
    )
